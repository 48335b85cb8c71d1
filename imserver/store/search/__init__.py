"""Search: an index beside the database. It may be deleted at any time and builds itself again."""
