"""Bytes to requests and back; no rule of the domain lives here."""
