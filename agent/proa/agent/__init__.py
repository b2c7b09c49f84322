"""The agent of a node: verify, stream, write, arm, commit, roll back, and say what it did."""
