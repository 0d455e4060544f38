import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from liif import config, recipe
from liif.checkpoints.catalog import local_path, locate
from liif.checkpoints.format import load_metadata
from liif.config import Experiment
from liif.config_file import merge, read_yaml
from liif.recipe import Recipe, Training
from liif.system.errors import UserError
from liif.system.files import file_sha256

ROOT = Path(__file__).parent.parent


def load(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "config" / name).read_text())
    return values


def test_the_default_is_the_documented_experiment() -> None:
    documented = config.experiment(load("config.yaml"))
    assert documented == Experiment()
    assert documented.trained == ["edsr-baseline", "rdn"]
    train = documented.recipe("rdn").train
    assert (train.epochs, train.visits, train.batch, train.patch) == (1000, 20, 16, 48)
    assert (train.scales, train.queries, train.learning_rate) == ((1, 4), 2304, 1e-4)
    assert train.steps_per_epoch(800) == 1000
    assert documented.evaluate.scales == (2, 3, 4, 6, 8, 12, 18, 24, 30)


def test_every_key_of_the_documented_file_has_a_comment_above() -> None:
    lines = (ROOT / "config" / "config.yaml").read_text().splitlines()
    seen: set[str] = set()
    for before, line in zip(["", *lines], lines, strict=False):
        key = line.strip().split(":")[0]
        heads = {"data", "models", "encoder", "evaluate", "name"} | set(
            load("config.yaml")["models"]
        )
        if line.strip() and not line.strip().startswith("#") and key not in heads | seen:
            assert before.strip().startswith("#"), line
        seen.add(key)


def test_the_demo_trains_two_models_and_is_given_three() -> None:
    demo = config.experiment(load("demo.yaml"))
    assert demo.trained == ["small-edsr", "small-rdn"]
    assert demo.given == ["released-edsr-baseline", "fast", "photo"]
    assert list(demo.models) == demo.trained + demo.given
    assert demo.scales("small-rdn") == demo.scales("bicubic") == (2, 4, 8)
    assert demo.scales("released-edsr-baseline") == (8,)
    assert demo.recipe("small-rdn").train.init == "he"
    assert demo.recipe("small-edsr").train.init == "default"
    precisions = {demo.precision, *(demo.recipe(name).train.precision for name in demo.trained)}
    assert precisions == {"float32"}  # or the README's table would depend on the processor
    assert demo.back_projection is False  # which its numbers are without


@pytest.mark.parametrize("name", ["config.yaml", "demo.yaml"])
def test_editors_are_served_the_generated_schema(name: str) -> None:
    first = (ROOT / "config" / name).read_text().splitlines()[0]
    path = ROOT / "config" / first.removeprefix("# yaml-language-server: $schema=")
    generate = [sys.executable, str(ROOT / "workflow" / "schemas" / "generate.py")]
    schema = subprocess.run(generate, capture_output=True, text=True, check=True).stdout
    assert path.read_text() == schema, "run `make schema`"
    assert json.loads(schema)["properties"].keys() == Experiment.model_fields.keys()


