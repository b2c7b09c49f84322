"""Registries and OCI layout folders: references, login, transfer, retries."""
