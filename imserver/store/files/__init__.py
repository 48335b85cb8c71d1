"""Files that users send: their contents on the disk, and what is known of them."""
