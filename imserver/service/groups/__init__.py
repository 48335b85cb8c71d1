"""Groups: who is in them, and who may change them."""
