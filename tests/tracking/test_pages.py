"""What MLflow shows; its pages in a real browser."""

from pathlib import Path
from typing import Any

import pytest
from browsers import launched
from playwright.sync_api import expect
from samples import ROW
from servers import free_port, mlflow_server

from liif.tracking import pages
from liif.tracking.run import Known
from liif.tracking.tracker import Tracker


def known(*events: dict[str, Any]) -> Known:
    found = Known()
    for event in events:
        found.add({"timestamp": 1, **event})
    return found


TRAINED = {
    "encoder.name": "edsr",
    "parameters": "111395",
    "train.epochs": "10",
    "train.batch": "16",
    "train.patch": "24",
    "train.scales": "[1.0, 8.0]",
    "train.loss": "l1",
    "train.learning_rate": "0.002",
}


def test_a_training_is_described() -> None:
    data = {"context": "training", "counts": {"photographs": 7}}
    run = known(
        {"kind": "params", "values": TRAINED},
        {"kind": "tags", "values": {"model.kind": "trained", "ended": "finished after 880 steps"}},
        {"kind": "dataset", "data": data},
        {"kind": "measured", "values": {"test/x8/psnr": 25.8448, "test/x8/gain": 0.2931}},
        {"kind": "measured", "values": {"test/x8/ssim": 0.72912, "valid/x2/psnr": 31.0}},
    )
    assert pages.description(run) == (
        "**EDSR-LIIF**, 111,395 parameters, trained on 7 photographs. "
        "Recipe: 10 epochs, batches of 16 patches of 24×24, scales [1.0, 8.0], loss l1, "
        "learning rate 0.002. Finished after 880 steps.\n\n"
        "| pictures | PSNR (dB) | SSIM | gain over bicubic (dB) |\n|---|---|---|---|\n"
        "| `test/x8` | 25.84 | 0.7291 | +0.29 |\n"
        "| `valid/x2` | 31.00 | – | – |"
    )


def test_given_weights_and_bicubic_are_described() -> None:
    settings = {"encoder.name": "rdn", "parameters": "22", "weights": "bundled"}
    given = known(
        {"kind": "params", "values": settings}, {"kind": "tags", "values": {"model.kind": "given"}}
    )
    assert pages.description(given) == "**RDN-LIIF**, 22 parameters, pretrained: bundled."
    bicubic = known({"kind": "params", "values": {"encoder.name": "bicubic", "parameters": "0"}})
    assert pages.description(bicubic) == "Bicubic interpolation, the baseline."


def test_a_record_of_which_little_is_known_is_described() -> None:
    assert pages.description(known({"kind": "tags", "values": {"model.kind": "trained"}})) == (
        "**LIIF**, trained."
    )


def test_links_open_the_pages_of_trainings() -> None:
    for link in (pages.runs_page(), pages.run_page("https://h", "3", "r")):
        assert link.endswith("workflowType=machine_learning")
    assert "/#/experiments/3/runs/r?" in pages.run_page("https://h", "3", "r")
    # The record of a run that 0.1.0 delivered names no experiment.
    assert pages.run_page("https://h", "", "r").startswith("https://h/#/runs/r")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:::mlflow", "ignore::DeprecationWarning")
def test_mlflow_opens_on_the_training_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the links, it opens its pages for generative AI."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with mlflow_server(tmp_path, port), launched() as browser:
        tracker = Tracker(tmp_path)
        run: Any = tracker.run("small", "key")
        run.log_epochs([ROW])
        run.log_metrics({"test/x8/psnr": 30.0, "test/x8/gain": 1.5})
        run.set_tags({"model.kind": "trained", "encoder.name": "edsr"})
        tracker.deliver()
        page = browser.new_page()
        page.goto(pages.runs_page(address))
        expect(page.get_by_role("heading", name="Runs")).to_be_visible(timeout=120_000)
        # Charts, the answer first: gain over bicubic.
        chart = page.get_by_role("heading", name="test/x8/gain").first
        expect(chart).to_be_visible(timeout=120_000)
        delivered = run.delivered()
        page.goto(pages.run_page(address, delivered.run_experiment, delivered.run))
        expect(page.get_by_text("EDSR-LIIF", exact=True)).to_be_visible(timeout=120_000)
        expect(page.get_by_text("Evaluation runs")).to_have_count(0)  # of generative AI
