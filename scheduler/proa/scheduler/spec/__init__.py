"""The objects of the cluster: their fields, rules and words."""
