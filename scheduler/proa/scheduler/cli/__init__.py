"""The commands ``proa-scheduler`` and ``kubectl-proa``."""
