"""Every command and every Python block of the documentation runs, or a table says why it cannot.

The commands of a page run in their order, in a folder like a clone of the project, with tiny
pictures and networks. What Snakemake would train for days is only planned (`--dry-run`).
"""

import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import clones
import documents
import numpy as np
import pytest
import tifffile
import yaml
from documents import commands, text_of
from made_results import make_results
from PIL import Image
from projects import QUICK, ROOT, sh
from samples import photograph

from liif import cli
from liif.data import collect

NAMES = ["README.md", *(name for name in documents.PAGES if not name.startswith("zh/"))]
"""Documents; the commands of the Chinese ones equal theirs (test_site.py, test_readme.py)."""

APT = "apt-get download lomiri-wallpapers-16.04 mate-backgrounds plasma-workspace-wallpapers"
TORCHRUN = (
    "torchrun --nnodes 2 --node-rank 0 --nproc-per-node 4 --master-addr first.example"
    " --master-port 29500 -m liif train --data train.pack --valid valid.pack --settings recipe.json"
    " --out m.safetensors --state results/state/rdn --store results/trained"
)
MLFLOW_SERVER = (
    "mlflow server --host 0.0.0.0 --allowed-hosts mlflow.example:5000"
    " --backend-store-uri postgresql://… --artifacts-destination s3://bucket/mlflow"
)
CURL = (
    "curl --data-binary @photo.png"
    " 'http://127.0.0.1:8080/upscale?scale=2.5&format=webp' -o large.webp"
)
NOT_RUN = {
    APT: "network; test_collect.py::test_photographs_of_packages",
    CURL: "a server; test_server.py::test_the_documented_command_works",
    "liif app": "a server; test_server.py::test_a_server_prints_its_address_and_stops_cleanly",
    "liif serve": "a server; test_server.py::test_a_server_prints_its_address_and_stops_cleanly",
    "liif serve --port 8080": "a server; test_server.py::test_the_documented_command_works",
    "liif weights fetch rdn": "network; test_catalog.py::test_fetched_once_and_used_by_name",
    "make demo": "minutes; test_slurm.py::test_the_demo_on_a_cluster, and its steps in clones.py",
    "make test": "this test is part of it",
    MLFLOW_SERVER: "PostgreSQL; test_shared.py::test_records_of_two_machines_at_one_server",
    "mlflow ui": "a server; test_surfaces.py::test_mlflows_pages_listen_on_the_loopback_alone",
    "snakemake results/sr_800 --report report.zip": (
        "all results of an experiment;"
        " test_workflow.py::test_dry_runs_and_reports_change_nothing_and_take_no_lock"
    ),
    TORCHRUN: "two machines; test_group.py::test_two_machines_that_share_no_folder",
}
"""What a command needs that is not here, and the test that comes closest to it."""

INSTALLATION = re.compile(
    r"(\.venv/bin/)?pipx? install|python3 -m venv|make install|docker |git clone"
)
"""Commands that get packages from the network. test_install.py has a program in place of pip, and
test_docs.py::test_a_wheel_works_outside_the_repository installs what needs no network."""

REPLACED = {
    "https://…": "https://storage.example",
    "--size 3840x2160": "--size 192x108",
    "--width 3840": "--width 192",
    "--data photos --valid valid": "--data photos --valid valid --settings short.yaml",
}
"""Parts of commands, and what stands for them here: placeholders, and options for less work."""

