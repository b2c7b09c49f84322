"""The container image of scheduler and proxy: ``python -m container.build``, for whoever publishes Proa."""
