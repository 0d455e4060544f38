"""Versioned data: git, DVC and Snakemake on tiny pictures."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from projects import BIN, QUICK, ROOT, TINY, Versioned, git, sh
from samples import Folder, photograph
from servers import KEYS, s3

from liif.data.div2k import ARCHIVES
from liif.data.versions import data_version, dvc_folder_md5
from liif.images.png import write_png
from liif.inference.evaluate import Result, write_tables


def test_the_archives_are_pinned_before_their_download() -> None:
    (out,) = yaml.safe_load((ROOT / "data.dvc").read_text())["outs"]
    assert out["path"] == "data"
    assert out["md5"] == dvc_folder_md5({f"{n}.zip": a.md5 for n, a in ARCHIVES.items()})
    assert out["size"] == sum(a.size for a in ARCHIVES.values())
    assert out["nfiles"] == 2


@pytest.mark.slow
def test_pinned_data_is_taken_into_the_cache(tmp_path: Path) -> None:
    """As after a download: first not in cache, then clean, with data.dvc unchanged."""
    git(tmp_path, "init", "--quiet")
    sh(tmp_path, "dvc", "init", "--quiet")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.zip").write_bytes(b"1")
    version = dvc_folder_md5({"a.zip": "c4ca4238a0b923820dcc509a6f75849b"})
    out = {"md5": version, "size": 1, "nfiles": 1, "hash": "md5", "path": "data"}
    pinned = yaml.safe_dump({"outs": [out]})
    (tmp_path / "data.dvc").write_text(pinned)
    assert data_version(tmp_path).matches
    assert "not in cache" in sh(tmp_path, "dvc", "status")
    sh(tmp_path, "dvc", "commit", "-f", "data.dvc")
    assert "up to date" in sh(tmp_path, "dvc", "status")
    assert (tmp_path / "data.dvc").read_text() == pinned


TEST_REDONE = {
    "degrade": 1,
    "upscale": 3,
    "evaluate_test": 3,
    "table": 1,
    "report": 1,
    "sr_800": 1,
}
TRAIN_REDONE = {
    "pack": 1,
    "train": 1,
    "upscale": 1,
    "evaluate_valid": 1,
    "evaluate_test": 1,
    "table": 1,
    "report": 1,
    "sr_800": 1,
}
CHANGES: list[tuple[str, Callable[[Path], object], dict[str, int]]] = [
    ("test/new.png", lambda p: write_png(p, photograph(50, 50, seed=8)), TEST_REDONE),
    ("test/new.png", lambda p: write_png(p, photograph(50, 50, seed=9)), TEST_REDONE),
    ("test/new.png", lambda p: os.utime(p, (1, 1)), {}),
    ("test/new.png", lambda p: p.unlink(), TEST_REDONE),
    ("train/new.png", lambda p: write_png(p, photograph(60, 50, seed=8)), TRAIN_REDONE),
    ("train/new.png", lambda p: write_png(p, photograph(60, 50, seed=9)), TRAIN_REDONE),
    ("train/new.png", lambda p: os.utime(p, (1, 1)), {}),
    ("train/new.png", lambda p: p.unlink(), TRAIN_REDONE),
]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a dozen workflows, one after another
def test_only_dependents_of_a_change_are_redone(versioned: Versioned) -> None:
    """Add, change, touch and remove a picture; then restore the first results byte for byte."""
    models = {name: TINY["models"][name] for name in ("small-rdn", "given")}
    versioned.prepare(models=models, evaluate={"scales": [2]})
    versioned.repro()
    versioned.commit("first results")
    first = versioned.results()
    assert json.loads(versioned.file("metrics.json").read_text())["test"]["x8"]["small-rdn"]["psnr"]
    for number, (name, change, redone) in enumerate(CHANGES):
        change(versioned.path / "data" / name)
        assert versioned.jobs() == redone, (number, name)
        if number % 2:
            versioned.run()
        else:
            versioned.repro()
        assert versioned.jobs() == {}, (number, name)
        if number == 5:
            versioned.repro()  # records the results of the plain snakemake
            versioned.commit("a new train picture")
    assert versioned.results() == first

    # DVC's comparison of the two commits.
    shown = sh(versioned.path, "dvc", "metrics", "diff", "HEAD~1", "HEAD")
    assert "results/metrics/small-rdn.json  test.x8.psnr" in shown
    rows = sh(versioned.path, "dvc", "metrics", "show").splitlines()
    assert [Path(row.split()[0]).stem for row in rows[1:]] == ["bicubic", "given", "small-rdn"]
    sh(versioned.path, "dvc", "plots", "diff", "HEAD~1", "HEAD", "-o", "results/plots")
    page = versioned.file("plots/index.html").read_text()
    assert "Training loss" in page
    assert "PSNR on validation patches" in page
    versioned.configure(models=models, evaluate={"scales": [2]}, train={**QUICK, "epochs": 7})
    changed = sh(versioned.path, "dvc", "params", "diff")
    assert "train.epochs" in changed
    versioned.configure(models=models, evaluate={"scales": [2]}, train=QUICK)

    git(versioned.path, "stash", "--quiet")  # dvc.lock of the last repro
    sh(versioned.path, "dvc", "checkout")
    assert (versioned.path / "data" / "train" / "new.png").exists()
    git(versioned.path, "checkout", "--quiet", "HEAD~1")
    sh(versioned.path, "dvc", "checkout")
    output = versioned.run()
    assert "steps in" not in output  # no training took a step
    assert versioned.results() == first
    assert "up to date" in versioned.repro()

    # Without the finished trainings, training gives identical weights.
    shutil.rmtree(versioned.file("trained"))
    for path in versioned.file("models").glob("small-rdn.*"):
        path.unlink()
    output = versioned.run("results/models/small-rdn.safetensors")
    assert "small-rdn: 3 steps in" in output
    versioned.run()
    assert versioned.results() == first


@pytest.mark.slow
def test_results_carry_the_data_version(versioned: Versioned) -> None:
    models = {"small-edsr": TINY["models"]["small-edsr"]}
    versioned.prepare(models=models, evaluate={"scales": [2]}, tracking=True)
    (out,) = yaml.safe_load((versioned.path / "data.dvc").read_text())["outs"]
    assert "data.dvc records" not in versioned.run()
    from liif.checkpoints.format import load_metadata

    weights = versioned.file("models/small-edsr.safetensors")
    assert load_metadata(weights)["provenance"]["data_version"] == out["md5"]

    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{versioned.path / 'mlflow.db'}")

    def tags() -> list[dict[str, str]]:
        return [run.data.tags for run in client.search_runs(["1"])]

    assert {t["data.version"] for t in tags()} == {out["md5"]}
    assert len(tags()) == 2

    # Unrecorded changes cause a warning, and are never tracked as the old version.
    write_png(versioned.path / "data" / "train" / "new.png", photograph(50, 50, seed=1))
    actual = data_version(versioned.path)
    assert not actual.matches
    output = versioned.run()
    assert f"the data is version {actual.actual}, but data.dvc records {out['md5']}" in output
    assert actual.actual in versioned.file("logs/pack/train.log").read_text()
    (new,) = (t for t in tags() if t["data.version"] == actual.actual and "seconds" in t)
    assert (new["data.recorded"], new["data.matches"]) == (out["md5"], "false")
    assert load_metadata(weights)["provenance"]["data_version"] == actual.actual


@pytest.mark.slow
def test_without_git_the_version_is_unknown(versioned: Versioned) -> None:
    versioned.prepare(models={"given": {"weights": "data/given.pth", "scales": []}})
    shutil.rmtree(versioned.path / ".git")
    assert data_version(versioned.path) == ("unknown", "unknown")
    versioned.run()
    assert versioned.file("sr_800/given/house.png").exists()


@pytest.mark.slow
def test_repro_killed_in_training_resumes(versioned: Versioned) -> None:
    versioned.configure()
    long = {**TINY["train"], "epochs": 400}
    model = {"small-edsr": TINY["models"]["small-edsr"]}
    versioned.prepare(models=model, evaluate={"scales": []})
    versioned.configure(models=model, evaluate={"scales": []}, train=long)
    words = ["dvc", "repro"]
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        words,
        cwd=versioned.path,
        env=environment,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(versioned.path.glob("results/state/*/*/state.safetensors")):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    output = versioned.repro()  # stops the jobs of the killed workflow, and takes over
    assert "resuming after step" in output
    assert "its workflow was killed" in output
    assert versioned.file("sr_800/small-edsr/house.png").exists()
    assert "up to date" in versioned.repro()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_data_and_results_travel(
    versioned: Versioned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder: Folder,
    kind: str,
) -> None:
    versioned.prepare(models={"given": {"weights": "data/given.pth", "scales": [2]}})
    versioned.repro()
    results, other = versioned.results(), tmp_path / "clone"
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)

    def travel(url: str, *settings: tuple[str, str]) -> None:
        sh(versioned.path, "dvc", "remote", "add", "--default", "shared", url)
        for key, value in settings:
            sh(versioned.path, "dvc", "remote", "modify", "shared", key, value)
        versioned.commit("results")
        sh(versioned.path, "dvc", "push")
        sh(tmp_path, "git", "clone", "--quiet", str(versioned.path), str(other))
        sh(other, "dvc", "pull")

    if kind == "folder":
        travel(str(tmp_path / "remote"))
    else:
        with s3("liif") as url:
            travel("s3://liif/store", ("endpointurl", url), ("region", "us-east-1"))
    for table in ("results/metrics.csv", "results/metrics.json"):  # made from what travels
        (other / table).write_bytes(results[table])
    assert Versioned(other).results() == results
    data = {p.relative_to(versioned.path): p.read_bytes() for p in data_files(versioned.path)}
    assert {p.relative_to(other): p.read_bytes() for p in data_files(other)} == data


def data_files(path: Path) -> list[Path]:
    return [p for p in (path / "data").rglob("*") if p.is_file()]


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The demo's folder before its first run, beside code that is not the project's."""
    demo = tmp_path / "demo"
    shutil.copytree(ROOT / "liif" / "assets" / "photos" / "test", demo / "data" / "test")
    for name in ("Snakefile", "profiles", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "liif").mkdir()
    (tmp_path / "liif" / "x.py").touch()
    for _ in range(2):  # the second time everything exists
        sh(tmp_path, str(ROOT / "profiles" / "demo" / "prepare"), str(demo))
    return demo


