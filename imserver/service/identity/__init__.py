"""Who a request is from: one implementation for each mode."""
