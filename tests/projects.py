"""Working folders of Snakemake and DVC with tiny pictures and networks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SNAKEMAKE = str(BIN / "snakemake")
TINY: dict[str, Any] = {
    "data": {
        "train": "data/train",
        "valid": "data/valid.zip",
        "test": {"hr": "data/test"},
        "crop": 48,
    },
    "models": {
        "small-edsr": {"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "hidden": [16]},
        "small-rdn": {
            "encoder": {"name": "rdn", "blocks": 1, "layers": 1, "growth": 4, "channels": 8},
            "hidden": [16],
            "skip": "bicubic",
            "train": {"init": "he"},
        },
        "given": {"weights": "data/given.pth", "scales": [8]},
    },
    "train": {
        "epochs": 2,
        "visits": 6,
        "batch": 4,
        "patch": 8,
        "scales": [1, 3],
        "queries": 64,
        "validation_patches": 4,
    },
    "evaluate": {"scales": [2, 2.5], "border": "scale"},
    # tested in tests/tracking
    "tracking": False,
}
QUICK = {**TINY["train"], "epochs": 1}


class Project:
    """A working folder with tiny data and a configuration."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def configure(self, **changes: Any) -> None:
        (self.path / "tiny.yaml").write_text(yaml.safe_dump({**TINY, **changes}))

    def start(self, *words: str, start_new_session: bool = False) -> subprocess.Popen[str]:
        # Without the environment on the path: the workflow finds its own Python.
        path = os.environ["PATH"].replace(str(Path(SNAKEMAKE).parent), "")
        folder = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(self.path)]
        config = ["--configfile", str(self.path / "tiny.yaml")]
        return subprocess.Popen(
            [SNAKEMAKE, *folder, "--cores", "2", *words, *config],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PATH": path},
            start_new_session=start_new_session,
        )

    def run(self, *words: str, fails: bool = False) -> str:
        process = self.start(*(words or ("results/sr_800",)))
        output, _ = process.communicate()
        assert (process.returncode != 0) == fails, output
        return output

    def jobs(self, *words: str) -> dict[str, int]:
        """Rule → number of jobs in a dry run."""
        output = self.run("--dry-run", *(words or ("results/sr_800",)))
        return planned(output)

    def file(self, name: str) -> Path:
        return self.path / "results" / name


def planned(output: str) -> dict[str, int]:
    """Parse the table of jobs that a dry run prints."""
    if "Nothing to be done" in output:
        return {}
    lines = output.split("Job stats:")[-1].splitlines()[3:]
    table = [line.split() for line in lines]
    rows = table[: [bool(row) for row in table].index(False)]
    return {name: int(count) for name, count in rows if name != "total"}


def sh(folder: Path, *words: str, fails: bool = False, **environment: str) -> str:
    """Run a command in the folder; returns its output."""
    done = subprocess.run(
        words,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **environment},
    )
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout


def git(folder: Path, *words: str) -> str:
    return sh(folder, "git", "-c", "user.name=x", "-c", "user.email=x@localhost", *words)


class Versioned(Project):
    """A project with git and DVC, like the one of `make demo`."""

    def prepare(self, **changes: Any) -> None:
        self.configure(train=QUICK, **changes)
        snakefile = ["--snakefile", str(ROOT / "Snakefile"), "--directory", "."]
        profile = ["--workflow-profile", str(ROOT / "profiles" / "default"), "--cores", "2"]
        words = ["snakemake", "results/sr_800", *snakefile, *profile, "--configfile", "tiny.yaml"]
        stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())
        stage = stages["stages"]["sr_800"]
        stage |= {"cmd": " ".join(words), "deps": ["data"], "params": [{"tiny.yaml": None}]}
        for plot in stages["plots"]:
            for value in plot.values():
                column = next(iter(value["y"].values()))
                value["y"] = {"results/models/small-rdn.history.csv": column}
        git(self.path, "init", "--quiet")
        sh(self.path, "dvc", "init", "--quiet")
        for name in ("config", "plots.html"):
            shutil.copy(ROOT / ".dvc" / name, self.path / ".dvc" / name)
        shutil.copy(ROOT / ".dvcignore", self.path / ".dvcignore")
        (self.path / "dvc.yaml").write_text(yaml.safe_dump(stages))
        (self.path / ".gitignore").write_text(".snakemake/\n/results/*\n")
        sh(self.path, "dvc", "add", "--quiet", "data")
        self.commit("first")

    def commit(self, message: str) -> None:
        git(self.path, "add", ".")
        git(self.path, "commit", "--quiet", "--message", message)

    def repro(self) -> str:
        return sh(self.path, "dvc", "repro")

    def results(self) -> dict[str, bytes]:
        """The contents of the workflow's results."""
        return {
            str(path.relative_to(self.path)): path.read_bytes()
            for path in [
                *self.file("sr_800").rglob("*.png"),
                *self.file("models").glob("*.safetensors"),
                self.file("metrics.csv"),
                self.file("metrics.json"),
            ]
        }
