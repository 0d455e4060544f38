"""Upscaling: pictures of any size and kind → larger ones, by a model or by bicubic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath

from PIL import Image

from liif import buckets, images, memory, writing
from liif.buckets import EVERYTHING, Bucket, Manifest
from liif.enlarge import Enlarged, Strip, enlarge
from liif.errors import PictureError, UserError
from liif.files import file_sha256, require_writable
from liif.metadata import resized
from liif.pictures import PictureSet, open_set
from liif.progress import Progress, say
from liif.resize import enlarged_size
from liif.upscaler import Upscaler


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the enlarged pictures are to be; just one of scale and the others is given."""

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    """Of width and height the missing one follows from the picture's proportions."""

    @property
    def label(self) -> str:
        """What file names say of it: x2.5, 1920x1080, w1920, h1080."""
        if self.scale is not None:
            return f"x{self.scale:g}"
        if self.width is not None and self.height is not None:
            return f"{self.width}x{self.height}"
        return f"w{self.width}" if self.width is not None else f"h{self.height}"

    def of(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of a picture of that shape (rows, cols), enlarged.

        Raises
        ------
        ValueError
            That would be less than there is.
        """
        if self.scale is not None:
            return enlarged_size(shape, self.scale)
        rows, cols = shape
        width = self.width or max(1, round((self.height or 0) * cols / rows))
        height = self.height or max(1, round(width * rows / cols))
        if height < rows or width < cols:
            raise ValueError(
                f"{width}x{height} is less than its {cols}x{rows} pixels; this only enlarges "
                "(in Python liif.imresize shrinks)"
            )
        return height, width


_NAMES_OF_PICTURES = set(Image.registered_extensions())
"""Endings that nobody gives a folder."""


def parse_size(
    scale: float | None, size: str | None, width: int | None, height: int | None
) -> Size:
    """How large from what the command line says; 8 times when it says nothing.

    Raises
    ------
    UserError
        Several are given that exclude each other, or a size that is none.
    """
    if (scale is not None) + (size is not None) + (width is not None or height is not None) > 1:
        raise UserError("give one of --scale, --size, and --width or --height")
    if size is not None:
        across, _, down = size.lower().replace("×", "x").partition("x")
        if not (across.isdecimal() and down.isdecimal() and int(across) and int(down)):
            raise UserError(f"size `{size}` must look like 1920x1080, width first")
        return Size(width=int(across), height=int(down))
    if width is not None or height is not None:
        return Size(width=width, height=height)
    return Size(scale=8 if scale is None else scale)


def parse_format(text: str) -> str:
    """A format's file ending from its name.

    Raises
    ------
    UserError
        There is no such format.
    """
    suffix = f".{text.lower().lstrip('.')}"
    if suffix not in writing.FORMATS:
        known = ", ".join(s[1:] for s in writing.FORMATS)
        raise UserError(f"format `{text}` is none of {known}")
    return suffix


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to do with the pictures of one call."""

    upscaler: Upscaler
    size: Size
    suffix: str = ".png"
    """Ending, and so format, of pictures whose file is not named in full."""
    quality: int = 95
    """Of JPEG and WebP, 1 to 100."""
    recursive: bool = False
    """Folders within folders too."""
    flat: bool = False
    """All pictures of a folder or archive, told by their names alone wherever they lie, as the
    workflow tells them; otherwise results lie as the pictures do."""
    overwrite: bool = False
    """Replace what was made from something else."""
    title: str = "upscaling"
    bucket: Bucket = EVERYTHING
    names: Iterable[str] | None = None
    """Only these."""


@dataclass
class _Outcome:
    manifest: Manifest = field(default_factory=dict)
    left: int = 0
    """Pictures that were there already."""
    stale: int = 0
    """Of these, such as are not known to be what would be made now."""
    failed: list[PictureError] = field(default_factory=list)


def upscale(inputs: Iterable[Path], out: Path | None, job: Job) -> Manifest:
    """Enlarge pictures, folders and archives of them.

    What is there already is left as it is; `overwrite` replaces it, unless the same weights made
    it from the same input. A picture that cannot be read or written is told, and the others are
    made all the same.

    Parameters
    ----------
    out
        A folder; or a file, for a single picture, whose ending says the format. None puts
        `photo_x8.png` beside `photo.jpg`, and the pictures of `folder` into `folder_x8`.

    Returns
    -------
    Names of the pictures with the sha256 of what there is now.

    Raises
    ------
    UserError
        Pictures cannot be read or written: all of them are listed, after the others were made. Or
        something that no other picture would escape.
    """
    if out is not None and not out.is_dir() and out.suffix.lower() in _NAMES_OF_PICTURES:
        writing.format_of(out)
    todo = list(_todo(inputs, out, job))
    if out is not None and _is_picture(out) and len(todo) > 1:
        raise UserError(f"{out}: cannot hold {len(todo)} pictures; give a folder")
    require_writable(*{target.parent for _, _, target in todo})
    outcome = _Outcome()
    made: dict[Path, str] = {}
    with Progress(job.title, len(todo), unit="pictures") as progress:
        for pictures, name, target in todo:
            try:
                if target in made:
                    raise PictureError(
                        f"{pictures.label(name)}: {target} is already that of {made[target]}; "
                        "rename one"
                    )
                made[target] = pictures.label(name)
                _make(pictures, name, target, job, progress, outcome)
                outcome.manifest[name] = file_sha256(target)
            except PictureError as error:
                outcome.failed.append(error)
                if len(todo) > 1:
                    say(f"{error}; going on with the others")
            progress.advance()
    _tell(outcome, len(todo))
    return outcome.manifest


def _tell(outcome: _Outcome, count: int) -> None:
    """What was left alone, and what went wrong."""
    if outcome.stale:
        say(
            f"{outcome.stale} of {count} were there already, made of something else or with other "
            "settings, and were left as they are; --overwrite replaces them"
        )
    elif outcome.left:
        say(f"{outcome.left} of {count} were there already")
    if outcome.failed and count == 1:
        raise outcome.failed[0]
    if outcome.failed:
        lines = "".join(f"\n  {error}" for error in outcome.failed)
        raise UserError(f"{len(outcome.failed)} of {count} pictures were not enlarged:{lines}")


def _todo(
    inputs: Iterable[Path], out: Path | None, job: Job
) -> Iterator[tuple[PictureSet, str, Path]]:
    """Each picture with its set, its name there, and where it goes."""
    for source in inputs:
        wanted = None if job.names is None else [n for n in sorted(job.names) if n in job.bucket]
        if wanted == []:  # an empty bucket, whose folder may not even exist
            continue
        if out is not None and source.is_dir() and out.resolve() == source.resolve():
            raise UserError(f"{out}: is the folder that the pictures come from; give another")
        pictures = open_set(source, flat=job.flat, recursive=job.recursive or job.flat)
        for name in wanted or [n for n in pictures.names if n in job.bucket]:
            if out is not None and source.is_dir() and _within(source / name, out):
                continue  # made by an earlier call
            yield pictures, name, _target(source, name, out, job)


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _target(source: Path, name: str, out: Path | None, job: Job) -> Path:
    """Where the enlarged picture goes."""
    inner = name if job.flat else str(PurePosixPath(name).with_suffix(""))
    if out is not None:
        if _is_picture(out):
            return out
        return out / f"{inner}{job.suffix}"
    source = source.resolve()
    label = job.size.label
    if _is_picture(source):
        return source.with_name(f"{source.stem}_{label}{job.suffix}")
    base = source.name if source.is_dir() else source.stem
    return source.with_name(f"{base}_{label}") / f"{inner}{job.suffix}"


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in images.SUFFIXES and not path.is_dir()


def _make(
    pictures: PictureSet, name: str, out: Path, job: Job, progress: Progress, outcome: _Outcome
) -> None:
    label = pictures.label(name)
    if out.exists() and Path(label).exists() and out.samefile(label):
        raise PictureError(f"{out}: is the picture itself; give another name or folder")
    parts = ("upscale", pictures.digest(name), job.upscaler.identity)
    asked = job.size.scale if job.size.scale is not None else job.size.label
    tag = buckets.tag_of(*parts, asked)
    current = buckets.is_current(out, tag)
    if current or (out.exists() and not job.overwrite):
        outcome.left += 1
        # Of formats without our tag it cannot be known.
        outcome.stale += not current and out.suffix.lower() == ".png"
        return
    with memory.told(label, "lower --max-memory, or write TIFF, which need not fit", PictureError):
        _enlarge(pictures, name, out, job, progress, tag)


def _enlarge(
    pictures: PictureSet, name: str, out: Path, job: Job, progress: Progress, tag: str
) -> None:
    label = pictures.label(name)
    picture = images.read(BytesIO(pictures.data(name)), label)
    if picture.frames > 1:
        say(f"{label}: has {picture.frames} frames; only the first is enlarged")
    height, width, channels = picture.pixels.shape
    try:
        size = job.size.of((height, width))
    except ValueError as error:
        raise PictureError(f"{label}: {error}") from None
    if abs(size[0] * width / (size[1] * height) - 1) > max(0.01, 1 / height, 1 / width):
        say(f"{label}: {width}x{height} is stretched to {size[1]}x{size[0]}")
    shape, dtype = (*size, channels), picture.pixels.dtype
    writing.check(out, shape, dtype)
    for loss in writing.losses(out, shape, dtype):
        say(f"{out}: {loss}")
    strips = _followed(enlarge(picture.pixels, size, job.upscaler.strips), size, label, progress)
    big = Enlarged(
        strips=strips, shape=shape, dtype=dtype, metadata=resized(picture.metadata, size)
    )
    writing.write(out, big, quality=job.quality, text={buckets.TAG: tag})


def _followed(
    strips: Iterator[Strip], size: tuple[int, int], label: str, progress: Progress
) -> Iterator[Strip]:
    """The strips, with progress told as they go by."""
    name = f"{PurePosixPath(label).name} to {size[1]}x{size[0]}"
    progress.within(name, 0)
    for rows, strip in strips:
        yield rows, strip
        progress.within(name, rows.stop / size[0])
