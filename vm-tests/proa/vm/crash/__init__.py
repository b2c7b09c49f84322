"""Crash replay: what a power cut leaves at each write, and whether a node can live with it."""