EXPECTED = {
    "liif upscale photo.jpg": "photo_x8.png",
    "liif collect packages photographs": "photographs/CREDITS.md",
    "liif collect holiday own": "own/x.png",
    "liif compare photo.jpg photo_x8.png": "compare.html",
    "liif compare a.png b.png": "compare.html",
    "liif compare folder-a folder-b --truth hr": "compare.html",
    "liif export FILE --onnx": "FILE.encoder.onnx",
    "liif import checkpoint.pth mine.safetensors": "mine.safetensors",
    "liif report results": "results/report.html",
    "liif report results --embed": "results/report-embedded.html",
    "liif weights list": "edsr-baseline",
    "dvc repro": "results/metrics.csv",
    "dvc metrics diff": "psnr",
}
"""A file that a command writes, or words that it prints, apart from files after -o and --out."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """How the commands of a page are run."""

    pictures: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Pictures that it assumes, apart from those of every page: rows and columns."""
    before: dict[str, Callable[[Path], object]] = field(default_factory=dict)
    """What comes before a command, or in place of one that cannot run."""
    plan: bool = True
    """Whether Snakemake only plans."""
    slow: bool = True


PAGES = {
    "degradations.md": Page(pictures={"photographs/a.png": (48, 48)}, slow=False),
    "fine-tuning.md": Page(
        before={
            "liif collect packages photographs": lambda path: clones.packages(path / "packages"),
            "liif degrade others --out lr --scale 4 --jpeg 75": clones.crop_others,
        }
    ),
    "how-to/data-versions.md": Page(
        before={
            "snakemake --cores 1 download": clones.project,
            "git checkout OLDER": clones.commit_another_picture,
            "snakemake --cores all results/sr_800": clones.require_first_picture,
            "dvc remote add -d shared s3://bucket/liif": clones.remove_remote,
            "dvc remote add -d shared ssh://host/liif": clones.remove_remote,
            "dvc push": clones.use_a_folder_as_remote,
            "cd demo": clones.demo,
        },
        plan=False,
    ),
    "how-to/evaluate.md": Page(
        pictures={
            **{f"{folder}/baby.png": (48, 48) for folder in ("Set5/HR", "enlarged")},
            "Set5/LR_x4/babyx4.png": (12, 12),
        }
    ),
    "how-to/own-photographs.md": Page(
        pictures={f"photos/{part}/x.png": (60, 60) for part in ("train", "valid", "test")}
    ),
    "how-to/report.md": Page(
        before={"liif report results": lambda path: make_results(path / "results", ["a", "b"])}
    ),
    "how-to/upscale.md": Page(),
    "models.md": Page(
        before={
            "liif collect FOLDER data/photographs": lambda path: clones.packages(path / "FOLDER")
        }
    ),
    "photographs.md": Page(pictures={"holiday/x.png": (400, 400)}, before={APT: clones.packages}),
    "scaling.md": Page(),
    "tutorials/cluster.md": Page(),
    "tutorials/experiment.md": Page(),
    "tutorials/first-picture.md": Page(slow=False),
}
"""Pages whose commands are run. The commands of others are among theirs, or in `NOT_RUN`."""

PYTHON = {
    "python.md": (
        "import glob\n"
        "assert sorted(glob.glob('*.png')) == ['cutout.png', 'photo.png', 'photo_x8.png']"
    ),
    "how-to/upscale.md": "assert big.size == (480, 320) and small.shape == (40, 60, 3)",
}
"""Pages whose Python blocks are run, and what holds after them."""

PYTHON_NOT_RUN = {"how-to/tracking.md": "test_store.py::test_a_training_on_record"}
"""Pages whose Python blocks need more than pictures, and the test of them."""


def configure(folder: Path, name: str) -> None:
    """Write the page's configurations that name a file in their first line."""
    for block in documents.blocks(name, "yaml"):
        if file := re.match(r"# (\w+\.yaml)\n", block):
            values = yaml.safe_load(block)
            if values.keys() == {"train"}:
                values["train"] |= QUICK
            (folder / file[1]).write_text(yaml.safe_dump(values))


