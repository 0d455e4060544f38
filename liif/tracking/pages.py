"""Content of MLflow's pages about a run: names, parameters, descriptions, links to pages."""

from __future__ import annotations

from liif.tracking.run import Known

NAMES = 2
"""Version of the names below. Records delivered under older ones are delivered again."""
METRICS = {
    "loss": "train/loss",
    "learning_rate": "train/lr",
    "patches_per_second": "train/patches_per_second",
    "valid_psnr": "valid_patches/psnr",
}
"""Column of the history → metric."""
PARAMETERS = {"encoder.name", "parameters"} | {
    f"train.{key}" for key in ("epochs", "batch", "patch", "learning_rate")
}
"""Settings that are parameters in MLflow; all others are tags.

Its image cards print every parameter above the image, and have room for no more.
"""
CHAMPION = "champion"
"""Alias of a registered model's best version."""
LOCAL = "http://127.0.0.1:5000"
"""Where a bare `mlflow ui` shows its pages."""
_TRAINING = "workflowType=machine_learning"
"""Without it, MLflow opens its pages for generative AI."""
EXPERIMENT = f"""\
Super-resolution with LIIF. `test/x8/gain`: PSNR over bicubic on the test pictures, in dB.

- one run for each model, and one for bicubic
- `test/x8/…`, `valid/x2/…`: PSNR, SSIM and gain on a set of pictures, at a scale
- `train/loss`, `train/lr`, `valid_patches/psnr`: by epoch
- images: `upscaled/…` are test pictures; `validation/…` show LR, bicubic, model and HR by epoch

In the model registry, the alias `{CHAMPION}` marks each model's version with the highest PSNR on
the test pictures.
"""
"""The experiment's description."""


def runs_page(pages: str = LOCAL, experiment: str = "1") -> str:
    """Address of the charts of all runs; in a project's own database, ours is experiment 1."""
    return f"{pages}/#/experiments/{experiment}/runs?compareRunsMode=CHART&{_TRAINING}"


def run_page(pages: str, experiment: str, run: str) -> str:
    """Address of a run's page; `experiment` is empty if 0.1.0 delivered it."""
    within = f"experiments/{experiment}/runs" if experiment else "runs"
    return f"{pages}/#/{within}/{run}?{_TRAINING}"


def description(known: Known) -> str:
    """What a run is, its recipe and its results, in a few lines of Markdown."""
    settings = known.tags | known.params
    ended = settings.get("ended", "")
    parts = [_what(settings, known), _recipe(settings), ended[:1].upper() + ended[1:]]
    lines = [" ".join(f"{part}." for part in parts if part)]
    names = sorted(key.removesuffix("/psnr") for key in known.measured if key.endswith("/psnr"))
    if names:
        lines += [
            "",
            "| pictures | PSNR (dB) | SSIM | gain over bicubic (dB) |",
            "|---|---|---|---|",
        ]
        lines += [f"| `{name}` | {' | '.join(_results(name, known))} |" for name in names]
    return "\n".join(lines)


def _what(settings: dict[str, str], known: Known) -> str:
    kind, encoder = settings.get("model.kind"), settings.get("encoder.name", "")
    if kind is None:
        return "Bicubic interpolation, the baseline"
    what = f"**{encoder.upper()}-LIIF**" if encoder else "**LIIF**"
    if "parameters" in settings:
        what += f", {int(settings['parameters']):,} parameters"
    if kind == "given":
        return f"{what}, pretrained: {settings['weights']}" if "weights" in settings else what
    counts = known.datasets.get("training", {}).get("counts", {})
    number = counts.get("photographs")
    return f"{what}, trained" + (f" on {number} photographs" if number else "")


def _recipe(settings: dict[str, str]) -> str:
    recipe = {key.removeprefix("train."): value for key, value in settings.items()}
    if "train.epochs" not in settings:
        return ""
    text = "Recipe: {epochs} epochs, batches of {batch} patches of {patch}×{patch}, "
    return (text + "scales {scales}, loss {loss}, learning rate {learning_rate}").format_map(recipe)


def _results(name: str, known: Known) -> list[str]:
    formats = {"psnr": "{:.2f}", "ssim": "{:.4f}", "gain": "{:+.2f}"}
    found = {key: known.measured.get(f"{name}/{key}") for key in formats}
    return ["–" if v is None else formats[key].format(v[0]) for key, v in found.items()]
