"""The command ``proa-agent``."""
