"""Accounts, passwords and tokens, for `token` mode."""
