"""Settings of this node: generations on disk, what puts them into effect, their trial, and drift."""
