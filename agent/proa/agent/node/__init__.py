"""What the agent knows and keeps of its node."""
