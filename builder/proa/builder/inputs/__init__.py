"""The user's own files and the programs of this machine, as inputs of a step's key."""
