"""The verbs of ``proa-scheduler``, a module each."""
