"""The release document, its payload frames and its verity tree."""
