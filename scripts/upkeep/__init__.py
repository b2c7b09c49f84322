"""What keeps the repository itself in order: lines, change log, releases, other Pythons. It is not shipped."""
