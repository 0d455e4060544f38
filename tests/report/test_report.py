"""The report: collection, tables, analysis and provenance. test_page tests the page."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import pytest
from made_results import gains, make_results
from PIL import Image
from samples import SMALL, Folder, photograph

import liif
from liif import config
from liif.checkpoints.catalog import BUNDLED, published_network
from liif.checkpoints.format import save_checkpoint
from liif.config_file import checked, read_yaml
from liif.data.div2k import ARCHIVES
from liif.images import metrics
from liif.images.imresize import cubic, imresize
from liif.images.png import write_png
from liif.images.read import read_picture
from liif.network import build as networks
from liif.network.build import Architecture, EDSREncoder, RDNEncoder
from liif.recipe import Recipe
from liif.report import (
    build,
    downscaling,
    embed,
    figures,
    provenance,
    published,
    render,
    results,
    rule_graph,
    spectra,
    tables,
    translations,
)
from liif.report.build import report
from liif.report.compare import compare
from liif.system.errors import UserError
from liif.system.files import file_sha256


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return make_results(tmp_path / "results", ["a", "b", "c"], 48)


def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def viewer_data(text: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    data: dict[str, Any] = json.loads(found)
    return data


# --- the folder ------------------------------------------------------------------------------


def test_a_folder_is_enough(made: Path) -> None:
    found = results.collect(made)
    assert found.models == ["better", "good"]
    assert found.names == ["a", "b", "c"]
    assert found.scale == 8
    assert found.gains("good") == pytest.approx(gains(made, "good"))
    rows = {row.model: row for row in tables.on_test(found)}
    assert list(rows) == ["better", "good", "bicubic"]  # best first
    verdict = tables.verdict(list(rows.values()))
    assert verdict is not None
    assert (verdict.best, verdict.others, verdict.bicubic) == (
        *[rows["better"], [rows["good"]]],
        rows["bicubic"],
    )
    assert rows["good"].gain == pytest.approx(np.mean(list(gains(made, "good").values())))
    assert (rows["good"].better, rows["good"].compared) == (3, 3)
    report(made, made.parent)
    text = html(made)
    assert "This report was built without the configuration" in text
    assert 'src="lr/test/x8/b.png"' in text
    assert "encoder: {blocks: 2, channels: 8, name: edsr}" in text  # of the weights


def test_pictures_that_are_no_longer_test_pictures_are_left_out(made: Path) -> None:
    write_png(made / "upscaled" / "good" / "old.png", photograph(48, 48))
    assert results.collect(made).names == ["a", "b", "c"]


def test_only_the_models_of_the_experiment_in_its_order(made: Path) -> None:
    settings = config.experiment({"models": {"good": {"weights": "bundled"}}, "scale": 8})
    found = results.collect(made, settings)
    assert found.models == ["good"]
    assert {r["model"] for r in found.evaluations} == {"good", "bicubic"}


def test_lr_pictures_without_truth(made: Path, folder: Folder) -> None:
    lr = folder("mine", one=(6, 6), two=(7, 5))
    for version in ("good", "bicubic"):
        for name in ("one", "two"):
            write_png(made / "upscaled" / version / f"{name}.png", photograph(48, 48))
    models = {"good": {"weights": "bundled"}}
    settings = config.experiment({"models": models, "data": {"test": {"lr": str(lr)}}})
    report(made, made.parent, settings)
    text = html(made)
    assert '<p class="note"><span lang="en">The test pictures have no original' in text
    assert "a photograph that comes with liif: “brushes”, 800×800, by Trevor “Freespace”" in text
    credits = (Path(liif.__file__).parent / "assets/photos/CREDITS.md").read_text("utf-8")
    assert '| test/brushes | Picture 1A | Trevor "Freespace" | CC BY 4.0 |' in credits
    data = viewer_data(text)
    assert data["truth"] is None
    pictures = data["pictures"]
    assert [p["name"] for p in pictures] == ["one", "two"]
    assert pictures[0]["files"] == {
        "lr": "report/lr/one.png",  # a copy, since a page cannot link to files outside its folder
        "bicubic": "upscaled/bicubic/one.png",
        "good": "upscaled/good/one.png",
    }
    copy = read_picture(made / "report" / "lr" / "one.png").rgb
    assert np.array_equal(copy, read_picture(lr / "one.png").rgb)


def test_steps_add_up_their_jobs(made: Path) -> None:
    found = {s.name: s for s in results.steps(results.collect(made))}
    assert list(found) == ["train better", "upscale better", "table"]
    upscale = found["upscale better"]
    assert (upscale.jobs, upscale.seconds, upscale.memory) == (2, 30.0, 200.0)
    assert found["table"].memory == 0  # too short to be measured


def test_bicubic_has_one_value(made: Path) -> None:
    """The analysis measures by the convention of the evaluation."""
    found = results.collect(made)
    rows = {row.model: row for row in tables.on_test(found)}
    blur = spectra.blur(spectra.choose(found), found)
    for model in ("bicubic", "good", "better"):
        assert blur.details[model].psnr == pytest.approx(rows[model].psnr, abs=1e-6)


def test_lengths_of_time_in_both_languages() -> None:
    assert translations.durations(200) == ("3 min 20 s", "3分20秒")
    assert translations.durations(86400 + 4 * 3600) == ("1 d 4 h", "1天4小时")
    assert translations.durations(0) == ("0 s", "0秒")


def test_bars_start_at_zero_in_a_fitting_unit() -> None:
    for seconds, unit in ((90, "seconds"), (600, "minutes"), (9000, "hours")):
        steps = [results.Step("train", 1, seconds, 1, 1), results.Step("pack", 1, 1, 1, 1)]
        assert f">{unit}<" in figures.bars(steps)


def test_a_row_for_each_picture() -> None:
    values = {"bicubic": {"a": 20.0, "b$1": 21.0}, "good": {"a": 22.0}}
    drawn = figures.dumbbells(values, "psnr_axis")
    assert all(f">{text}<" in drawn for text in ("a", "b$1", "good"))


def test_lines_are_labelled_at_their_ends() -> None:
    lines = {"first": ([1, 2], [0.3, 0.1]), "second": ([1, 2], [0.4, 0.1])}
    drawn = figures.curves(lines, "curve_rate")
    places = [float(y) for y in re.findall(r' y="([\d.]+)"[^>]*>(?:first|second)<', drawn)]
    assert abs(places[0] - places[1]) > 10


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: folder.rename(folder.with_name("moved")), "results: no such folder"),
        (
            lambda folder: [f.unlink() for f in folder.rglob("*.*")],
            "contains no upscaled pictures and no metrics; run the workflow",
        ),
        (
            lambda folder: (folder / "metrics" / "good.json").write_text('{"results": [{}]}'),
            "good.json: contains no metrics; delete it and rerun the command",
        ),
        (
            lambda folder: (folder / "models" / "good.safetensors").write_text("nothing"),
            "good.safetensors: not a readable safetensors file",
        ),
        (
            lambda folder: (folder / "hr" / "test" / "x8" / "a.png").write_text("no picture"),
            "a.png: is not a picture",
        ),
    ],
)
def test_missing_and_damaged_files_are_named(made: Path, break_it: object, message: str) -> None:
    break_it(made)  # type: ignore[operator]
    with pytest.raises(UserError, match=re.escape(message)):
        report(made, made.parent)
    assert not (made / "report.html").exists()


def test_a_page_of_very_many_pictures_shows_some_of_them(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "MOST", 2)
    report(made, made.parent)
    assert "2 of 3 pictures are shown here" in html(made)
    assert len(viewer_data(html(made))["pictures"]) == 2


def test_a_page_with_its_pictures_inside_stays_small(made: Path) -> None:
    """Fewer pictures where all would be too many, from the largest gain to the smallest."""
    report(made, made.parent)
    found = results.collect(made)
    shown, by_gain = build._shown(found), found.gains("better")
    whole = embed.embedded(shown, made, by_gain)
    assert [p["name"] for p in whole] == ["a", "b", "c"]
    assert all(url.startswith("data:image/webp;") for p in whole for url in p["files"].values())
    sizes = [sum(map(len, p["files"].values())) for p in whole]
    two = embed.embedded(shown, made, by_gain, most=sum(sizes) - 1)
    ordered = sorted(by_gain, key=by_gain.__getitem__)
    assert [p["name"] for p in two] == sorted([ordered[0], ordered[-1]])
    assert len(embed.embedded(shown, made, by_gain, most=1)) == 1


def test_a_hundred_thumbnails_of_anything_stay_small() -> None:
    # Noise, which does not compress, in the size of the experiment.
    picture = np.random.default_rng(0).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    assert 100 * len(render.thumbnail(picture)) < 2_000_000


# --- the numbers -----------------------------------------------------------------------------


def test_published_networks_are_recognised_by_size() -> None:
    edsr = Architecture(encoder=EDSREncoder())
    assert published_network(edsr) == "EDSR-baseline-LIIF"
    assert published_network(edsr.model_copy(update={"mean": (0.4, 0.4, 0.4)})) is not None
    assert published_network(Architecture(encoder=RDNEncoder())) == "RDN-LIIF"
    assert published_network(edsr.model_copy(update={"skip": "bicubic"})) is None
    assert published_network(Architecture(encoder=EDSREncoder(blocks=15))) is None


def test_measured_beside_published(made: Path) -> None:
    (made / "models" / "good.safetensors").write_bytes(BUNDLED.read_bytes())
    found = results.collect(made)
    (table,) = tables.tables(found, None, {"valid": "of other pictures"})
    assert not table.same_pictures
    assert table.same_convention
    assert table.scales == [2, 3, 4, 6, 12, 18, 24, 30]
    rows = {row.model: row for row in table.rows}
    assert list(rows) == ["bicubic", "better", "good"]
    assert rows["good"].network == "EDSR-baseline-LIIF"
    at = dict(zip(table.scales, rows["good"].cells, strict=True))
    assert at[2].published == 34.67
    assert at[2].difference == pytest.approx(32.4 - 34.67)
    assert at[30].published == 20.48
    assert at[30].difference is None
    assert all(cell.published is None for cell in rows["better"].cells)
    assert rows["bicubic"].cells[2].published == 26.66
    div2k = ARCHIVES["DIV2K_valid_HR"].sha256
    (table,) = tables.tables(found, None, {"valid": div2k})
    assert table.same_pictures
    report(made, made.parent, sources={"valid": ("data/DIV2K_valid_HR.zip", div2k)})
    note = '<p class="note"><span lang="en">These are not DIV2K'
    assert note not in html(made)
    report(made, made.parent)
    assert note in html(made)
    assert '<span class="down">−2.27</span>' in html(made)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({}, "EDSR-baseline-LIIF"),
        ({"start": "bundled"}, None),
        ({"train": {"degrade": {"noise": {"range": [1, 5]}}}}, None),
    ],
)
def test_a_fine_tuned_model_is_not_the_published_one(
    made: Path, recipe: dict[str, Any], expected: str | None
) -> None:
    weights = made / "models" / "good.safetensors"
    trained = checked(Recipe, {"encoder": {"name": "edsr"}, **recipe})
    provenance = {"recipe": trained.model_dump(mode="json")}
    save_checkpoint(weights, networks.build(Architecture()), Architecture(), provenance)
    assert tables.network(results.collect(made), "good", None) == expected
    weights.unlink()
    settings = config.experiment({"models": {"good": {"encoder": {"name": "edsr"}, **recipe}}})
    assert tables.network(results.collect(made, settings), "good", settings) == expected


def test_degraded_sets_have_a_table_of_their_own(made: Path) -> None:
    assert tables.degraded(results.collect(made)) == []
    for model, loss in (("bicubic", 1.0), ("good", 2.0)):
        path = made / "metrics" / f"{model}.json"
        content = json.loads(path.read_text())
        content["results"] += [
            {**r, "set": f"{r['set']}-jpeg30", "psnr": (r["psnr"] or 0) - loss}
            for r in content["results"]
        ]
        path.write_text(json.dumps(content))
    found = results.collect(made)
    assert [t.name for t in tables.tables(found, None, {})] == ["valid"]
    on_test, on_valid = sorted(tables.degraded(found), key=lambda t: t.name)
    assert (on_test.name, on_test.scales) == ("test", [8])
    assert (on_valid.name, on_valid.scales) == ("valid", [2, 4])
    assert list(on_valid.psnr) == ["", "jpeg30"]
    assert list(on_valid.psnr["jpeg30"]) == ["bicubic", "good"]
    clean, worse = (on_valid.psnr[case]["good"] for case in ("", "jpeg30"))
    assert worse == pytest.approx([32.4 - 2, 34.4 - 2])
    assert clean == pytest.approx([32.4, 34.4])
    report(made, made.parent)
    assert '<th scope="row" rowspan="2">jpeg30</th>' in html(made)


def test_another_border_is_reported(made: Path) -> None:
    path = made / "metrics" / "good.json"
    found = json.loads(path.read_text())
    for result in found["results"]:
        result["border"] = 0
    path.write_text(json.dumps(found))
    (table,) = tables.tables(results.collect(made), None, {})
    assert not table.same_convention
    report(made, made.parent)
    assert '<p class="note"><span lang="en">The published values were measured with' in html(made)


def test_benchmarks_are_compared_on_luma() -> None:
    assert published.scores("Set5", "y")["RDN-LIIF"][8] == 27.14
    assert published.scores("Set5", "rgb") == {}
    assert published.scores("valid", "y") == {}


# --- the analysis ----------------------------------------------------------------------------


def test_opencv_style_is_opencvs() -> None:
    # cv2.resize(picture, (4, 3), interpolation=cv2.INTER_CUBIC) of OpenCV 5.0.0.
    picture = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    expected = [
        [[107, 174, 82], [98, 59, 66], [105, 216, 186], [94, 177, 182]],
        [[200, 104, 188], [48, 80, 195], [130, 201, 90], [169, 78, 104]],
        [[169, 145, 203], [106, 6, 161], [76, 38, 132], [114, 167, 90]],
    ]
    assert downscaling.opencv_style(picture, (3, 4)).tolist() == expected


def test_reductions_differ_as_they_should() -> None:
    hr = photograph(160, 160)
    found = downscaling.reductions(hr, 8)
    assert found["with_antialiasing"].largest == 0
    assert np.array_equal(found["with_antialiasing"].picture, imresize(hr, 1 / 8))
    assert 0 < found["pillow"].largest < found["without_antialiasing"].largest
    assert found["pillow"].psnr > 40 > found["opencv"].psnr


def test_kernels_pass_through_the_taps() -> None:
    for scale in (2.0, 2.5, 8.0):
        found = downscaling.kernels(scale)
        for key, (x, y, _, weights) in found.items():
            assert weights.sum() == pytest.approx(1, abs=1e-9), key
            assert np.trapezoid(y, x) == pytest.approx(1, abs=0.01)
        taps, weights = found["with_antialiasing"][2:]
        assert len(taps) == pytest.approx(4 * scale, abs=1)
        assert np.allclose(weights, cubic(taps / scale) / scale, atol=2e-3)
        assert len(found["without_antialiasing"][2]) <= 5


def test_power_is_where_the_wave_is() -> None:
    rows = np.arange(128)[:, None] * np.ones((1, 128))
    wave = (127.5 + 100 * np.sin(2 * np.pi * rows / 8))[..., None].repeat(3, axis=2)
    spectrum = spectra.power(np.round(wave).astype(np.uint8))
    assert spectrum.argmax() in (16 * 128, 112 * 128)
    # Parseval: the mean of the power is the variance.
    assert spectrum.sum() / spectrum.size == pytest.approx((100 / 255) ** 2 / 2, rel=0.05)


def test_plain_upscaling_adds_little_beyond_the_limit(made: Path) -> None:
    found = results.collect(made)
    example = spectra.choose(found)
    assert not example.credit
    shown = spectra.blur(example, found)
    assert shown.lr.shape == (6, 6, 3)
    assert list(shown.parts) == ["original", "nearest", "bilinear", "bicubic"]
    assert shown.details["bicubic"].beyond < 0.2 < shown.details["good"].below
    assert shown.pictures == 3
    exact, given = (
        read_picture(made / p / f"{example.name}.png").rgb
        for p in ("hr/test/x8", "upscaled/bicubic")
    )
    assert np.array_equal(shown.parts["bicubic"], given)
    assert np.array_equal(shown.parts["original"], exact)


# --- how it was made -------------------------------------------------------------------------


def test_the_shown_configuration_defines_the_same_experiment() -> None:
    import yaml

    for values in (
        {},
        {"data": {"crop": None, "test": {"from": "valid"}}, "train": {"epochs": 7}},
        {
            "models": {
                "small": {"encoder": {"name": "rdn", "blocks": 2}, "train": {"patch": 24}},
                "given": {"weights": {"url": "https://example.org/w?key=p", "sha256": "0" * 64}},
            },
            "train": {"learning_rate": 2e-3, "visits": 3, "queries": 500},
        },
    ):
        settings = config.experiment(values)
        text = provenance.configuration(settings)
        assert "key=p" not in text
        again = config.experiment(yaml.safe_load(text) or {})
        assert [again.recipe(n) for n in again.trained] == [
            settings.recipe(n) for n in settings.trained
        ]
        assert again.data == settings.data


def test_commands_repeat_the_experiment() -> None:
    documented = config.experiment(read_yaml("config/config.yaml"))
    assert provenance.is_documented(documented)
    lower = documented.model_copy(update={"precision": "bf16"})
    assert not provenance.is_documented(lower)
    assert provenance.commands(documented, "unknown")[-1].endswith("--cores all results/sr_800")
    other = config.experiment({"train": {"epochs": 3}})
    lines = provenance.commands(other, "abc.dir")
    assert lines[-1].endswith("results/sr_800 --configfile experiment.yaml")
    assert any("abc.dir" in line for line in lines)


def test_the_precision_of_each_model(made: Path) -> None:
    """Files of before name none, and mean float32."""
    sidecar, better = made / "models" / "better.run.json", made / "metrics" / "better.json"

    def shown() -> list[tuple[str | None, str | None]]:
        models = provenance.models(results.collect(made), made)
        return [(m["precision"], m["training"] and m["training"]["precision"]) for m in models]

    for path in (made / "metrics").iterdir():
        content = json.loads(path.read_text())
        for result in content["results"]:
            del result["precision"]
        path.write_text(json.dumps(content))
    assert shown() == [("float32", "float32"), ("float32", None)]
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "precision": "bf16"}))
    content = json.loads(better.read_text())
    for result in content["results"]:
        result["precision"] = "bf16"
    better.write_text(json.dumps(content))
    assert shown() == [("bf16", "bf16"), ("float32", None)]
    report(made, made)
    text = html(made)
    assert "30 steps in 1 min 1 s on cpu, in bf16" in text
    assert "<td>bf16</td>" in text


def test_back_projection_is_named(made: Path) -> None:
    words = [
        'bf16, <span lang="en">with back-projection</span>',
        "The pictures of better were corrected by back-projection",
    ]
    report(made, made)
    assert [text in html(made) for text in words] == [False, False]
    path = made / "metrics" / "better.json"
    content = json.loads(path.read_text())
    for result in content["results"]:
        result |= {"precision": "bf16", "back_projection": True}
    path.write_text(json.dumps(content))
    report(made, made)
    assert [text in html(made) for text in words] == [True, True]
    models = provenance.models(results.collect(made), made)
    assert [m["back_projection"] for m in models] == [True, False]
    documented = config.experiment(read_yaml("config/config.yaml"))
    without = documented.model_copy(update={"back_projection": False})
    assert not provenance.is_documented(without)


def test_weights_are_named_by_their_hash(made: Path) -> None:
    report(made, made.parent)
    for model in ("good", "better"):
        digest = file_sha256(made / "models" / f"{model}.safetensors")
        assert digest in html(made)
    assert "30 steps in 1 min 1 s on cpu" in html(made)


DOT = """digraph snakemake_dag {
    graph[bgcolor=white, margin=0];
\t0[label = "sr_800", color = "0.1 0.6 0.85", style="rounded"];
\t1[label = "train", color = "0.2 0.6 0.85", style="rounded"];
\t2[label = "upscale", color = "0.3 0.6 0.85", style="rounded"];
\t1 -> 0
\t2 -> 0
\t1 -> 2
}
"""


def test_the_graph_omits_implied_edges() -> None:
    edges = rule_graph.parse(DOT)
    assert edges == [("train", "sr_800"), ("upscale", "sr_800"), ("train", "upscale")]
    svg = rule_graph.svg(edges)
    assert svg.count("<rect") == 3
    assert svg.count("marker-end") == 2


def test_the_graph_is_the_workflows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    snakefile = Path(build.__file__).parent.parent.parent / "Snakefile"
    edges = rule_graph.rules(snakefile, config.experiment({}))
    assert {("pack", "train"), ("table", "report"), ("report", "sr_800")} <= set(edges)


def test_a_graph_that_snakemake_cannot_plan_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert rule_graph.rules(tmp_path / "no such file", config.experiment({})) == []
    assert "the graph of the rules is left out" in capsys.readouterr().err


# --- words -----------------------------------------------------------------------------------


def test_every_text_is_used_and_exists_in_both_languages() -> None:
    sources = [p for p in translations.PAGE.iterdir() if p.suffix in (".html", ".js")]
    sources += list(translations.PAGE.parent.glob("*.py"))
    code = "\n".join(p.read_text(encoding="utf-8") for p in sources)
    built = {"valid_set", "test_set", "left_short", "right_short"}
    built |= {"convention_rgb", "convention_y"}
    for key, (english, chinese) in translations.dictionary().items():
        assert re.search(rf"\b{key}\b", code) or key in built, f"{key} is not used"
        fields = [{f for _, f, *_ in Formatter().parse(t) if f} for t in (english, chinese)]
        assert fields[0] == fields[1], key
        assert re.search("[\u4e00-\u9fff]", chinese) or english == chinese or "PSNR" in chinese
        assert not re.search("[\u4e00-\u9fff]", english), key


def test_texts_are_escaped() -> None:
    assert "<b>" not in translations.html("recipe_of", model="<b>")
    assert translations.html("run_note").count("<code>mlflow ui</code>") == 2


# --- compare ---------------------------------------------------------------------------------


def test_compare_pictures_of_any_kind(tmp_path: Path) -> None:
    small, big = photograph(10, 8), photograph(40, 32)
    Image.fromarray(big).save(tmp_path / "a.png")
    Image.fromarray(small).save(tmp_path / "b.tif")
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    Image.fromarray(np.rot90(big).copy()).save(tmp_path / "c.jpg", exif=turned)
    inputs = [tmp_path / n for n in ("a.png", "b.tif", "c.jpg")]
    text = compare(inputs, tmp_path / "page.html", inputs[0]).read_text(encoding="utf-8")
    data = viewer_data(text)
    (shown,) = data["pictures"]
    assert (shown["rows"], shown["cols"]) == (40, 32)
    assert [a[:15] for a in shown["files"].values()] == [
        "data:image/png;",
        "data:image/png;",  # browsers do not show TIFF
        "data:image/jpeg",
    ]
    expected = metrics.quality(big, read_picture(inputs[2]).rgb, channel="rgb", border=0)
    assert shown["quality"] == {
        "c.jpg": [pytest.approx(expected.psnr), pytest.approx(expected.ssim)]
    }
    assert data["truth"] == "a.png"


def test_compare_folders_by_common_names(folder: Folder, tmp_path: Path) -> None:
    a, b = folder("x/out", p=(8, 8), q=(8, 8)), folder("y/out", q=(8, 8), r=(8, 8))
    data = viewer_data(compare([a, b], tmp_path / "page.html").read_text(encoding="utf-8"))
    assert [v["label"] for v in data["versions"]] == ["x/out", "y/out"]
    assert [p["name"] for p in data["pictures"]] == ["q"]


def test_compare_reports_mistakes(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = folder("a", p=(8, 8)), folder("b", q=(8, 8))
    (tmp_path / "bad.png").write_text("no picture")
    out = tmp_path / "page.html"
    for inputs, message in (
        ([a], "at least two"),
        ([a, b / "q.png"], "either pictures or folders"),
        ([a, b], "no picture name in common"),
        ([a / "p.png", a / "p.png"], "is passed twice"),
        ([a / "p.png", tmp_path / "bad.png"], "bad.png: is not a picture"),
        ([a / "p.png", tmp_path / "none.png"], "none.png: no such"),
    ):
        with pytest.raises(UserError, match=message):
            compare(inputs, out)
    monkeypatch.setattr("liif.report.compare.MOST_BYTES", 100)
    with pytest.raises(UserError, match="more than the 0 MB that a page can hold"):
        compare([a / "p.png", b / "q.png"], out)
    assert not out.exists()


def test_command_line(made: Path, folder: Folder, tmp_path: Path) -> None:
    def run(*args: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "liif", *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    assert run("report", made).returncode == 0
    assert "good" in html(made)
    done = run("report", tmp_path / "nothing")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no such folder of results" in done.stderr
    pictures = folder("pictures", a=(8, 8), b=(8, 8))
    done = run("compare", pictures / "a.png", pictures / "b.png", "--truth", pictures / "a.png")
    assert done.stdout == "compare.html\n"
    assert (tmp_path / "compare.html").exists()


def test_small_networks_have_no_published_values() -> None:
    assert [published_network(a) for a in SMALL.values()] == [None, None]


def test_upscale_works_without_the_report_extra_and_report_names_it(
    made: Path, folder: Folder, tmp_path: Path
) -> None:
    missing = ("jinja2", "markupsafe", "matplotlib", "networkx")
    code = f"import sys; sys.modules |= dict.fromkeys({missing}); from liif.cli import main; main()"

    def run(*args: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    picture = folder("pictures", a=(8, 8)) / "a.png"
    done = run("upscale", picture, "--out", tmp_path / "big.png", "--scale", 2)
    assert done.returncode == 0, done.stderr
    assert read_picture(tmp_path / "big.png").rgb.shape == (16, 16, 3)
    for args in (("report", made), ("compare", picture, tmp_path / "big.png")):
        done = run(*args)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert done.stderr.startswith("liif: jinja2")
        assert done.stderr.endswith("not installed: pip install 'liif[report]'\n")


def test_packages_of_the_report_alone_are_in_its_extra() -> None:
    project = tomllib.loads((Path(liif.__file__).parents[1] / "pyproject.toml").read_text())
    core, extras = project["project"]["dependencies"], project["project"]["optional-dependencies"]
    for package in ("jinja2", "matplotlib", "networkx"):
        assert not [line for line in core if line.startswith(package)]
        assert [line for line in extras["report"] if line.startswith(package)]
    assert "liif[report]" in extras["workflow"]
