"""Releases without a builder, for tests and benchmarks."""
