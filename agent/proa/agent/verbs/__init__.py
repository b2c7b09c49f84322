"""The verbs besides ``install``, and ``status``."""
