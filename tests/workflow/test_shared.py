"""Machines that share records and data over the network, without a shared folder."""

import os
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from projects import SNAKEMAKE, TINY, Project, Versioned, git, sh
from samples import photograph
from servers import KEYS, free_port, mlflow_server, s3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:::mlflow", "ignore::DeprecationWarning"),
]
MODELS: dict[str, Any] = {
    "small-edsr": TINY["models"]["small-edsr"],
    "given": {"weights": "data/given.pth", "scales": []},
}


@pytest.fixture
def machines(project: Project, tmp_path: Path) -> list[Path]:
    """The same project in two folders without a common path."""
    project.configure(models=MODELS, evaluate={"scales": []}, tracking=True)
    places = [tmp_path / "first" / "home" / "liif", tmp_path / "second" / "scratch" / "project"]
    for place in places:
        shutil.copytree(project.path, place)
    return places


def test_records_of_two_machines_at_one_server(
    machines: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's server stores artifacts on S3, and alone has its keys."""
    import mlflow

    centre = tmp_path / "centre"
    centre.mkdir()
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with s3("artifacts") as endpoint:
        keys = {**KEYS, "MLFLOW_S3_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
        with mlflow_server(centre, port, "s3://artifacts/liif", keys):
            for name in KEYS:
                monkeypatch.delenv(name)
            for machine in machines:
                workflow(machine, MLFLOW_TRACKING_URI=uri)
                assert not (machine / "mlflow.db").exists()
                assert not (machine / "mlruns").exists()
            client = mlflow.MlflowClient(uri)
            experiment: Any = client.get_experiment_by_name("sr_800")
            found = client.search_runs([experiment.experiment_id])
            names = sorted(run.info.run_name for run in found)
            assert names == ["bicubic", "bicubic", "given", "given", "small-edsr", "small-edsr"]
            assert {run.info.status for run in found} == {"FINISHED"}
            assert all(run.info.artifact_uri.startswith("mlflow-artifacts:") for run in found)
            trained = [run for run in found if run.info.run_name == "small-edsr"]
            psnr = {run.data.metrics["test/x8/psnr"] for run in trained}
            assert len(psnr) == 1  # two runs of one training
            expected = (machines[0] / "results/models/small-edsr.safetensors").read_bytes()
            for run in trained:
                last = client.download_artifacts(run.info.run_id, "weights/last.safetensors")
                assert Path(last).read_bytes() == expected
            # A third machine, which knows only the address.
            mlflow.set_tracking_uri(uri)
            try:
                mlflow.set_registry_uri(uri)
                model = mlflow.pyfunc.load_model("models:/liif-small-edsr/latest")
            finally:
                mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
                mlflow.set_registry_uri(None)  # type: ignore[arg-type]
            assert np.asarray(model.predict(photograph(5, 6))).shape == (40, 48, 3)
            kept = objects(endpoint)
    # No local path is in shared records.
    with sqlite3.connect(centre / "server.db") as database:
        text = "\n".join(database.iterdump())
    assert "small-edsr" in text
    assert len(kept) > 20
    for machine in machines:
        assert str(machine) not in text
        assert not [name for name, content in kept.items() if str(machine).encode() in content]


def objects(endpoint: str) -> dict[str, bytes]:
    """The contents of the bucket."""
    import boto3

    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="artifacts")
    names = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {n: client.get_object(Bucket="artifacts", Key=n)["Body"].read() for n in names}


def workflow(folder: Path, **environment: str) -> None:
    snakefile = str(Path(__file__).parents[2] / "Snakefile")
    command = [SNAKEMAKE, "--snakefile", snakefile, "--cores", "2", "results/sr_800"]
    done = subprocess.run(
        [*command, "--configfile", "tiny.yaml"],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "MLflow (" not in done.stdout  # which would report undelivered records


def test_a_finished_training_travels_by_s3(
    versioned: Versioned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Finished trainings are found by their hash: the other machine does not train."""
    versioned.prepare(models={"small-edsr": TINY["models"]["small-edsr"]})
    versioned.repro()
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    other = tmp_path / "elsewhere" / "clone"
    with s3("liif") as url:
        sh(versioned.path, "dvc", "remote", "add", "--default", "shared", "s3://liif/store")
        for key, value in (("endpointurl", url), ("region", "us-east-1")):
            sh(versioned.path, "dvc", "remote", "modify", "shared", key, value)
        versioned.commit("results")
        sh(versioned.path, "dvc", "push")
        sh(tmp_path, "git", "clone", "--quiet", str(versioned.path), str(other))
        sh(other, "dvc", "pull", "data", "results/trained")
    assert git(other, "status", "--porcelain") == ""
    assert not (other / "results" / "models").exists()
    output = Versioned(other).repro()
    assert "already trained with these settings and data; no step is needed" in output
    name = "results/models/small-edsr.safetensors"
    assert (other / name).read_bytes() == (versioned.path / name).read_bytes()
