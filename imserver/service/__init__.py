"""Each operation, written once: check, store, publish."""
