"""The disk: layout, table, slots, boot state, PERSIST."""
