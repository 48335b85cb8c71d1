"""Each operation, written once for both transports: check, store, publish."""
