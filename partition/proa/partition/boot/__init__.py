"""The boot state: its table, its copies, and the scripts that are made from it."""
