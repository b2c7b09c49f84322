"""What is put into the root besides its packages, and how the root is made of both.

``assemble`` runs in a namespace of its own (``proa.builder.engine.namespace``); the other modules do one thing each to
the tree there. ``root/`` holds files that go into every root as they are.
"""
