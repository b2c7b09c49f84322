"""proa.toml: the table of settings, its reader and its rules."""
