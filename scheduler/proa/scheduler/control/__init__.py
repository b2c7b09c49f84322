"""The controller: looks, plans, writes, and reports what it did."""
