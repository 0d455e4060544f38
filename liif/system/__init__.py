"""Errors, files, locks, signals, progress and HTTP: independent of pictures."""
