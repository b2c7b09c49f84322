"""The disk: layout, table, slots, contents, PERSIST."""
