"""What tests and benchmarks of the builder need; nothing that ships imports it."""
