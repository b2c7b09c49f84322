"""What a release is, and the seams that every part of Proa shares."""

VERSION = "0.1.0"
"""The version of Proa. Nothing else states it: the distribution's metadata are made from this line."""
