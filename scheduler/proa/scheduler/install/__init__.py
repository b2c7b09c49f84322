"""What Proa needs in a cluster: how it is installed, and how it is removed."""
