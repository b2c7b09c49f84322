"""Simulated nodes on a real API server."""
