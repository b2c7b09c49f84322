"""What tests and machines need: registry, tools, reports."""
