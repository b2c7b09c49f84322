"""A whole build: the steps in order, and the record of what was built."""
