"""The container image of scheduler and proxy: ``python -m container.build``, for those who publish Proa."""
