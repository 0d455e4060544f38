# Paths and validation, and how rules name their inputs; no rules.
import os
import shlex
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from liif.data import manifests as buckets
from liif.data import versions
from liif.config import experiment
from liif.config_file import merge, read_yaml
from liif.system.errors import UserError
from liif.system.files import require_writable
from liif.system.processes import (
    WORKFLOW,
    pass_on_sigterm,
    started_by_dvc,
    this_workflow,
)
from liif.system.locks import hold, is_held
from liif.system import progress
from liif.system.project import PROJECT, TRACKING

try:
    # Snakemake's own merging would mix the keys of values that are one thing or another.
    base = {} if workflow.overwrite_configfiles else read_yaml(DOCUMENTED)
    EXPERIMENT = experiment(merge(base, workflow.config_settings.overwrite_config))
    only_looks = {
        "--lint",
        "--report",
        "--dag",
        "--rulegraph",
        "--filegraph",
        "--summary",
    } & set(sys.argv)
    at_work = workflow.is_main_process and not workflow.dryrun and not only_looks
    if at_work:
        # One workflow in a folder; the kernel releases the lock however this process ends.
        os.environ.setdefault(WORKFLOW, started_by_dvc())
        hold(Path(".snakemake/liif.lock"), "a workflow in this folder")
        require_writable(Path("results"))
        pass_on_sigterm()
    # Pictures that were deleted are made again, and a dry run shows it.
    if at_work or (workflow.dryrun and not is_held(Path(".snakemake/liif.lock"))):
        with suppress(OSError):
            buckets.forget_lost(Path("results/manifests"))
except UserError as error:
    raise WorkflowError(str(error)) from None

# `.venv/bin/snakemake` works without its environment being activated; and a job that outlives a
# killed workflow can be told from one that is wanted.
BIN = shlex.quote(os.path.dirname(sys.executable))
# (A prefix of one's own takes the place of Snakemake's strict mode.)
# (Not as parameters of rules, whose change would repeat them.)
HERE = shlex.quote(os.getcwd())
shell.prefix(
    f'set -euo pipefail; export PATH={BIN}:"$PATH" {WORKFLOW}={this_workflow()} '
    f"{PROJECT}={HERE} {TRACKING}={str(EXPERIMENT.tracking).lower()}; "
    # A signal for all of a group is for the job alone, which saves; its last words are logged.
    "trap : INT TERM HUP; logged() ( trap '' INT TERM HUP; exec tee \"$1\" ); "
)

DATA = EXPERIMENT.data
BUCKETS = range(EXPERIMENT.buckets)
SCALE = f"{EXPERIMENT.scale:g}"
UPSCALED = [*EXPERIMENT.models, "bicubic"]
CONVENTION = (
    f"--channel {EXPERIMENT.evaluate.channel} --border {EXPERIMENT.evaluate.border}"
)
TRUTH_KNOWN = DATA.test.lr is None

# How many heavy jobs run at once, each on a GPU. Each gets its share of the cores: all of them, when
# one runs at a time. (With --jobs on a cluster no number of cores need be given.)
GPUS = workflow.global_resources.get("gpu")
HEAVY_JOBS = max(1, (GPUS is not None and GPUS.value) or 1)
CORES = workflow.resource_settings.cores or 8 * HEAVY_JOBS


wildcard_constraints:
    set="valid|test",
    part="train|valid",
    bucket=r"\d+",
    scale=r"[\d.]+",
    model="|".join(UPSCALED),


