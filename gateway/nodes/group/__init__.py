"""Which nodes there are, and which of them is to hold which partition."""