def output_of(line: str, here: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command line in the folder, in this process where that is possible."""
    if not line.startswith("liif ") or {"--onnx", "--processes"} & set(line.split()):
        return sh(here, "bash", "-ec", f"{line}\npwd")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setattr(sys, "argv", shlex.split(line))
        with pytest.raises(SystemExit) as end:
            cli.main()
    printed = capsys.readouterr()
    assert end.value.code == 0, f"{line}: {printed.err}"
    return printed.out


@pytest.mark.timeout(1800)  # of two workflows
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * page.slow) for n, page in PAGES.items()]
)
def test_the_commands_of_a_page_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "x")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "x@localhost")
    monkeypatch.setenv("LIIF_TRACKING", "false")
    monkeypatch.setattr(collect, "catalogue", lambda: list(clones.photographs()))
    page, here = PAGES[name], tmp_path / "liif"
    clones.clone(here)
    clones.paint(here, page.pictures)
    configure(here, name)
    for line in commands(name):
        if line in page.before:
            page.before[line](here)
        if line in NOT_RUN or INSTALLATION.match(line):
            continue
        run = line
        for part, stand_in in REPLACED.items():
            run = run.replace(part, stand_in)
        if page.plan and "snakemake " in line and "--dry-run" not in line:
            run += " --dry-run"
        output = output_of(run, here, capsys)
        files = re.findall(r" (?:-o|--out) (\S+)", line)
        for what in [*files, *EXPECTED.get(line, "").split()]:
            assert what in output or (here / what).exists(), f"{line}: no {what}"
        if not line.startswith("liif "):
            here = Path(output.splitlines()[-1])


def test_every_command_is_run_or_a_table_says_why_not() -> None:
    known = {line for name in PAGES for line in commands(name)} | NOT_RUN.keys()
    missing = {
        line: name
        for name in NAMES
        for line in commands(name)
        if line not in known and not INSTALLATION.match(line)
    }
    assert not missing, "run the page (PAGES), or say why not (NOT_RUN)"


def test_the_tables_have_only_what_the_documents_have() -> None:
    lines = {line for name in NAMES for line in commands(name)}
    before = {line for page in PAGES.values() for line in page.before}
    assert not (NOT_RUN.keys() | EXPECTED.keys() | before) - lines
    assert all(any(part in line for line in lines) for part in REPLACED)
    assert all(commands(name) for name in PAGES)
    for reason in (*NOT_RUN.values(), *PYTHON_NOT_RUN.values()):
        for file, test in re.findall(r"(test_\w+\.py)::(\w+)", reason):
            (path,) = (ROOT / "tests").rglob(file)
            assert f"\ndef {test}(" in path.read_text(encoding="utf-8"), reason


@pytest.mark.slow
@pytest.mark.parametrize("name", PYTHON)
def test_the_python_blocks_of_a_page_run(name: str, tmp_path: Path) -> None:
    rgb = photograph(40, 60)
    Image.fromarray(rgb).save(tmp_path / "photo.png")
    Image.fromarray(np.dstack([rgb, rgb[..., 0]])).save(tmp_path / "cutout.png")
    tifffile.imwrite(tmp_path / "scan.tif", rgb.astype(np.uint16) * 257, photometric="rgb")
    program = "\n".join([*documents.blocks(name, "python"), PYTHON[name]])
    sh(tmp_path, sys.executable, "-c", program)


def test_every_python_block_is_run() -> None:
    """Those of the README are run by test_readme.py."""
    found = {name for name in NAMES[1:] if documents.blocks(name, "python")}
    assert found == PYTHON.keys() | PYTHON_NOT_RUN.keys()
    assert len(documents.blocks("python.md", "python")) >= 9


def test_addresses_are_secure_and_spelled_alike() -> None:
    spelled: dict[str, set[str]] = {}
    for name in ("README.md", "README.zh-CN.md", *documents.PAGES):
        for address in re.findall(
            r"https?://[\w.-]+\.\w+[^\s<>()'\"`…，。；：（）]*", text_of(name)
        ):
            assert re.match(r"https:|http://127\.0\.0\.1\b", address), f"{name}: {address}"
            plain = re.sub(r"^https?://(www\.)?|#.*|(index)?(\.html)?/?[.,;:]*$", "", address)
            spelled.setdefault(plain.lower(), set()).add(re.sub(r"#.*|[.,;:]+$", "", address))
    assert not [several for several in spelled.values() if len(several) > 1]
