"""What the server does by itself or an operator orders: retention and erasure."""
