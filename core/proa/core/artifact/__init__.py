"""A release as an OCI artifact, with its signatures."""
