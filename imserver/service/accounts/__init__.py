"""Accounts, passwords and tokens: what `token` mode rests on."""
