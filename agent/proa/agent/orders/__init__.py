"""Orders from the cluster: taken in, planned, carried out, reported."""
