"""The API server: read, write, lead, send events."""
