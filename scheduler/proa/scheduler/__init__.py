"""Takes a cluster's nodes from one release to the next: decides, cordons, drains, orders, watches, puts back."""
