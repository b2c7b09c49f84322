"""What stands in a cluster for Proa to work there: how it is made, and how it is taken away."""
