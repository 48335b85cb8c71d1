"""The rules and shapes of messaging: pure, with no I/O of any kind."""
