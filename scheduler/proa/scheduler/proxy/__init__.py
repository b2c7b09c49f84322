"""The proxy on each node: carries orders from the API server to the agent, and the node's status back."""