def test_a_models_own_training_settings_have_precedence() -> None:
    experiment = config.experiment(
        {
            "train": {"epochs": 7, "batch": 4},
            "models": {"a": {"train": {"batch": 8, "schedule": {"name": "cosine"}}}, "b": {}},
        }
    )
    a, b = experiment.recipe("a").train, experiment.recipe("b").train
    assert (a.epochs, a.batch, a.schedule.name) == (7, 8, "cosine")
    assert (b.epochs, b.batch, b.schedule.name) == (7, 4, "step")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"epochs": 3},
            r"unknown key `epochs`; the keys here are back_projection, buckets, data, evaluate",
        ),
        ({"trian": {}}, r"unknown key `trian`; did you mean `train`\?"),
        ({"train": {"epoch": 3}}, r"unknown key `train\.epoch`; did you mean `epochs`\?"),
        ({"train": {"epochs": 0}}, r"`train\.epochs` \(=0\): .*greater than 0"),
        ({"train": {"learning_rate": "fast"}}, r"`train\.learning_rate` \(='fast'\)"),
        ({"train": {"patch": 4}}, r"`queries` \(=2304\) exceeds the 4² pixels"),
        ({"train": {"scales": [4, 1]}}, r"must be \[smallest, largest\]"),
        ({"train": {"schedule": {"name": "linear"}}}, r"`train\.schedule`"),
        ({"models": {}}, r"`models`"),
        ({"models": {"bicubic": {}}}, r"`bicubic` is taken"),
        ({"models": {"a b": {}}}, r"`models\.a b"),
        (
            {"models": {"rdn": {"encoder": {"name": "rdn", "block": 3}}}},
            r"`models\.rdn\.encoder\.block`; did you mean `blocks`\?",
        ),
        ({"models": {"a": {"encoder": {"name": "vgg"}}}}, r"models\.a\.encoder.*'edsr', 'rdn'"),
        ({"models": {"a": {"weights": {"url": "x"}}}}, r"models\.a\.weights"),
        ({"models": {"a": {"train": {"patch": 4}}}}, r"`models\.a.*queries"),
        (
            {"models": {"a": {"weights": "bundled", "skip": "none"}}},
            r"unknown key `models\.a\.skip`",
        ),
        ({"data": {"test": {"form": "valid"}}}, r"key `data\.test\.form`; did you mean `from`\?"),
        ({"data": {"test": {}}}, r"`data\.test`: must be one of \{from: valid\}"),
        ({"data": {"test": {"hr": "x", "lr": "y"}}}, r"`data\.test`: must be one of"),
        ({"data": {"test": {"from": "train"}}}, r"`data\.test"),
        ({"train": {"precision": "half"}}, r"`train\.precision` .*'auto', 'float32' or 'bf16'"),
        ({"back_projection": "maybe"}, r"`back_projection` \(='maybe'\): .*boolean"),
        ({"precision": "fp16"}, r"`precision` \(='fp16'\): .*'auto', 'float32' or 'bf16'"),
        ({"evaluate": {"border": -1}}, r"`evaluate\.border"),
        ({"scale": 0.5}, r"`scale` \(=0\.5\)"),
        ({"models": {"a": {"std": [0, 0, 0]}}}, r"models\.a\.std"),
        ({"train": {"learning_rate": float("inf")}}, r"train\.learning_rate"),
        ({"train": {"scales": [1]}}, r"`train\.scales\.1` .*required"),
        *(
            ({"train": {"degrade": {kind: {"range": values}}}}, message)
            for kind, values, message in [
                (
                    "noise",
                    [5, 2],
                    r"`train\.degrade\.noise`: `range` .* must be \[smallest, largest\]",
                ),
                (
                    "blur",
                    [9, 10],
                    r"`train\.degrade\.blur\.range\.0` \(=9\): .*less than or equal to 8",
                ),
                ("blur", [-1, 2], r"`train\.degrade\.blur\.range\.0` \(=-1\): .*greater than 0"),
                ("blur", [0, 0], r"`train\.degrade\.blur\.range\.0` \(=0\)"),
                ("noise", [0, 101], r"`train\.degrade\.noise\.range\.1` \(=101\)"),
                ("noise", [-2, -1], r"`train\.degrade\.noise\.range\.0` \(=-2\)"),
                ("jpeg", [0, 50], r"`train\.degrade\.jpeg\.range\.0` \(=0\)"),
                ("jpeg", [101, 102], r"`train\.degrade\.jpeg\.range\.0` \(=101\)"),
                ("jpeg", [30], r"`train\.degrade\.jpeg\.range\.1` .*required"),
            ]
        ),
        (
            {"train": {"degrade": {"jpeg": {"range": [30, 90], "probability": 0}}}},
            r"`train\.degrade\.jpeg\.probability` \(=0\)",
        ),
        ({"train": {"degrade": {"jepg": {}}}}, r"`train\.degrade\.jepg`; did you mean `jpeg`\?"),
        *(
            ({"evaluate": {"degradations": {"dark": case}}}, message)
            for case, message in [
                ({}, r"`evaluate\.degradations\.dark`: must set `blur`, `noise` or `jpeg`"),
                ({"jpeg": 0}, r"`evaluate\.degradations\.dark\.jpeg` \(=0\)"),
                ({"blur": 9}, r"`evaluate\.degradations\.dark\.blur` \(=9\)"),
                ({"noize": 1}, r"dark\.noize`; did you mean `noise`\?"),
            ]
        ),
        ({"evaluate": {"degradations": {"a b": {"jpeg": 9}}}}, r"`evaluate\.degradations\.a b"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        config.experiment(values)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("configuration: ")


def test_a_models_settings_are_checked_together_with_the_experiments() -> None:
    experiment = config.experiment(
        {"train": {"patch": 24, "queries": 576}, "models": {"x": {"train": {"patch": 32}}}}
    )
    assert (experiment.recipe("x").train.patch, experiment.recipe("x").train.queries) == (32, 576)


def test_bicubic_is_evaluated_at_the_scales_of_every_model() -> None:
    experiment = config.experiment(
        {"evaluate": {"scales": [2]}, "models": {"a": {}, "b": {"scales": [8, 2.5]}}}
    )
    assert experiment.scales("a") == (2,)
    assert experiment.scales("bicubic") == (2, 8, 2.5)


@pytest.mark.parametrize(
    ("changes", "where", "expected"),
    [
        ({"data": {"test": {"hr": "x"}}}, ("data", "test"), {"hr": "x"}),
        ({"train": {"schedule": {"name": "cosine"}}}, ("train", "schedule"), {"name": "cosine"}),
        ({"models": {"rdn": {"weights": "bundled"}}}, ("models", "rdn"), {"weights": "bundled"}),
        ({"train": {"epochs": 3}}, ("train", "visits"), 20),
        ({"models": {"rdn": {"skip": "bicubic"}}}, ("models", "rdn", "hidden"), [256] * 4),
    ],
)
def test_changes_on_the_command_line_replace_alternatives(
    changes: dict[str, Any], where: tuple[str, ...], expected: object
) -> None:
    merged = merge(load("config.yaml"), changes)
    config.experiment(merged)
    value: Any = merged
    for key in where:
        value = value[key]
    assert value == expected
    assert load("config.yaml")["train"]["epochs"] == 1000  # the base is left alone


def test_rates_halve_by_epochs() -> None:
    train = Training()
    rates = [train.rate(epoch * 1000, 1000) for epoch in (0, 199, 200, 999)]
    assert rates == [1e-4, 1e-4, 0.5e-4, 1e-4 / 16]


def test_cosine_falls_to_zero() -> None:
    train = Training.model_validate({"epochs": 10, "schedule": {"name": "cosine"}})
    assert train.rate(0, 5) == 1e-4
    assert train.rate(25, 5) == pytest.approx(0.5e-4)
    assert train.rate(49, 5) < 1e-6


def test_the_last_batch_of_an_epoch_is_filled() -> None:
    assert Training(batch=16, visits=20).steps_per_epoch(7) == 9


def test_keys_differ_by_settings_and_data() -> None:
    base = config.recipe("{}")
    changed = config.recipe("{train: {seed: 1}}")
    assert base.key("x") == config.recipe("{skip: none}").key("x")
    assert len({base.key("x"), base.key("y"), changed.key("x")}) == 3


def test_finished_trainings_of_0_1_0_are_found() -> None:
    """The keys that release 0.1.0 printed for these settings and the data `x`."""
    rdn = "{encoder: {name: rdn}, train: {schedule: {name: cosine}}}"
    keys = [config.recipe(settings).key("x")[:16] for settings in ("{}", rdn)]
    assert keys == ["761966f5cb9f6999", "d4278261f7a809bf"]


def test_the_workflow_repeats_no_training_of_0_1_0() -> None:
    """Snakemake compares the settings as text: the keys stay in the order of release 0.1.0."""
    text = config.recipe("{}").model_dump_json()
    assert text.startswith('{"encoder":{"name":"edsr","blocks":16,"channels":64},"hidden":[256')
    text = config.recipe("{encoder: {name: rdn}}").model_dump_json()
    encoder = '{"name":"rdn","blocks":16,"layers":8,"growth":64,"channels":64}'
    assert text == (
        f'{{"encoder":{encoder},"hidden":[256,256,256,256],"skip":"none","mean":[0.5,0.5,0.5],'
        '"std":[0.5,0.5,0.5],"train":{"epochs":1000,"visits":20,"batch":16,"patch":48,'
        '"scales":[1.0,4.0],"queries":2304,"augment":true,"loss":"l1","optimizer":"adam",'
        '"learning_rate":0.0001,"schedule":{"name":"step","every":200,"factor":0.5},'
        '"precision":"float32","init":"default","seed":0,"validation_patches":160}}'
    )
    short = config.experiment({"models": {"r": {"encoder": {"name": "rdn", "blocks": 2}}}})
    assert '{"name":"rdn","blocks":2}' in short.model_dump_json(exclude_unset=True)


def test_a_new_field_with_its_default_orphans_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(Training):
        warmup: int = 0

    class Newer(Recipe):
        train: Later = Later()
        noise: float = 0.0

    for new, old in ((Later, "Training"), (Newer, "Recipe")):
        monkeypatch.setitem(recipe._FIELDS_OF_0_1_0, new.__name__, recipe._FIELDS_OF_0_1_0[old])
    assert Newer().key("x") == config.recipe("{}").key("x")
    keys = {Newer().key("x"), Newer(noise=0.1).key("x"), Newer(train=Later(warmup=5)).key("x")}
    assert len(keys) == 3


def test_another_version_of_the_results_is_another_training() -> None:
    recipe = config.recipe("{}")
    assert recipe.key("x", results_version=2) != recipe.key("x") == recipe.key("x", 1)


def test_settings_from_text_or_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("skip: bicubic\n")
    assert config.recipe(str(tmp_path / "a.yaml")).skip == "bicubic"
    assert config.recipe('{"skip": "bilinear"}').skip == "bilinear"
    with pytest.raises(UserError, match=r"cannot read .*none\.yaml"):
        config.recipe(str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="is not YAML"):
        config.recipe("{a: [}")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match="must contain a mapping, not list"):
        config.recipe(str(tmp_path / "list.yaml"))


@pytest.mark.parametrize("name", ["fast", "photo"])
def test_a_configuration_for_our_own_weights(name: str) -> None:
    """It is a whole experiment, and says how the weights were trained."""
    settings = config.experiment(read_yaml(str(ROOT / "config" / "weights" / f"{name}.yaml")))
    assert settings.trained[-1] == list(settings.models)[-1] == name
    assert (ROOT / settings.data.valid).is_dir()
    recipe = settings.recipe(name)
    trained = Recipe.model_validate(load_metadata(local_path(name))["provenance"]["recipe"])
    for field in Recipe.model_fields.keys() - {"start", "teacher"}:
        assert getattr(trained, field) == getattr(recipe, field), field
    for source in ("start", "teacher"):  # of which the weights have the checksum
        by_name, by_sum = (getattr(r, source) for r in (recipe, trained))
        assert (by_name and file_sha256(locate(by_name.weights))) == (by_sum and by_sum.sha256)
