"""Sending, reading, acknowledging and syncing messages."""
