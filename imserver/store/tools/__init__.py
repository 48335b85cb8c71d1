"""Backup, restore, check, export, import and erasure of a database."""
