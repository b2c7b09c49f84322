"""Settings of nodes: what may be set, what a document asks for, and the files that come of it. No input or output."""
