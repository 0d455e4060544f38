"""Large experiments are planned by buckets, and docs/scaling.md matches the measurements."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import scaling
from projects import ROOT, SNAKEMAKE, TINY, Project, planned
from samples import Folder

COUNTS = """\
import sys
from liif.data import versions

real = versions.fingerprint

def counted(*args, **options):
    print("reading", args[0], file=sys.stderr)
    return real(*args, **options)

versions.fingerprint = counted
"""


def dry_run(project: Project, tmp_path: Path) -> str:
    """A dry run that logs each reading of the data."""
    (tmp_path / "sitecustomize.py").write_text(COUNTS)
    command = [SNAKEMAKE, "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", "--dry-run"]
    command += ["--directory", str(project.path), "results/sr_800"]
    done = subprocess.run(
        [*command, "--configfile", str(project.path / "tiny.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    return done.stdout


@pytest.mark.slow
def test_the_plan_grows_with_the_buckets(
    project: Project,
    tmp_path: Path,
    folder: Folder,
) -> None:
    """And not with the pictures; each set is read once, however many jobs use it."""
    data = {**TINY["data"], "test": {"lr": "data/lr"}}
    given: dict[str, Any] = {"given": {"weights": "data/given.pth", "scales": []}}
    lr = folder("project/data/lr", **{"0": (4, 4)})
    jobs = []
    for pictures, buckets in ((1, 4), (500, 4), (500, 40)):
        for i in range(1, pictures):
            if not (lr / f"{i}.png").exists():
                os.link(lr / "0.png", lr / f"{i}.png")
        project.configure(data=data, models=given, buckets=buckets, evaluate={"scales": []})
        output = dry_run(project, tmp_path)
        assert output.count("reading data/lr") == 1
        jobs.append(planned(output)["upscale"])
    assert jobs == [2 * 4, 2 * 4, 2 * 40]  # the model, and bicubic


def test_the_documented_tables_match_the_measurements() -> None:
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    for name, table in scaling.tables(scaling.read()).items():
        assert f"<!-- {name} -->\n\n{table}\n" in text, table