@pytest.mark.slow
def test_the_demos_folder_is_a_project_of_its_own(demo: Path) -> None:
    assert git(demo, "log", "--format=%s").splitlines() == ["The bundled photographs"]
    assert git(demo, "status", "--porcelain") == ""
    assert data_version(demo).matches
    assert "core.analytics=false" in sh(demo, "dvc", "config", "--list")
    demo_stage = yaml.safe_load((ROOT / "profiles" / "demo" / "dvc.yaml").read_text())
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    assert demo_stage["stages"]["sr_800"]["outs"] == stage["stages"]["sr_800"]["outs"]
    settings = (demo / "config.yaml").read_text()
    assert settings == (ROOT / "config" / "demo.yaml").read_text()
    (demo / "config.yaml").write_text(settings.replace("epochs: 10", "epochs: 11"))
    changed = sh(demo, "dvc", "params", "diff").splitlines()
    assert changed[1].split() == ["config.yaml", "train.epochs", "10", "11"]


@pytest.mark.slow
def test_the_demos_results_are_recorded(demo: Path) -> None:
    """`make demo` ends with it: DVC knows the results, and shows them."""
    record = [str(ROOT / "profiles" / "demo" / "record"), str(demo)]
    for folder in ("sr_800", "models", "trained"):
        (demo / "results" / folder).mkdir(parents=True)
    for model in ("edsr", "rdn"):
        history = demo / "results" / "models" / f"small-{model}.history.csv"
        history.write_text("epoch,loss,valid_psnr\n1,0.1,20\n2,0.05,25\n")

    def measure(psnr: float) -> None:
        result: Result = {"model": "small-rdn", "set": "test", "scale": 8.0, "pictures": {}}
        result |= {"psnr": psnr, "ssim": 0.5, "precision": None, "back_projection": None}
        results = [result, {**result, "model": "bicubic"}]
        write_tables(results, demo / "results" / "metrics", demo / "results" / "metrics.csv")

    measure(25)
    sh(demo, *record)
    assert sh(demo, "dvc", "status") == "Data and pipelines are up to date.\n"
    assert git(demo, "status", "--porcelain") == ""
    caches = demo.parent / "liif" / "__pycache__"
    caches.mkdir()
    (caches / "x.pyc").touch()
    assert sh(demo, "dvc", "status") == "Data and pipelines are up to date.\n"
    rows = sh(demo, "dvc", "metrics", "show").splitlines()
    assert rows[0].split() == ["Path", "model", "test.x8.psnr", "test.x8.ssim"]
    assert rows[2].split() == ["results/metrics/small-rdn.json", "small-rdn", "25", "0.5"]
    sh(demo, "dvc", "plots", "show", "-o", "results/plots")
    assert "These plots need a network" in (demo / "results" / "plots" / "index.html").read_text()

    measure(26)  # another run: recorded, and compared with the first
    assert "results/metrics" in sh(demo, "dvc", "status")
    sh(demo, *record)
    assert sh(demo, "dvc", "status") == "Data and pipelines are up to date.\n"
    assert git(demo, "status", "--porcelain").split() == ["M", "dvc.lock"]
    changed = sh(demo, "dvc", "metrics", "diff").splitlines()
    assert changed[1].split()[1:] == ["test.x8.psnr", "25", "26", "1"]


@pytest.mark.slow
def test_dvc_understands_the_projects_stage(tmp_path: Path) -> None:
    """In a copy, since DVC writes files where it runs; the demo's stage is not the project's."""
    for name in ("dvc.yaml", "data.dvc", ".dvcignore", "Snakefile"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("config", "workflow", "profiles", ".dvc"):
        skip = shutil.ignore_patterns("tmp", "cache")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skip)
    (tmp_path / "liif").mkdir()
    (tmp_path / "liif" / "x.py").touch()
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "x")
    listed = sh(tmp_path, "dvc", "stage", "list", "--all", "--name-only")
    assert listed.splitlines() == ["data.dvc", "sr_800"]
    dry = subprocess.run(
        [str(BIN / "dvc"), "repro"], cwd=tmp_path, text=True, capture_output=True, check=False
    )
    assert dry.returncode != 0
    assert "missing data 'source'" in dry.stderr  # the download comes first
