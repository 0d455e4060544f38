"""Runs: kept on disk, delivered to MLflow."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`serve`, which the models that liif 0.1.0 registered import from here."""
    if name == "serve":
        from liif.tracking.served_model import serve

        return serve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
