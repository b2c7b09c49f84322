"""Keys, signature bundles and trust."""
