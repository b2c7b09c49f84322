"""The controller: looks, plans, writes, and tells what it did."""
