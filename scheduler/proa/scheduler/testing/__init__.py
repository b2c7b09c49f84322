"""Schedulers that lag, for tests of what the planner promises."""