def heavy_threads(wildcards):
    """A heavy job's share of the cores; bicubic needs only one."""
    if getattr(wildcards, "model", None) == "bicubic":
        return 1
    return max(1, CORES // HEAVY_JOBS)


def training_gpus(wildcards):
    """A training takes all GPUs, so that the longest is over soonest; each needs a patch of its own."""
    return min(HEAVY_JOBS, EXPERIMENT.recipe(wildcards.model).train.batch)


def training_threads(wildcards):
    """A training's share of the cores: that of its GPUs, which `--set-resources` may have set."""
    said = workflow.resource_settings.overwrite_resources.get("train", {}).get("gpu")
    gpus = training_gpus(wildcards) if said is None else said.value
    return max(1, CORES * min(max(1, gpus), HEAVY_JOBS) // HEAVY_JOBS)


def heavy_jobs(wildcards):
    """How much of the resource `gpu` a job takes."""
    return 0 if wildcards.model == "bicubic" else 1


def photographs(part):
    """Where the photographs of train, valid or test are."""
    if part == "test":
        return str(DATA.test.hr or DATA.test.lr or DATA.valid)
    return str(getattr(DATA, part))


def say_whether_recorded():
    """Point out data that is not what `data.dvc` records."""
    awaited = [Path.cwd() / name for name in archives()]
    warning = versions.data_version(Path.cwd(), awaited).warning
    if warning:
        progress.log(warning)


@cache
def version(part):
    """The version of those photographs. A function of the part alone, so that Snakemake sees it.

    Looked at once: what changes while the workflow runs is for the next one.
    """
    return versions.fingerprint(
        Path(photographs(part)), Path("results/work/versions.json")
    )


def scales(model):
    """The scales at which a model is evaluated on the validation set, as they stand in paths."""
    return [f"{scale:g}" for scale in EXPERIMENT.scales(model)]


def archives():
    """Those of the configured sources that are DIV2K's own archives."""
    names = ["data/DIV2K_train_HR.zip", "data/DIV2K_valid_HR.zip"]
    return [
        name for name in names if name in map(photographs, ("train", "valid", "test"))
    ]


def degrade_options(wildcards):
    """Test pictures are cut first, and their truth is kept."""
    if wildcards.set == "valid":
        return ""
    crop = f"--crop {DATA.crop} " if DATA.crop is not None else ""
    return f"{crop}--truth results/hr/test/x{wildcards.scale}"


def given(wildcards):
    """How the given weights are named to `liif import`."""
    weights = EXPERIMENT.models[wildcards.model].weights
    if isinstance(weights, str):
        return shlex.quote(weights)
    return f"{shlex.quote(weights.url)} --sha256 {weights.sha256}"


def given_file(wildcards):
    """The given weights, where they are a file."""
    weights = EXPERIMENT.models[wildcards.model].weights
    is_file = isinstance(weights, str) and weights != "bundled" and "://" not in weights
    return weights if is_file else []


def lr_test(wildcards):
    """The manifest of the LR test pictures; or the folder of those that are given."""
    if TRUTH_KNOWN:
        return f"results/manifests/degrade/test/x{SCALE}/{wildcards.bucket}.json"
    return ancient(photographs("test"))


def weights(wildcards):
    """A model's weights; bicubic has none."""
    return (
        []
        if wildcards.model == "bicubic"
        else f"results/models/{wildcards.model}.safetensors"
    )


def weights_name(wildcards):
    """How a model's weights are named to `liif`."""
    return weights(wildcards) or "bicubic"


def parts():
    """All evaluations: validation at each model's scales, and the test set where it has a truth."""
    parts = [
        f"results/work/metrics/{model}/valid/x{scale}/{bucket}.json"
        for model in UPSCALED
        for scale in scales(model)
        for bucket in BUCKETS
    ]
    if TRUTH_KNOWN:
        parts += expand(
            f"results/work/metrics/{{model}}/test/x{SCALE}/{{bucket}}.json",
            model=UPSCALED,
            bucket=BUCKETS,
        )
    return parts


def sources(*sets):
    """Where the photographs of some sets come from, and their version, for the record."""
    return [f"--data {s}={version(s)}@{shlex.quote(photographs(s))}" for s in sets]


def evaluated():
    """The sets that anything is measured on."""
    return ["valid", "test"] if TRUTH_KNOWN else ["valid"]


def shown():
    """The sets that the report names."""
    return ["train"] * bool(EXPERIMENT.trained) + ["valid", "test"]


def measured():
    """The models that anything is measured of."""
    return [model for model in UPSCALED if scales(model) or TRUTH_KNOWN]


if at_work:
    say_whether_recorded()
    # For DVC, which misses an output that is not there; without a training it stays empty.
    Path("results/trained").mkdir(parents=True, exist_ok=True)
