"""What tests and machines need beside them: registry, tools, reports."""
