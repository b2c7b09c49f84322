"""What steps run on: context, cache, scratch folders, namespaces, keys, package sources."""
