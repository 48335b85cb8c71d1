"""Who is connected, in memory only: it dies with the process."""
