"""Unpickling checkpoints without running anything that is in them."""

from __future__ import annotations

import pickle
import tarfile
import types
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from liif.system.errors import UserError


def load(path: Path) -> Any:
    """What a checkpoint of PyTorch holds; objects of classes that are not here do nothing.

    Raises
    ------
    UserError
        The file is damaged, or names code that no checkpoint needs.
    """
    if _is_tar(path):  # as of before 2017, and PyTorch would unpack it to disk
        raise UserError(f"{path}: is a tar archive, and no checkpoint that can be loaded")
    # An open file, since torch takes a name that ends in .safetensors for what it says.
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of kinds of tensors that are refused later
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # what a damaged file makes torch raise is not to be foreseen
        pass
    try:
        _require_no_script(path)
        # Training files of mmagic hold objects of classes that are not here.
        inert: Any = types.SimpleNamespace(
            __name__="inert", Unpickler=_Unpickler, load=lambda f, **k: _Unpickler(f, **k).load()
        )
        with path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=False, pickle_module=inert)
    except Exception:
        raise UserError(
            f"{path}: is neither a liif safetensors file nor a checkpoint that can be loaded "
            "without running code from it"
        ) from None


def _is_tar(path: Path) -> bool:
    try:
        tarfile.open(path, "r:").close()
    except (tarfile.TarError, EOFError, ValueError):
        return False
    return True


def _require_no_script(path: Path) -> None:
    """TorchScript's archives are programs."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("constants.pkl") for name in archive.namelist()):
                raise pickle.UnpicklingError("TorchScript")


class _Inert:
    """Stands for an object of a class that is not here. It takes anything, and does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __call__(self, *args: object, **kwargs: object) -> _Inert:
        return self

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, item: object) -> None:
        """Take an item of a list."""

    def extend(self, items: object) -> None:
        """Take items of a list."""

    def add(self, item: object) -> None:
        """Take an item of a set."""


_REAL = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
}
"""All that a state dict needs, and all that is ever called."""
_FOREIGN = ("mmengine", "mmcv", "mmagic", "mmedit", "numpy", "_codecs", "collections", "torch")
"""Packages whose other objects are replaced by inert ones. Any other name refuses the file."""


class _Unpickler(pickle._Unpickler):
    """Finds what a state dict needs, and inert objects in place of all the rest.

    Python's own, since the one in C makes room for as many objects as the file claims to number:
    19 GB for one of 843 bytes.
    """

    def find_class(self, module: str, name: str) -> Any:
        """A function of the short list, or a class that does nothing."""
        if (module, name) in _REAL:
            return _REAL[module, name]
        if module.partition(".")[0] in _FOREIGN:
            return _Inert
        raise pickle.UnpicklingError(f"{module}.{name}")
