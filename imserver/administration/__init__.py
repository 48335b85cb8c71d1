"""The commands of whoever runs the server: its users, and the audit log."""
