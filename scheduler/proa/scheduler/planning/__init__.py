"""What each node does next, and why: pure."""
