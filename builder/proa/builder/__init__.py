"""Builds a Debian node image: packages, root tree, EROFS, verity tree, UKI, disk and signed release."""
