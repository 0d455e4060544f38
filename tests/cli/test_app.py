import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from samples import SMALL, Folder, photograph
from typer.testing import CliRunner

from liif import __version__, cli
from liif.checkpoints.format import save_checkpoint
from liif.config import Case
from liif.data.degrade import degraded
from liif.images.read import read_picture
from liif.network import precision
from liif.network.build import build


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> str:
    """What a command prints."""
    monkeypatch.setattr(sys, "argv", ["liif", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    captured = capsys.readouterr()
    assert end.value.code == 0, captured.err
    return captured.out


def mistake(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object
) -> str:
    """What a command that fails says at its end: one line."""
    monkeypatch.setattr(sys, "argv", ["liif", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    printed = capsys.readouterr().err.splitlines()
    assert [line.startswith("liif: ") for line in printed] == [False] * (len(printed) - 1) + [True]
    assert not any("Traceback" in line for line in printed)
    return printed[-1]


Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


def test_an_unexpected_error_is_one_line(capsys: Capture, monkeypatch: Patch) -> None:
    """`liif --debug` shows where it was raised."""

    def fail(_: object) -> None:
        raise ZeroDivisionError("of 1\nby 0")

    monkeypatch.setattr("liif.checkpoints.describe.describe", fail)
    line = mistake(capsys, monkeypatch, "info", "bundled")
    assert "unexpected ZeroDivisionError: of 1 by 0 (`liif --debug …` shows the traceback)" in line
    monkeypatch.setattr(sys, "argv", ["liif", "--debug", "info", "bundled"])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    lines = capsys.readouterr().err.splitlines()
    assert "Traceback (most recent call last):" in lines
    assert "in fail" in "".join(lines)
    assert lines[-1].startswith("liif: unexpected ZeroDivisionError")


def test_version_and_help_import_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['liif', '--version']\n"
        "from liif.cli import main\n"
        "try: main()\n"
        "finally: print({'torch', 'numpy', 'scipy', 'snakemake', 'liif.config'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [f"liif {__version__}", "set()"]


def test_chain_of_commands(
    folder: Folder, tmp_path: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    """Degrade, evaluate, upscale, gather and tabulate as the rules call them."""
    hr, lr, up = folder("hr", a=(40, 40), b=(48, 32)), tmp_path / "lr", tmp_path / "up"
    manifest, result = tmp_path / "m" / "bicubic" / "0.json", tmp_path / "r.json"
    words = ["degrade", hr, "-o", lr, "--scale", 4, "--truth", tmp_path / "truth"]
    run(capsys, monkeypatch, *words, "--manifest", tmp_path / "lr.json")
    words = ["evaluate", "--hr", hr, "--lr", lr, "--scale", 4, "--weights", "bicubic"]
    words += ["--channel", "y", "--border", 4, "--json", result, "--name", "plain"]
    shown = run(capsys, monkeypatch, *words)
    measured = json.loads(result.read_text())
    assert f"{measured['psnr']:.3f}" in shown
    assert measured["model"] == "plain"
    words = ["upscale", lr, "-o", up / "bicubic", "--scale", 4, "--weights", "bicubic"]
    run(capsys, monkeypatch, *words, "--only", tmp_path / "lr.json", "--manifest", manifest)
    words = ["evaluate", "--hr", tmp_path / "truth", "--sr", up / "bicubic", "--scale", 4]
    run(capsys, monkeypatch, *words, "--channel", "y", "--border", 4, "--json", tmp_path / "s.json")
    again = json.loads((tmp_path / "s.json").read_text())
    assert again["psnr"] == pytest.approx(measured["psnr"])
    run(capsys, monkeypatch, "gather", up, manifest, "-o", tmp_path / "sr")
    assert sorted(p.name for p in (tmp_path / "sr" / "bicubic").iterdir()) == ["a.png", "b.png"]
    words = ["table", result, "--metrics", tmp_path / "metrics", "--csv", tmp_path / "t.csv"]
    assert "no truth" in run(capsys, monkeypatch, *words, "--note", "no truth")
    assert (tmp_path / "metrics" / "plain.json").exists()


def test_degradations_of_a_whole_folder(
    folder: Folder, tmp_path: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    hr = folder("hr", a=(40, 40))
    strengths = ["--blur", 0.5, "--noise", 10, "--jpeg", 75]
    run(capsys, monkeypatch, "degrade", hr, "-o", tmp_path / "lr", "--scale", 4, *strengths)
    expected = degraded(photograph(40, 40), 4, Case(blur=0.5, noise=10, jpeg=75), "a")
    np.testing.assert_array_equal(read_picture(tmp_path / "lr" / "a.png").rgb, expected)


def test_the_precision_of_a_chain(
    folder: Folder, tmp_path: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    """In every result is what was used: never `auto`."""
    weights = tmp_path / "w.safetensors"
    save_checkpoint(weights, build(SMALL["edsr"]), SMALL["edsr"])
    hr, lr, up = folder("hr", a=(32, 32)), tmp_path / "lr", tmp_path / "up"
    manifest, result = tmp_path / "0.json", tmp_path / "r.json"
    run(capsys, monkeypatch, "degrade", hr, "-o", lr, "--scale", 2)

    def used(*words: object) -> object:
        run(capsys, monkeypatch, *words)
        return json.loads((manifest if words[0] == "upscale" else result).read_text())["precision"]

    model = ["--weights", weights, "--scale", 2, "--device", "cpu"]
    enlarge = ["upscale", lr, "-o", up, *model, "--overwrite", "--manifest", manifest]
    measure = ["evaluate", "--hr", hr, "--border", 2, "--json", result]
    measure_before = [*measure, "--sr", up, "--scale", 2, "--only", manifest]
    measure += ["--lr", lr, *model]
    for fast in (True, False):
        monkeypatch.setattr(precision, "has_fast_bf16", lambda _, fast=fast: fast)
        expected = "bf16" if fast else "float32"
        assert used(*measure) == "float32"
        assert used(*measure, "--precision", "auto") == used(*enlarge) == expected
        assert used(*measure_before) == expected
    assert used(*measure, "--precision", "bf16") == "bf16"
    assert used(*enlarge, "--precision", "bf16") == "bf16"
    assert used(*measure_before) == "bf16"


def test_the_back_projection_of_a_chain(
    folder: Folder, tmp_path: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    """In every result is whether it was used."""
    weights, hr, lr = tmp_path / "w.safetensors", folder("hr", a=(32, 32)), tmp_path / "lr"
    save_checkpoint(weights, build(SMALL["edsr"]), SMALL["edsr"], {})
    manifest, result = tmp_path / "0.json", tmp_path / "r.json"
    run(capsys, monkeypatch, "degrade", hr, "-o", lr, "--scale", 2)
    model = ["--weights", weights, "--scale", 2, "--device", "cpu"]
    enlarge = ["upscale", lr, "-o", tmp_path / "up", *model, "--overwrite", "--manifest", manifest]
    measure = ["evaluate", "--hr", hr, "--border", 2, "--json", result]
    measure_before = [*measure, "--sr", tmp_path / "up", "--scale", 2, "--only", manifest]
    measure += ["--lr", lr, *model]
    for option, used in (
        ([], True),
        (["--no-back-projection"], False),
    ):
        run(capsys, monkeypatch, *enlarge, *option)
        assert json.loads(manifest.read_text())["back_projection"] is used
        for words in ([*measure, *option], measure_before):
            run(capsys, monkeypatch, *words)
            assert json.loads(result.read_text())["back_projection"] is used


def test_import_of_released_weights(tmp_path: Path, capsys: Capture, monkeypatch: Patch) -> None:
    out = tmp_path / "w.safetensors"
    run(capsys, monkeypatch, "import", "bundled", out)
    from liif.checkpoints.catalog import BUNDLED
    from liif.checkpoints.load import read_checkpoint

    assert read_checkpoint(out)[2] == read_checkpoint()[2]
    assert out.read_bytes() == BUNDLED.read_bytes()


def test_mistakes_are_one_line(
    folder: Folder, tmp_path: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    hr = folder("hr", a=(20, 20))
    out, file, empty = tmp_path / "out", tmp_path / "file", tmp_path / "empty"
    file.touch()
    empty.mkdir()
    cases = {
        "no such folder": ["degrade", tmp_path / "none", "-o", out, "--scale", 2],
        "too small to be downscaled": ["degrade", hr, "-o", out, "--scale", 30],
        "`jpeg` (=0): input should be greater than or equal to 1": [
            *["degrade", hr, "-o", out, "--scale", 2, "--jpeg", 0]
        ],
        "bucket `9/3`": ["degrade", hr, "-o", out, "--scale", 2, "--bucket", "9/3"],
        "pass either --weights with --lr, or --sr": ["evaluate", "--hr", hr, "--scale", 2],
        "precision `fp16` is not one of auto, float32, bf16": [
            *["evaluate", "--hr", hr, "--lr", hr, "--scale", 2, "--weights", "bicubic"],
            *["--precision", "fp16"],
        ],
        "no such weights file": ["upscale", hr, "--weights", tmp_path / "none.pth"],
        "no such folder or archive of pictures": ["collect", tmp_path / "none", out],
        "apt-get download lomiri-wallpapers-16.04 mate-backgrounds plasma-workspace-wallpapers": [
            *["collect", empty, out]
        ],
        "`DIV8K` is not one of": ["download", "DIV8K", "--to", out],
        "pass its --sha256": ["import", "https://example.org/a.pth", out],
        "device `tpu` is not available": ["upscale", hr, "--device", "tpu"],
        "cannot be written: Not a directory": [
            "train",
            *["--data", hr, "--valid", hr, "-o", file / "x"],
        ],
        "cannot be written: File exists": ["download", "photographs", "--to", file],
        "unknown key `epochs`": [
            *["train", "--data", hr, "--valid", hr, "-o", out, "--settings", "{epochs: 3}"]
        ],
        "is smaller than the largest HR patch": ["train", "--data", hr, "--valid", hr, "-o", out],
    }
    for message, words in cases.items():
        assert message in mistake(capsys, monkeypatch, *words), words


def test_no_picture_is_written_for_a_mistake(
    folder: Folder, tmp_path: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    folder("lr", a=(6, 6))
    (tmp_path / "lr" / "b.png").write_text("text")
    line = mistake(
        capsys, monkeypatch, "upscale", tmp_path / "lr" / "b.png", "--weights", "bicubic"
    )
    assert "b.png: is not a picture" in line
    assert sorted(p.name for p in (tmp_path / "lr").iterdir()) == ["a.png", "b.png"]


def test_the_number_of_threads_is_respected(
    folder: Folder, tmp_path: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    before = torch.get_num_threads()
    try:
        words = ["upscale", folder("lr", a=(3, 3)), "-o", tmp_path / "o", "--scale", 2]
        run(capsys, monkeypatch, *words, "--threads", 1, "--device", "cpu")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def commands() -> list[list[str]]:
    """Every subcommand as it is called."""
    group = typer.main.get_command(cli.app)
    names = [[name] for name in group.commands]  # type: ignore[attr-defined]
    weights = group.commands["weights"].commands  # type: ignore[attr-defined]
    return [*names, *(["weights", name] for name in weights)]


@pytest.mark.parametrize("words", [[], *commands()], ids=" ".join)
def test_every_option_has_a_help_text(words: list[str]) -> None:
    shown = CliRunner().invoke(cli.app, [*words, "--help"], terminal_width=100)
    assert shown.exit_code == 0
    assert f"liif {' '.join(words)}".strip() in shown.output.replace("root", "liif")
    command = typer.main.get_command(cli.app)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    assert command.help
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        text = getattr(parameter, "help", None)
        assert text, parameter.name
        assert "default" not in text.lower(), "defaults are shown in brackets"
    if command.params and words != ["weights"]:
        lines = map(str.strip, command.help.splitlines())
        assert any(line.startswith(f"liif {' '.join(words)}") for line in lines), "no example"


def test_no_arguments_show_the_help() -> None:
    bare = CliRunner().invoke(cli.app, [])
    assert bare.output.rstrip() == CliRunner().invoke(cli.app, ["--help"]).output.rstrip()
    panels = ["Your pictures", "Weights", "An experiment", "Single steps"]
    places = [bare.output.index(f"─ {panel}") for panel in panels]
    assert places == sorted(places)
    for example in ("liif upscale photo.jpg", "liif train --data", "liif weights list"):
        assert example in bare.output[: places[0]]
    assert "Did you mean 'upscale'" in CliRunner().invoke(cli.app, ["upscal"]).output


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("liif up", ["upscale"]),
        ("liif upscale --self", ["--self-ensemble"]),
        ("liif upscale --weights mm", ["mmagic-edsr-baseline", "mmagic-rdn"]),
        ("liif weights fetch r", ["rdn"]),
    ],
)
def test_completion_in_a_shell(typed: str, offered: list[str]) -> None:
    at = str(len(typed.split()) - 1)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("liif"))],
        env={
            **os.environ,
            "_LIIF_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": at,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == offered


def test_options_that_exclude_each_other(capsys: Capture, monkeypatch: Patch) -> None:
    words = ["upscale", "a.png", "--scale", 2, "--width", 100]
    assert "pass only one of --scale, --size" in mistake(capsys, monkeypatch, *words)
    words = ["upscale", "a.png", "--size", "big"]
    assert "must look like 1920x1080" in mistake(capsys, monkeypatch, *words)
    words = ["upscale", "a.png", "--format", "gif"]
    assert "not one of png, jpg" in mistake(capsys, monkeypatch, *words)


def test_invalid_arguments_of_upscale(
    folder: Folder, tmp_path: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    a = folder("lr", a=(4, 4)) / "a.png"
    cases: dict[str, list[object]] = {
        "a path is empty": ["", "-o", tmp_path / "x"],
        "is a variable not set?": [a, "-o", ""],
        "--max-memory (=inf) must be a number": [a, "--max-memory", "inf"],
        "device `meta` is not available": [a, "--device", "meta"],
        "precision `half` is not one of auto, float32, bf16": [a, "--precision", "half"],
        "its suffix says JPEG": [a, "-o", tmp_path / "x.jpg", "--format", "webp"],
    }
    for message, words in cases.items():
        assert message in mistake(capsys, monkeypatch, "upscale", *words), words
    assert [p.name for p in a.parent.iterdir()] == ["a.png"]
