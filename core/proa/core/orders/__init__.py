"""Orders to a node: the messages, and the client of the order socket."""
