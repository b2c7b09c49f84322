"""A slot's partitions: written, read back, checked."""
