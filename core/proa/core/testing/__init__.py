"""What the tests of the core share: a registry in memory, and its faults."""
