"""The command ``proa-disk``."""
