"""The local API: its server, routes and client."""
