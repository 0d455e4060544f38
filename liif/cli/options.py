"""The application, and the options that several subcommands have."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from liif import __version__
from liif.system.errors import UserError
from liif.system.project import TRACKING

app = typer.Typer(
    name="liif",
    help="""Super-resolution with local implicit image functions (LIIF).

    liif upscale photo.jpg --scale 4  [dim](your pictures)[/dim]

    liif train --data photos --valid others -o mine.safetensors  [dim](an experiment)[/dim]

    liif weights list  [dim](weights)[/dim]

    `liif COMMAND --help` shows a command's options, with an example.
    """,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

PICTURES = "Your pictures"
EXPERIMENT = "An experiment"
WEIGHTS = "Weights"
STEPS = "Single steps, which the Snakemake workflow runs for you"
"""Panel of `liif --help` that lists a command."""


@app.callback(invoke_without_command=True)
def _liif(
    version: Annotated[bool, Option("--version", help="Print the version.")] = False,
    debug: Annotated[  # read by `main`, which shows errors
        bool, Option("--debug", help="Show the traceback of any error.")
    ] = False,
) -> None:
    if version:
        typer.echo(f"liif {__version__}")
        raise typer.Exit


MACHINE = "Machine"
JOBS = "Splitting work into jobs"
"""Panel of a command's help that lists an option."""

Device = Annotated[
    str,
    Option(help="auto (a free GPU, else the CPU), cpu, cuda, or cuda:1.", rich_help_panel=MACHINE),
]
Threads = Annotated[
    int | None,
    Option(min=1, help="CPU threads.", show_default="all cores", rich_help_panel=MACHINE),
]
Memory = Annotated[
    float | None,
    Option(
        "--max-memory",
        min=0,
        help="Memory for features and encoding, in GB.",
        show_default="half of the free memory",
        rich_help_panel=MACHINE,
    ),
]
Precision = Annotated[
    str,
    Option(
        help="float32, bf16, or auto: bf16 where it is faster, float32 elsewhere.",
        rich_help_panel=MACHINE,
    ),
]
NoBackProjection = Annotated[
    bool,
    Option(
        "--no-back-projection",
        help="Leave out the correction that brings the result, downscaled, closer to the input.",
    ),
]
BucketOption = Annotated[
    str,
    Option(
        "--bucket",
        help="Process only part I of N, counted from 0.",
        metavar="I/N",
        rich_help_panel=JOBS,
    ),
]
Manifests = Annotated[
    list[Path] | None,
    Option(
        "--only",
        help="Process only the pictures that this manifest lists.",
        metavar="MANIFEST",
        rich_help_panel=JOBS,
    ),
]
Track = Annotated[
    bool, Option("--track/--no-track", envvar=TRACKING, help="Record the job in MLflow.")
]
Scale = Annotated[float, Option(min=1, max=100, help="Scale factor between LR and HR.")]
Partial = Annotated[
    Path | None,
    Option(help="Folder for unfinished files.", show_default=".partial beside the output"),
]
Manifest = Annotated[
    Path | None,
    Option(
        help="Also write a manifest: names and hashes of the output, as JSON.", rich_help_panel=JOBS
    ),
]
BucketCount = Annotated[int, Option("--buckets", min=1, help="Number of parts in each folder.")]
ModelsFolder = Annotated[
    Path, Option(help="Folder with the models' weights, which identify their MLflow runs.")
]
Sources = Annotated[
    list[str] | None,
    Option("--data", help="Version and path of a set of pictures.", metavar="SET=HASH@PATH"),
]
MODELS = Path("results/models")


def to_bytes(gigabytes: float | None) -> int | None:
    """`--max-memory` in bytes; refused unless it is finite."""
    if gigabytes is None:
        return None
    if not isfinite(gigabytes):
        raise UserError(f"--max-memory (={gigabytes}) must be a number of GB")
    return int(gigabytes * 1e9)


def a_path(word: str) -> Path:
    """A path; an empty one, which Python takes for the current folder, is refused."""
    if not word:
        raise UserError("a path is empty (is a variable not set?)")
    return Path(word)


def require_extra(extra: str, *modules: str) -> None:
    """Refuse missing modules of an optional extra, and name the extra to install."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise UserError(f"{', '.join(missing)} not installed: pip install 'liif[{extra}]'")


def known_weights(incomplete: str) -> list[str]:
    """Names of weights, for shell completion."""
    from liif.checkpoints.catalog import CATALOG

    return [name for name in ("bundled", *CATALOG) if name.startswith(incomplete)]


WeightsArgument = Annotated[
    str,
    Argument(
        help="`bundled`, a name of `liif weights list`, or a file in liif's, the authors' or "
        "mmagic's format.",
        autocompletion=known_weights,
    ),
]


def parse_sources(texts: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Source and version of each set, from `SET=HASH@PATH`."""
    sources = {}
    for text in texts:
        name, _, rest = text.partition("=")
        version, at, source = rest.partition("@")
        if not (name and at and version and source):
            raise UserError(f"`{text}` must look like SET=HASH@PATH")
        sources[name] = (source, version)
    return sources
