"""Clusters of real nodes in QEMU, and the proof."""
