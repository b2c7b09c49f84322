"""Orders from the cluster: accepted, planned, carried out, reported."""
