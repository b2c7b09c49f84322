"""``proa-agent serve``: the process that owns the node."""
