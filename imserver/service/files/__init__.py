"""Files: taken in, given out, and cleared away. Nothing here knows a transport."""
