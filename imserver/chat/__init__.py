"""A small terminal chat on the client."""
