"""Removing old messages, and what is known of them afterwards."""
