"""LIIF super-resolution: exact resizing, networks, training, evaluation.

The public names are loaded when first used, so that ``import liif`` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from liif.checkpoints.load import load as load
    from liif.images.imresize import imresize as imresize
    from liif.images.read import read_picture as read_picture
    from liif.network.model import LIIF as LIIF
    from liif.system.errors import UserError as UserError

__all__ = ["LIIF", "UserError", "__version__", "imresize", "load", "read_picture"]
__version__ = "0.2.0"
RESULTS_VERSION = 1
"""Version raised manually whenever equal inputs and settings give other weights or pictures."""

_HOMES = {
    "LIIF": "liif.network.model",
    "UserError": "liif.system.errors",
    "imresize": "liif.images.imresize",
    "load": "liif.checkpoints.load",
    "read_picture": "liif.images.read",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'liif' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
