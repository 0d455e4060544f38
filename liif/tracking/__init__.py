"""Runs: kept on disk, delivered to MLflow."""
