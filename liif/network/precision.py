"""Precision of the network's products: float32, or bfloat16 where a device is faster with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, cast, get_args

from liif.system.errors import UserError
from liif.system.progress import log

if TYPE_CHECKING:  # settings are read without PyTorch and NumPy
    import torch

Precision = Literal["auto", "float32", "bf16"]
"""Names of the settings; `auto` is bf16 where it is faster on the device, else float32."""
Used = Literal["float32", "bf16"]
"""Precision in which a network computes."""
NAMES: tuple[str, ...] = get_args(Precision)


def parse(text: str) -> Precision:
    """The precision of that name."""
    if text not in NAMES:
        raise UserError(f"precision `{text}` is not one of {', '.join(NAMES)}")
    return cast(Precision, text)


def joined(used: Iterable[str | None]) -> str | None:
    """The precision of several jobs, `bf16, float32` where they differ; None if none is known."""
    return ", ".join(sorted({name for name in used if name})) or None


def choose(precision: Precision, device: torch.device) -> Used:
    """The precision to use on a device; logs when bf16 is asked for and slower there."""
    if precision not in NAMES:
        from liif.system.arguments import shown

        raise ValueError(f"`precision` (={shown(precision)}) must be one of {', '.join(NAMES)}")
    fast = has_fast_bf16(device)
    if precision == "auto":
        return "bf16" if fast else "float32"
    if precision == "bf16" and not fast:
        log(f"{device} computes bf16 slowly: precision float32 is faster and more exact")
    return precision


def has_fast_bf16(device: torch.device) -> bool:
    """Whether products are known to be faster in bf16 than in float32.

    On CPUs with matrix units for it (AMX: up to 14 times) or the AVX-512 instructions for it
    (twice), and on NVIDIA GPUs from compute capability 8.0 on.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    has = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(has.get("amx_bf16") or has.get("avx512_bf16"))
