"""Weights files of any origin, and the networks they hold."""
