"""Everything that is kept, in one SQLite file; the only importer of apsw."""
