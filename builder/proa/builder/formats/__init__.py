"""File formats that the builder writes: PE, FAT, SPDX."""
