"""The workflow, run by Snakemake on tiny pictures."""

import csv
import json
import re
import shutil
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from projects import QUICK, ROOT, SNAKEMAKE, TINY, Project, planned
from samples import SMALL, Folder, as_the_authors_save, photograph

from liif import imresize
from liif.checkpoints.format import load_metadata
from liif.config import Case
from liif.data.degrade import degraded
from liif.data.manifests import write_manifest
from liif.images import metrics
from liif.images.png import write_png
from liif.images.read import read_picture
from liif.network.build import build
from liif.system.files import file_sha256
from liif.system.locks import lock


def dry_run(*words: str) -> str:
    """The output of a dry run in the repository."""
    command = [SNAKEMAKE, *words, "--dry-run", "results/sr_800"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout + done.stderr


def test_the_documented_experiment_is_planned(tmp_path: Path) -> None:
    output = dry_run("--directory", str(tmp_path), "--cores", "all")
    assert planned(output) == {
        "download_archive": 2,
        "pack": 2,
        "degrade": 9 + 1,
        "train": 2,
        "upscale": 2 + 1,
        "evaluate_valid": 3 * 9,
        "evaluate_test": 3,
        "table": 1,
        "report": 1,
        "sr_800": 1,
    }
    for name, encoder in (("edsr-baseline", '"name":"edsr"'), ("rdn", '"name":"rdn"')):
        (command,) = (line for line in output.splitlines() if f"liif train --name {name}" in line)
        for setting in (encoder, '"epochs":1000', '"learning_rate":0.0001', '"queries":2304'):
            assert setting in command
    # Models are evaluated with what they upscale with.
    lines = [line for line in output.splitlines() if " --weights " in line]
    networks = [line for line in lines if "--weights bicubic" not in line]
    assert len(lines) == 3 + 3 * 9
    assert [line for line in lines if "--precision auto" in line] == networks != []
    assert "--no-back-projection" not in output


def test_degradations_add_their_sets_and_nothing_else(tmp_path: Path) -> None:
    clean = dry_run("--directory", str(tmp_path), "--cores", "all")
    cases = "{degradations: {jpeg75: {jpeg: 75}, dark: {blur: 0.5, noise: 5}}}"
    output = dry_run(
        "--directory", str(tmp_path), "--cores", "all", "--config", f"evaluate={cases}"
    )
    jobs = planned(output)
    assert jobs.pop("evaluate_degraded") == 2 * 3 * (9 + 1)
    assert jobs == {**planned(clean), "degrade": 3 * (9 + 1)}
    degrades = [line for line in output.splitlines() if "liif degrade" in line]
    assert sum(" --blur 0.5 --noise 5.0 --bucket" in line for line in degrades) == 10
    assert sum("--crop 800 --jpeg 75 --bucket" in line for line in degrades) == 1
    unchanged = {line for line in clean.splitlines() if "Shell command: liif" in line}
    changed = unchanged - set(output.splitlines())
    assert {line.split()[3] for line in changed} == {"table", "report"}


@pytest.mark.slow
def test_our_own_weights_are_made_by_the_workflow(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "photographs").symlink_to(ROOT / "liif" / "assets" / "photos" / "train")
    (tmp_path / "liif").symlink_to(ROOT / "liif")
    command = [SNAKEMAKE, "results/models/fast.safetensors", "--cores", "2", "--dry-run"]
    command += ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    command += ["--configfile", str(ROOT / "config" / "weights" / "fast.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    output = done.stdout + done.stderr
    assert planned(output) == {"pack": 2, "train": 1}
    assert '"hidden":[80,80,80,80]' in output


@pytest.mark.slow
def test_weights_are_given_by_name(tmp_path: Path) -> None:
    def inputs() -> list[str]:
        command = [SNAKEMAKE, "results/models/a.safetensors", "--cores", "1", "--dry-run"]
        command += ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
        command += ["--config", "models={a: {weights: edsr-baseline, scales: []}}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        output = done.stdout + done.stderr
        assert "liif import edsr-baseline results/models/a.safetensors" in output
        return re.findall(r"^    input: (.+)$", output, re.MULTILINE)

    assert inputs() == []
    (tmp_path / "edsr-baseline").touch()  # a file is preferred to a name
    assert inputs() == ["edsr-baseline"]


@pytest.mark.slow
def test_several_gpus_and_changes_on_the_command_line(tmp_path: Path) -> None:
    command = [SNAKEMAKE, "results/sr_800", "--cores", "8", "--resources", "gpu=2"]
    command += ["--dry-run", "--directory", str(tmp_path)]
    command += ["--config", "models={rdn: {weights: bundled}}", "train={epochs: 7}"]
    command += ["precision=bf16", "back_projection=false"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    output = done.stdout + done.stderr
    assert planned(output)["train"] == planned(output)["import_weights"] == 1
    (line,) = (x for x in output.splitlines() if "liif train --name edsr-baseline" in x)
    assert '"epochs":7' in line
    assert '"visits":20' in line
    assert "--threads 8 --processes 2" in line  # a training gets all cores and GPUs
    assert '"precision":"float32"' in line  # `precision` is not that of trainings
    assert output.count("--precision bf16 --no-back-projection") == 2 + 2 * 9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--resources", "gpu=32"], "--threads 4 --processes 16"),  # at most one per patch
        (["--resources", "gpu=4", "--set-resources", "train:gpu=2"], "--threads 4 --processes 2"),
        (["--set-resources", "train:gpu=0"], "--threads 8 --processes 0"),
        ([], "--threads 8 --processes 1"),
        (["--resources", "slots=2"], "--threads 4 --processes 1"),  # two at once on a CPU
        (["--resources", "slots=4", "gpu=2"], "--threads 8 --processes 2"),
    ],
)
def test_resources_of_a_training(tmp_path: Path, words: list[str], expected: str) -> None:
    output = dry_run("--directory", str(tmp_path), "--cores", "8", "--printshellcmds", *words)
    lines = [line for line in output.splitlines() if "liif train --name" in line]
    assert len(lines) == 2
    assert all(expected in line for line in lines)


@pytest.mark.slow
def test_the_cluster_profile_plans_the_documented_experiment(tmp_path: Path) -> None:
    """The resources of each Slurm job; test_slurm runs the profile on a real Slurm."""
    folder = ["--directory", str(tmp_path)]
    output = dry_run("--workflow-profile", "profiles/slurm", *folder)
    (train,) = re.findall(r"rule train:(?:\n    .*)*wildcards: model=rdn(?:\n    .*)*", output)
    assert "threads: 8\n" in train
    for words in ("gpu=1", "mem_mb=32000", "runtime=2880"):
        assert words in train
    (bicubic, *_) = re.findall(r"wildcards: model=bicubic, bucket=0\n(?:    .*\n)*", output)
    assert "gpu=0" in bicubic
    jobs = planned(output)
    assert (jobs["upscale"], jobs["evaluate_valid"]) == (3 * 4, 3 * 9 * 4)  # in 4 buckets
    settings = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    assert settings["slurm-requeue"] is True


@pytest.mark.slow
def test_the_demo_is_planned_with_its_own_models(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "liif" / "assets" / "photos", tmp_path / "data")
    folder = ["--directory", str(tmp_path), "--configfile", "config/demo.yaml"]
    output = dry_run("--workflow-profile", "profiles/demo", *folder)
    jobs = planned(output)
    assert (jobs["train"], jobs["import_weights"], jobs["upscale"]) == (2, 3, 6)
    assert jobs["evaluate_valid"] == 3 * 3 + 2
    assert "edsr-baseline.safetensors" in output
    assert "liif train --name edsr-baseline" not in output


def test_the_whole_workflow(project: Project) -> None:
    output = project.run()
    # What a job did reaches both the terminal and its log; Snakemake's own lines only its log.
    assert "small-edsr: 6 steps in" in output
    lines = output.splitlines()
    assert len([line for line in lines if not line.endswith(" left")]) < 60
    assert max(map(len, lines[:-1])) <= 120
    assert not [line for line in lines if "Select jobs" in line or "rule pack:" in line]
    logs = (project.path / ".snakemake" / "log").glob("*.log")  # the report's graph adds one
    assert "rule pack:" in min(logs).read_text()
    table, psnr = [line.split() for line in lines[-6:-1]], r"\d+\.\d{3}"
    assert table[0] == ["test", "×8,", "2", "pictures", "PSNR", "(dB)", "SSIM"]
    assert {row[0] for row in table[1:]} == {"bicubic", "given", "small-edsr", "small-rdn"}
    assert all(re.fullmatch(psnr, row[1]) for row in table[1:])
    assert lines[-1] == f"report: {project.file('report.html')}"
    assert "small-edsr: 6 steps in" in project.file("logs/train/small-edsr.log").read_text()

    models = ["given", "small-edsr", "small-rdn"]
    gathered = project.file("sr_800")
    found = sorted(str(p.relative_to(gathered)) for p in gathered.rglob("*.png"))
    assert found == [f"{m}/{n}.png" for m in models for n in ("house", "street")]
    for model in models:
        assert read_picture(project.file(f"sr_800/{model}/house.png")).rgb.shape == (48, 48, 3)
    rows = list(csv.DictReader(project.file("metrics.csv").read_text().splitlines()))
    measured = {(r["model"], r["set"], r["scale"]): float(r["psnr"]) for r in rows}
    sets = [("test", "8"), ("valid", "2"), ("valid", "2.5")]
    expected = {(m, *s) for m in ("small-edsr", "small-rdn", "bicubic") for s in sets}
    # Bicubic is also evaluated at the given model's own scale.
    at_8 = {("given", "test", "8"), ("given", "valid", "8"), ("bicubic", "valid", "8")}
    assert set(measured) == expected | at_8
    assert json.loads(project.file("metrics/given.json").read_text())["model"] == "given"
    assert all(5 < psnr < 60 for psnr in measured.values())
    used = {
        (result["precision"], result["back_projection"])
        for model in models
        for result in json.loads(project.file(f"metrics/{model}.json").read_text())["results"]
    }
    # Of upscaled pictures from the manifest.
    assert used in ({("float32", True)}, {("bf16", True)})
    check_report(project)

    assert "Nothing to be done" in project.run()
    moved = Project(project.path.rename(project.path.with_name("moved")))
    assert moved.jobs() == {}


def check_report(project: Project) -> None:
    """The report, and Snakemake's own report that contains it."""
    text = project.file("report.html").read_text(encoding="utf-8")
    for expected in (
        "small-edsr",
        "upscaled/small-rdn/house.png",
        "hr/test/x8/street.png",
        "evaluate_valid</text>",  # in the graph of the rules
        "blocks: 1",  # in the configuration
        "results/sr_800 --configfile experiment.yaml",
        file_sha256(project.file("models/given.safetensors")),
        "6 steps in",
    ):
        assert expected in text, expected
    project.run("results/sr_800", "--report", "snakemake.zip")
    with zipfile.ZipFile(project.path / "snakemake.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
    assert {"report-embedded.html", "metrics.csv"} <= names


@pytest.mark.slow
def test_only_dependent_jobs_are_rerun(project: Project) -> None:
    trained = {name: TINY["models"][name] for name in ("small-edsr", "small-rdn")}
    project.configure(models=trained)
    project.run()
    test_picture = project.path / "data" / "test" / "house.png"
    before = {p: p.stat().st_mtime_ns for p in project.file("upscaled").rglob("*.png")}

    test_picture.touch()  # equal contents
    assert project.jobs() == {}

    write_png(test_picture, photograph(50, 50, seed=7))
    jobs = project.jobs()
    assert "train" not in jobs
    assert "evaluate_valid" not in jobs
    project.run()
    changed = {p.name for p, t in before.items() if p.stat().st_mtime_ns != t}
    assert changed == {"house.png"}

    project.configure(models={**trained, "small-edsr": {**trained["small-edsr"], "hidden": [8]}})
    jobs = project.jobs()
    assert jobs["train"] == 1
    assert jobs["evaluate_valid"] == 2
    project.configure(models=trained)
    assert project.jobs() == {}

    project.configure(models=trained, precision="bf16", back_projection=False)
    jobs = project.jobs()
    assert (jobs["upscale"], jobs["evaluate_valid"]) == (2, 2 * 2)  # bicubic has neither
    assert "train" not in jobs
    project.run()
    for model in trained:
        results = json.loads(project.file(f"metrics/{model}.json").read_text())["results"]
        assert {(r["precision"], r["back_projection"]) for r in results} == {("bf16", False)}
    project.configure(models=trained)
    project.run()

    # Deleted results are restored from the finished training.
    weights = project.file("models/small-rdn.safetensors")
    content = weights.read_bytes()
    weights.unlink()
    output = project.run("results/models/small-rdn.safetensors")
    assert "already trained with these settings and data; no step is needed" in output
    assert weights.read_bytes() == content


def test_trainings_that_start_from_weights_and_learn_from_others(project: Project) -> None:
    """From a file, whose content decides; from another model's; from a URL."""
    given, small = project.path / "data" / "given.pth", TINY["models"]["small-edsr"]
    url = {"url": "http://127.0.0.1:9/x?token=1", "sha256": file_sha256(given)}
    taught = {**small, "teacher": {"weights": "results/models/tuned.safetensors", "weight": 2}}
    models = {"tuned": {"start": "data/given.pth"}, "small": taught, "far": {"start": url}}
    project.configure(models=models, train=QUICK)
    target = ["results/models/small.safetensors"]
    assert project.jobs(*target) == {"pack": 2, "train": 2}
    far = project.run("results/models/far.safetensors", "--dry-run", "--printshellcmds")
    assert planned(far) == {"pack": 2, "train": 1, "download_weights": 1}
    assert f'"weights":"results/work/weights/{url["sha256"]}"' in far

    project.run(*target)
    weights = project.file("models/tuned.safetensors")
    first = weights.read_bytes()
    found = load_metadata(weights)["provenance"]["recipe"]
    assert found["encoder"]["blocks"] == SMALL["edsr"].encoder.model_dump()["blocks"]
    assert found["start"] == {"sha256": file_sha256(given)}
    small_recipe = load_metadata(project.file("models/small.safetensors"))["provenance"]["recipe"]
    assert small_recipe["teacher"] == {"sha256": file_sha256(weights), "weight": 2}

    given.touch()  # equal contents
    assert project.jobs(*target) == {}
    torch.manual_seed(1)
    as_the_authors_save(build(SMALL["edsr"]), given)
    assert project.jobs(*target)["train"] == 2
    project.run(*target)
    assert weights.read_bytes() != first

    given.unlink()
    output = project.run("results/models/tuned.safetensors", fails=True)
    assert "data/given.pth" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_lr_pictures_without_hr(project: Project, folder: Folder) -> None:
    folder("project/data/lr", mine=(7, 9))
    given = {"given": {"weights": "data/given.pth", "scales": [2]}}
    data = {**TINY["data"], "test": {"lr": "data/lr"}}
    evaluate = {**TINY["evaluate"], "degradations": {"jpeg30": {"jpeg": 30}}}
    project.configure(models=given, data=data, scale=4, evaluate=evaluate)
    output = project.run()
    assert "no truth, so nothing is measured" in output
    assert read_picture(project.file("sr_800/given/mine.png")).rgb.shape == (28, 36, 3)
    rows = list(csv.DictReader(project.file("metrics.csv").read_text().splitlines()))
    assert {r["set"] for r in rows} == {"valid", "valid-jpeg30"}
    text = project.file("report.html").read_text(encoding="utf-8")
    assert '"lr":"report/lr/mine.png","bicubic":"upscaled/bicubic/mine.png"' in text
    assert project.file("report/lr/mine.png").is_file()


@pytest.mark.slow
def test_test_set_from_validation_photographs_in_buckets(project: Project) -> None:
    given = {"given": {"weights": "data/given.pth", "scales": []}}
    data = {**TINY["data"], "test": {"from": "valid"}, "crop": 40}
    results = []
    for buckets in (1, 3):
        project.configure(models=given, data=data, evaluate={"scales": [2]}, buckets=buckets)
        project.run()
        results.append(project.file("metrics.csv").read_text())
    assert results[0] == results[1]
    expected = photograph(48, 60)[4:44, 10:50]
    np.testing.assert_array_equal(read_picture(project.file("hr/test/x8/c.png")).rgb, expected)
    assert read_picture(project.file("lr/test/x8/c.png")).rgb.shape == (5, 5, 3)


@pytest.mark.slow
def test_degraded_sets(project: Project) -> None:
    """They are measured like clean ones, and repeat no other job."""
    given = {"given": {"weights": "data/given.pth"}}
    project.configure(models=given, evaluate={"scales": [2], "border": "scale"}, buckets=2)
    project.run()
    clean = project.file("metrics.csv").read_text().splitlines()
    case = {"blur": 0.5, "noise": 5, "jpeg": 60}
    evaluate: dict[str, Any] = {
        **{"scales": [2], "border": "scale"},
        "degradations": {"own-case": case},
    }
    project.configure(models=given, evaluate=evaluate, buckets=2)
    jobs = project.jobs()
    assert jobs.keys() == {"degrade", "evaluate_degraded", "table", "report", "sr_800"}
    assert (jobs["degrade"], jobs["evaluate_degraded"]) == (2 * 2, 2 * 2 * 2)
    project.run()
    assert project.jobs() == {}

    lines = project.file("metrics.csv").read_text().splitlines()
    assert set(clean) <= set(lines)
    rows = [line.split(",") for line in lines[1:]]
    psnr = {(row[0], row[2]): float(row[4]) for row in rows}
    sets = ["valid", "valid-own-case", "test", "test-own-case"]
    assert set(psnr) == {(name, model) for name in sets for model in ("given", "bicubic")}
    measured = []
    for path in sorted(project.file("hr/test/x8").glob("*.png")):
        hr = read_picture(path).rgb
        lr = degraded(hr, 8, Case.model_validate(case), path.stem)
        inner = np.s_[8:-8, 8:-8]
        measured.append(metrics.psnr(imresize(lr, hr.shape[:2])[inner], hr[inner]))
    assert psnr["test-own-case", "bicubic"] == pytest.approx(np.mean(measured), abs=6e-4)
    text = project.file("report.html").read_text(encoding="utf-8")
    assert '<th scope="row" rowspan="2">own-case</th>' in text
    assert "degrade test-own-case" in text  # among the steps

    evaluate["degradations"]["own-case"] = {**case, "jpeg": 61}
    project.configure(models=given, evaluate=evaluate, buckets=2)
    jobs = project.jobs()
    assert (jobs["degrade"], jobs["evaluate_degraded"]) == (2 * 2, 2 * 2 * 2)


LOOKS: list[list[str]] = [
    ["--dry-run"],
    ["-n"],
    ["--summary"],
    ["-S"],
    ["--unlock"],
    ["--report", "x.zip"],
    ["--report=x.zip"],
    ["--lint"],
    ["--list-rules"],
]


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and modification time of all files but Snakemake's own."""
    paths = [p for p in folder.rglob("*") if ".snakemake" not in p.parts]
    paths += folder.glob(".snakemake/*liif*")
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in paths if p.is_file()}


@pytest.mark.parametrize(
    "words",
    [LOOKS[0], *(pytest.param(words, marks=pytest.mark.slow) for words in LOOKS[1:])],
    ids=" ".join,
)
def test_dry_runs_and_reports_change_nothing_and_take_no_lock(
    project: Project, words: list[str]
) -> None:
    """Even where pictures were deleted, and while the workflow runs."""
    manifest = project.file("manifests/degrade/test/x8/0.json")
    write_manifest(manifest, {"gone": "0" * 64}, project.path / "nowhere")
    before = everything(project.path)
    with lock(project.path / ".snakemake" / "liif.lock", "a workflow in this folder"):
        process = project.start("results/sr_800", *words)
        output, _ = process.communicate()
    assert "running already" not in output
    assert ("were deleted" in output) == (words[0] in ("--dry-run", "-n"))
    after = everything(project.path)
    assert {n for n in after.keys() | before.keys() if after.get(n) != before.get(n)} <= {
        str(project.path / "x.zip")
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modles": {}}, "configuration: unknown key `modles`; did you mean `models`?"),
        ({"train": {"epochs": "many"}}, "configuration: `train.epochs` (='many')"),
        ({"data": {**TINY["data"], "train": "data/none"}}, "data/none"),
        ({"models": {"a": {"weights": "fats"}}}, "fats: no such weights file; the names of"),
        ({"models": {"a": {"start": "fats"}}}, "fats: no such weights file; the names of"),
    ],
)
def test_mistakes_in_the_configuration(
    project: Project, change: dict[str, Any], message: str
) -> None:
    project.configure(**change)
    output = project.run(fails=True)
    (line,) = (line for line in output.splitlines() if line.startswith("liif: "))
    assert message in line
    assert ".smk" not in output
    assert not project.file("sr_800").exists()


@pytest.mark.slow
def test_a_failing_job_reports_why_and_leaves_nothing(project: Project) -> None:
    (project.path / "data" / "train" / "bad.png").write_text("no picture")
    output = project.run(fails=True)
    assert "liif: data/train/bad.png: is not a picture" in output
    assert "completed successfully" not in output
    assert "latency" not in output
    assert not project.file("work/train.pack").exists()
    assert not list(project.file("work").glob(".*part*"))
    (project.path / "data" / "train" / "bad.png").unlink()
    project.run("results/work/train.pack")


@pytest.mark.slow
def test_changed_scales_lost_pictures_and_many_buckets(
    project: Project,
) -> None:
    given = {"given": {"weights": "data/given.pth", "scales": []}}
    quick: dict[str, Any] = {"models": given, "evaluate": {"scales": []}, "buckets": 3}
    tables = []
    for scale in (8, 3.3, 8):
        project.configure(**quick, scale=scale)
        project.run()
        tables.append(project.file("metrics.csv").read_text())
    assert tables[0] == tables[2] != tables[1]
    for lost in ("upscaled", "lr", "sr_800"):
        shutil.rmtree(project.file(lost))
    project.run()
    assert len(list(project.file("sr_800/given").iterdir())) == 2


@pytest.mark.slow
def test_upscaling_alone(project: Project, folder: Folder) -> None:
    folder("project/data/lr", mine=(7, 9))
    given = {"given": {"weights": "data/given.pth", "scales": []}}
    data = {**TINY["data"], "test": {"lr": "data/lr"}}
    project.configure(models=given, data=data, evaluate={"scales": []})
    project.run()
    assert project.file("sr_800/given/mine.png").exists()


@pytest.mark.slow
def test_a_second_workflow_in_the_folder_is_refused(project: Project) -> None:
    given = {"given": {"weights": "data/given.pth", "scales": []}}
    project.configure(models=given, evaluate={"scales": []})
    first = project.start("results/sr_800")
    while not (project.path / ".snakemake" / "liif.lock").exists():
        assert first.poll() is None
        time.sleep(0.05)
    time.sleep(0.2)
    output = project.run(fails=True)
    assert f"is running already (process {first.pid})" in output
    first.communicate()
    assert first.returncode == 0
