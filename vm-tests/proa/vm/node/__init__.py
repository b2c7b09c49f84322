"""A Proa node in a virtual machine: its verbs, its images, rehearsals."""
