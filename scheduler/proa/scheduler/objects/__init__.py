"""Between API objects and what the planner sees: read, write, annotate."""
