"""What people are told of a cluster, from one look at it."""
