"""Reports about a cluster, made from one look at it."""
