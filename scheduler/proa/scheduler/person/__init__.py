"""The person's verbs: ``kubectl proa``."""
