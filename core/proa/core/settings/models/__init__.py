"""One module a model: its keys with their limits, the keys that can never be set, and how its files are rendered."""
