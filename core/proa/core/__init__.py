"""What a release is, and the seams that every part of Proa shares."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("proa")
except PackageNotFoundError:  # a tree that was copied, as on a node, and not installed
    VERSION = "0.1.0"
