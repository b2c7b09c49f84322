"""The API server: read, write, lead and tell."""
