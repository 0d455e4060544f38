"""Subcommands for data: the stages from photographs to packs and LR sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from liif.cli.options import EXPERIMENT, STEPS, BucketOption, Manifest, Partial, Scale, app
from liif.system.errors import UserError
from liif.system.files import require_writable
from liif.system.locks import lock, lock_path
from liif.system.progress import log
from liif.system.project import project


@app.command(rich_help_panel=EXPERIMENT)
def download(
    name: Annotated[
        str, Argument(help="DIV2K_train_HR, DIV2K_valid_HR, or photographs: the bundled ones.")
    ],
    to: Annotated[Path, Option(help="Folder for the archive or the photographs.")],
    partial: Partial = None,
) -> None:
    """Download an archive of DIV2K, checked and resumable; or copy the bundled photographs.

    liif download DIV2K_valid_HR --to data
    """
    from liif.data import download as stage
    from liif.data.div2k import ARCHIVES

    if name == "photographs":
        stage.copy_photographs(to)
        return
    if name not in ARCHIVES:
        raise UserError(f"`{name}` is not one of {', '.join(ARCHIVES)}, photographs")
    partial = partial or to / ".partial"
    require_writable(to, partial)
    with lock(partial / f"{name}.lock", f"the download of {name}"):
        stage.download(name, ARCHIVES[name], to / f"{name}.zip", partial)
    if hint := stage.how_to_record(to, project()):
        log(hint)


@app.command(rich_help_panel=EXPERIMENT)
def collect(
    source: Annotated[
        Path, Argument(help="Folder or archive of photographs, or folder of .deb files.")
    ],
    out: Annotated[Path, Argument(help="Folder for the training photographs.")],
) -> None:
    """Prepare photographs for training, from your own folder or from Debian packages.

    JPEGs are halved, and pictures above 4 megapixels downscaled to at most 4; the bundled test
    pictures are left out. If SOURCE is an empty folder, the packages to download are named.

    liif collect holiday photos/train
    """
    from liif.data import collect as stage

    require_writable(out)
    with lock(lock_path(out), f"collecting to {out}"):
        stage.collect(source, out)


@app.command(rich_help_panel=STEPS)
def pack(
    source: Annotated[Path, Argument(help="Folder or archive of photographs.")],
    out: Annotated[Path, Argument(help="The pack file to write.")],
) -> None:
    """Pack photographs into one file of pixels, which trainings map into memory.

    liif pack photos/train train.pack
    """
    from liif.data import pack as stage
    from liif.data.versions import data_version

    version = data_version(project())
    if version.warning:
        log(version.warning)
    require_writable(out)
    with lock(lock_path(out), f"packing {out.name}"):
        stage.pack(source, out, data_version=version.known)


@app.command(rich_help_panel=STEPS)
def degrade(
    source: Annotated[Path, Argument(help="Folder or archive of HR photographs.")],
    out: Annotated[Path, Option("--out", "-o", help="Folder for the LR pictures.")],
    scale: Scale,
    crop: Annotated[
        int | None,
        Option(min=1, help="Crop each photograph to a centred square of this side first."),
    ] = None,
    truth: Annotated[
        Path | None, Option(help="Also write the cropped HR pictures to this folder.")
    ] = None,
    blur: Annotated[
        float | None, Option(help="σ of Gaussian blur before downscaling, in LR pixels, up to 8.")
    ] = None,
    noise: Annotated[
        float | None,
        Option(help="σ of Gaussian noise after downscaling, in grey levels, up to 100."),
    ] = None,
    jpeg: Annotated[
        int | None, Option(help="Quality of JPEG compression, the last step, 1 to 100.")
    ] = None,
    bucket: BucketOption = "0/1",
    manifest: Manifest = None,
) -> None:
    """Make LR pictures with MATLAB's bicubic imresize, optionally with blur, noise and JPEG.

    liif degrade photos -o lr --scale 4 --jpeg 75
    """
    from liif.config import Case
    from liif.config_file import checked
    from liif.data import degrade as stage
    from liif.data.manifests import parse_bucket, write_manifest

    part = parse_bucket(bucket)
    strengths = {"blur": blur, "noise": noise, "jpeg": jpeg}
    given = {kind: value for kind, value in strengths.items() if value is not None}
    case = checked(Case, given) if given else None
    require_writable(out, truth, manifest)
    with lock(lock_path(manifest or out), f"degrading to {out}"):
        made = stage.degrade(
            source, out, scale=scale, crop=crop, truth=truth, case=case, bucket=part
        )
        if manifest is not None:
            write_manifest(manifest, made, *[f for f in (out, truth) if f is not None])
