"""Unpickling checkpoints without executing anything in them."""

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
    """Contents of a PyTorch checkpoint; objects of foreign classes become inert placeholders."""
    if _is_tar(path):  # the format before 2017, which PyTorch would unpack to disk
        raise UserError(f"{path}: is a tar archive, which is not a supported checkpoint")
    # As an open file, since torch would read a name that ends in .safetensors as safetensors.
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about kinds of tensors that are refused later
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # a damaged file can make torch raise anything
        pass
    try:
        _require_no_script(path)
        # mmagic's training files hold objects of classes that are not installed here.
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
    """Refuse TorchScript archives, which are programs."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("constants.pkl") for name in archive.namelist()):
                raise pickle.UnpicklingError("TorchScript")


class _Inert:
    """Placeholder for an object of a foreign class: accepts everything, does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __call__(self, *args: object, **kwargs: object) -> _Inert:
        return self

    # How pickle fills objects, lists and sets.
    __setstate__ = __setitem__ = append = extend = add = __init__


_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
}
"""Everything that a state dict needs, and that is ever called."""
_FOREIGN = ("mmengine", "mmcv", "mmagic", "mmedit", "numpy", "_codecs", "collections", "torch")
"""Packages whose other objects become placeholders. Any other name refuses the file."""


class _Unpickler(pickle._Unpickler):
    """Finds what a state dict needs, and placeholders for everything else.

    Python's own, since the one in C allocates room for as many objects as the file claims: 19 GB
    for one of 843 bytes.
    """

    def find_class(self, module: str, name: str) -> Any:
        """A function of the short list, or a class that does nothing."""
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module.partition(".")[0] in _FOREIGN:
            return _Inert
        raise pickle.UnpicklingError(f"{module}.{name}")
