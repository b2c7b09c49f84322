"""What the tests of the scheduler share: an API server, situations of nodes, and what works on them step by step."""
