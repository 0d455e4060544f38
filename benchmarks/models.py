"""The table of all models: PSNR on clean and degraded pictures, colours, and time.

    make models                           measures what is missing, and writes all tables
    python benchmarks/models.py fast      measures these models again
    python benchmarks/models.py --tables  writes the tables of the last measurements

On the six bundled test pictures, in float32. Writes the numbers to liif/assets/weights/models.json,
which `liif weights list` shows, and the tables into docs/models.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from model_tables import INPUTS, SCALES, write_tables
from numpy.typing import NDArray
from PIL import Image
from run import machine
from tables import machine_line
from variants import Numbers, compare, timed

from liif.checkpoints.catalog import CATALOG, EDSR_LIIF, MEASURED, RDN_LIIF, local_path
from liif.checkpoints.load import load
from liif.config import CASES
from liif.data.degrade import degraded
from liif.data.download import PHOTOGRAPHS
from liif.images.channels import join_bands
from liif.images.crop import crop_to_multiple
from liif.images.imresize import imresize
from liif.images.metrics import border_width, psnr_of_error
from liif.images.pixels import RGB8
from liif.inference.upscaler import BICUBIC
from liif.network import device
from liif.network.build import Architecture, EDSREncoder, RDNEncoder, build
from liif.network.model import LIIF
from liif.system.files import file_sha256, write_json
from liif.system.progress import log

BUNDLED = [name for name, entry in CATALOG.items() if entry.file]
MODELS = (BICUBIC, *BUNDLED)
SIDE = 100
"""Side of the picture whose enlargement ×8 is timed."""
Cell = dict[str, float]
Unit = NDArray[np.float64]


def main() -> None:
    names = [word for word in sys.argv[1:] if word != "--tables"]
    measured = json.loads(MEASURED.read_text("utf-8")) if MEASURED.exists() else {"models": {}}
    if "--tables" not in sys.argv:
        models = measured["models"]
        for name in names:
            models.pop(name, None)
        for name in names or MODELS:
            for _ in qualities(name, models.setdefault(name, {})):
                write_json(MEASURED, measured)
        measured["machine"] = machine_line(machine())
        for name, numbers in times().items():
            models.setdefault(name, {}).update(numbers)
        write_json(MEASURED, measured)
    write_tables(measured)


def qualities(name: str, numbers: dict[str, Any]) -> Iterator[None]:
    """Complete a model's numbers, one input and scale at a time; those of other weights go."""
    device.keep_freed_memory()  # as the commands do
    model, digest = None, ""
    if name != BICUBIC:
        model, digest = load(name), file_sha256(local_path(name))
    if numbers.get("sha256") != digest:
        numbers.clear()
    numbers["sha256"] = digest
    for case in INPUTS:
        for scale in SCALES:
            cells = numbers.setdefault("quality", {}).setdefault(case, {})
            if str(scale) not in cells:
                cells[str(scale)] = quality(model, case, scale)
                log(f"{name}, {case}, ×{scale}: {cells[str(scale)]}")
                yield


def quality(model: LIIF | None, case: str, scale: int) -> dict[str, Cell]:
    """PSNR and colour shift over the test pictures, without and with back-projection."""
    found: dict[str, list[tuple[float, float]]] = {}
    for path in sorted((PHOTOGRAPHS / "test").iterdir()):
        hr = crop_to_multiple(np.asarray(Image.open(path).convert("RGB")), scale)
        lr = low_resolution(hr, scale, case, path.stem)
        for way, sr in enlarged(model, lr, hr.shape[:2]).items():
            found.setdefault(way, []).append((psnr(hr, sr, scale), colour_shift(lr, sr)))
    return {
        way: {"psnr": round(float(np.mean(psnrs)), 4), "colour": round(max(shifts), 3)}
        for way, (psnrs, shifts) in ((w, zip(*pairs, strict=True)) for w, pairs in found.items())
    }


def low_resolution(hr: RGB8, scale: float, case: str, name: str) -> RGB8:
    """LR picture with that degradation, as the workflow makes it."""
    return imresize(hr, 1 / scale) if case == "clean" else degraded(hr, scale, CASES[case], name)


def enlarged(model: LIIF | None, lr: RGB8, size: tuple[int, int]) -> dict[str, Unit]:
    """The enlarged picture in 0..1, without and with back-projection; bicubic is rounded."""
    if model is None:
        return {"without": imresize(lr, size) / 255}
    bands = model.upscale_bands(lr, size, precision="float32")
    sr = join_bands(bands, (*size, 3), np.dtype(np.float64))
    rows, cols = (-(-n // model.back_projection_factor) for n in lr.shape[:2])
    error = imresize(lr / 255, (rows, cols)) - imresize(sr, (rows, cols))
    return {"without": sr, "with": np.clip(sr + imresize(error, size), 0, 1)}


def psnr(hr: RGB8, sr: Unit, scale: float) -> float:
    """PSNR on RGB without a border of scale + 6 pixels, as `liif evaluate` measures it."""
    border = border_width("scale+6", scale)
    inside = (slice(border, -border), slice(border, -border))
    return psnr_of_error(float(np.mean((hr[inside] / 255 - sr[inside]) ** 2)))


def colour_shift(lr: RGB8, sr: Unit) -> float:
    """Largest difference between the mean colours of input and result, in grey levels."""
    return float(np.abs(255 * sr.mean((0, 1)) - lr.mean((0, 1))).max())


def times() -> dict[str, Numbers]:
    """Parameters of all weights and time of each network, timed in turn with the others."""
    found = compare("models", [*MODELS, "rdn"])
    by_network = {CATALOG[name].network: found[name] for name in ("edsr-baseline", "rdn")}
    for name, entry in CATALOG.items():
        if name not in found and entry.network in by_network:
            found[name] = by_network[entry.network]
    return {
        name: {
            "parameters": int(numbers["parameters"]),
            "seconds": round(numbers["seconds"], 3),
            "time": round(numbers["seconds"] / found["edsr-baseline"]["seconds"], 4),
        }
        for name, numbers in found.items()
    }


def prepare(name: str) -> Callable[[], Numbers]:
    """Enlarge a square by 8, as `liif upscale` does in float32."""
    device.keep_freed_memory()
    lr = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    size = (8 * SIDE, 8 * SIDE)
    if name == BICUBIC:
        return lambda: {"parameters": 0, "seconds": timed(lambda: imresize(lr, size))}
    model = network(name)
    count = sum(p.numel() for p in model.parameters())
    return lambda: {
        "parameters": count,
        "seconds": timed(lambda: model.upscale(lr, size=size, precision="float32")),
    }


def network(name: str) -> LIIF:
    """A model by name; if it was not fetched, its network with random weights."""
    if local_path(name).is_file():
        return load(name)
    encoder = {EDSR_LIIF: EDSREncoder(), RDN_LIIF: RDNEncoder()}[CATALOG[name].network]
    return build(Architecture(encoder=encoder)).eval()


if __name__ == "__main__":
    main()
