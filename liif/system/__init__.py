"""Errors, files, locks, signals and progress: the parts that know nothing of pictures."""
