"""An install: facts, plan, execution."""
