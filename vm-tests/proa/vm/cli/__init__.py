"""The command ``proa-vm`` and the pytest plugin."""
