"""The command ``proa-build``."""
