"""A whole rollout in virtual time."""
