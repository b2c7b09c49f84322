"""What the agent knows and records about its node."""
