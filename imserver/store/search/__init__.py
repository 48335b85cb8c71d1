"""Search: an index beside the database, which can be deleted at any time and builds itself again."""
