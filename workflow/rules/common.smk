# Configuration, lock, resources, and the inputs and parameters of the rules.
import inspect
import os
import shlex
import sys
from functools import cache
from pathlib import Path

from liif.checkpoints.catalog import is_name, locate, require_known
from liif.data import manifests as buckets
from liif.data import versions
from liif.config import experiment
from liif.config_file import merge, read_yaml
from liif.data.degrade import parse_set
from liif.system.errors import UserError
from liif.system.files import file_sha256, require_writable
from liif.system.processes import (
    WORKFLOW,
    pass_on_sigterm,
    started_by_dvc,
    this_workflow,
)
from liif.system.locks import hold
from liif.system import progress
from liif.system.project import PROJECT, TRACKING
from liif.system.terminal import Terminal, install

# Snakemake's options that show or clean up something instead of executing the workflow.
NOT_EXECUTING = set("""
    lint report reporter dag rulegraph filegraph d3dag unlock archive summary
    detailed_summary containerize generate_unit_tests list_rules list_target_rules
    list_changes list_untracked list_input_changes list_params_changes list_conda_envs
    print_compilation cleanup_metadata cleanup_shadow conda_cleanup_envs
    conda_create_envs_only container_cleanup_images delete_all_output delete_temp_output
    """.split())


def options():
    """The names of Snakemake's options in effect, from its profile and command line."""
    calls = (
        frame.frame.f_locals
        for frame in inspect.stack(0)
        if frame.function == "args_to_api"
    )
    given = {
        n: v
        for call in calls
        for n, v in vars(call["args"]).items()
        if v not in (None, False)
    }
    if "report_after_run" in given:
        return given.keys() - {"report", "reporter"}
    return given.keys()


try:
    # Snakemake's own merging would mix the keys of alternatives.
    base = {} if workflow.overwrite_configfiles else read_yaml(DOCUMENTED)
    EXPERIMENT = experiment(merge(base, workflow.config_settings.overwrite_config))
    existing = [EXPERIMENT.models[name].weights for name in EXPERIMENT.given]
    for name in EXPERIMENT.trained:
        existing += EXPERIMENT.recipe(name).given.values()
    for weights in existing:
        require_known(weights.weights or weights.url)
    executes = workflow.is_main_process and not (options() & NOT_EXECUTING)
    at_work = executes and not workflow.output_settings.dryrun
    if at_work:
        # One workflow in a folder; the kernel releases the lock however this process ends.
        os.environ.setdefault(WORKFLOW, started_by_dvc())
        hold(Path(".snakemake/liif.lock"), "a workflow in this folder")
        require_writable(Path("results"))
        pass_on_sigterm()
    if executes:
        # Deleted pictures are made again: their manifests must go before the jobs are planned.
        lost = buckets.lost(Path("results/manifests"))
        for manifest in lost if at_work else []:
            manifest.unlink(missing_ok=True)
        if lost and not at_work:
            progress.log(
                f"pictures of {len(lost)} jobs were deleted; a run also repeats those it needs: "
                + ", ".join(map(str, lost))
            )
except UserError as error:
    # A WorkflowError would be shown with lines of this file.
    progress.log(f"liif: {error}")
    raise SystemExit(1) from None

# The prefix of every job. It puts this environment on the path, so that `.venv/bin/snakemake` works
# without activation, and names this workflow, so that a job that outlives it is recognised. These
# are not parameters of rules, whose change would repeat them. `set` replaces Snakemake's own strict
# mode, which a custom prefix disables.
BIN = shlex.quote(os.path.dirname(sys.executable))
HERE = shlex.quote(os.getcwd())
shell.prefix(
    f'set -euo pipefail; export PATH={BIN}:"$PATH" {WORKFLOW}={this_workflow()} '
    f"{PROJECT}={HERE} {TRACKING}={str(EXPERIMENT.tracking).lower()} "
    f"SNAKEFILE={shlex.quote(workflow.main_snakefile)}; "
    # Of a process group only the job reacts to signals: it saves, and its last lines are logged.
    "trap : INT TERM HUP; "
)

DATA = EXPERIMENT.data
BUCKETS = range(EXPERIMENT.buckets)
SCALE = f"{EXPERIMENT.scale:g}"
UPSCALED = [*EXPERIMENT.models, "bicubic"]
CONVENTION = (
    f"--channel {EXPERIMENT.evaluate.channel} --border {EXPERIMENT.evaluate.border}"
)
TRUTH_KNOWN = DATA.test.lr is None
# The sets that models are measured on, and those of them with a degradation: valid-jpeg75.
CLEAN = ["valid", "test"] if TRUTH_KNOWN else ["valid"]
CASES = EXPERIMENT.evaluate.degradations
DEGRADED = [f"{name}-{case}" for name in CLEAN for case in CASES]

# A heavy job takes a slot, and a GPU where there are any; each gets its share of the cores. (With
# --jobs on a cluster the number of cores may be unknown.)
LIMITS = {
    name: workflow.global_resources[name].value
    for name in ("gpu", "slots")
    if name in workflow.global_resources
}
GPUS = LIMITS.get("gpu") or 1
HEAVY_JOBS = min((n for n in LIMITS.values() if n), default=1)
CORES = workflow.resource_settings.cores or 8 * HEAVY_JOBS


wildcard_constraints:
    set="|".join(["valid", "test", *DEGRADED]),
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
    """A training uses all GPUs, so that the longest ends soonest; each needs a patch of its own."""
    return min(GPUS, EXPERIMENT.recipe(wildcards.model).train.batch)


def training_threads(wildcards):
    """A training's share of the cores: that of its GPUs, which `--set-resources` may have set."""
    given = workflow.resource_settings.overwrite_resources.get("train", {}).get("gpu")
    gpus = training_gpus(wildcards) if given is None else given.value
    return max(1, CORES * min(max(1, gpus), HEAVY_JOBS) // HEAVY_JOBS)


def heavy_job(wildcards):
    """The slots, and the GPUs, of a job that runs a model; bicubic needs none."""
    return 0 if wildcards.model == "bicubic" else 1


def photographs(part):
    """The path of the photographs of train, valid or test."""
    if part == "test":
        return str(DATA.test.hr or DATA.test.lr or DATA.valid)
    return str(getattr(DATA, part))


def warn_of_unrecorded_data():
    """Log a warning when the data is not what `data.dvc` records."""
    awaited = [Path.cwd() / name for name in archives()]
    warning = versions.data_version(Path.cwd(), awaited).warning
    if warning:
        progress.log(warning)


@cache
def version(part):
    """The version of those photographs, determined once in a run of the workflow."""
    return versions.fingerprint(Path(photographs(part)), versions.CACHE, store=at_work)


def scales(model):
    """A model's scales on the validation set, as in paths."""
    return [f"{scale:g}" for scale in EXPERIMENT.scales(model)]


def archives():
    """The configured sources that are DIV2K's own archives."""
    names = ["data/DIV2K_train_HR.zip", "data/DIV2K_valid_HR.zip"]
    return [
        name for name in names if name in map(photographs, ("train", "valid", "test"))
    ]


def origin(wildcards):
    """The set without its degradation."""
    return parse_set(wildcards.set)[0]


def degrade_options(wildcards):
    """Test photographs are cropped first, and kept as the ground truth; degradations are options."""
    clean, case = parse_set(wildcards.set)
    options = []
    if clean == "test" and DATA.crop is not None:
        options.append(f"--crop {DATA.crop}")
    if wildcards.set == "test":
        options.append(f"--truth results/hr/test/x{wildcards.scale}")
    if case:
        strengths = CASES[case].model_dump(exclude_none=True)
        options += [f"--{kind} {strength}" for kind, strength in strengths.items()]
    return " ".join(options)


def truth(wildcards):
    """The HR pictures of a degraded set: the photographs, or the manifest of the cropped ones."""
    if origin(wildcards) == "valid":
        return ancient(photographs("valid"))
    return f"results/manifests/degrade/test/x{SCALE}/{wildcards.bucket}.json"


def given(wildcards):
    """The given weights as arguments of `liif import`."""
    weights = EXPERIMENT.models[wildcards.model].weights
    checksum = f" --sha256 {weights.sha256}" if weights.sha256 else ""
    return shlex.quote(weights.url or weights.weights) + checksum


def given_file(wildcards):
    """The given weights, if they are a file."""
    name = EXPERIMENT.models[wildcards.model].weights.weights
    return name if is_file(name) else []


def is_file(weights):
    """Whether weights are neither at a URL nor known by name."""
    return weights is not None and not is_name(weights)


def made(weights):
    """Whether weights are those of another model of this experiment."""
    return weights in [
        f"results/models/{model}.safetensors" for model in EXPERIMENT.models
    ]


def training_weights(wildcards):
    """The files that a training starts from or learns from; content decides of given ones."""
    files = []
    for given in EXPERIMENT.recipe(wildcards.model).given.values():
        if given.url is not None:
            files.append(f"results/work/weights/{given.sha256}")
        elif is_file(given.weights):
            path = given.weights
            files.append(path if made(path) else ancient(path))
    return files


def settings(wildcards):
    """A training's settings, with the checksums of given weights, whose change repeats it."""
    recipe = EXPERIMENT.recipe(wildcards.model)
    pinned = {}
    for name, given in recipe.given.items():
        if given.url is not None:
            change = {"weights": f"results/work/weights/{given.sha256}", "url": None}
        elif made(given.weights):
            continue
        else:
            change = {"sha256": given.sha256 or checksum(given.weights)}
        pinned[name] = given.model_copy(update=change)
    return recipe.model_copy(update=pinned).model_dump_json()


@cache
def checksum(weights):
    """The checksum of weights in a file or known by name."""
    return file_sha256(locate(weights))


def url(wildcards):
    """The URL of weights with that checksum."""
    for model in EXPERIMENT.trained:
        for given in EXPERIMENT.recipe(model).given.values():
            if given.url is not None and given.sha256 == wildcards.sha256:
                return given.url


def lr_test(wildcards):
    """The manifest of the LR test pictures, or the folder of given ones."""
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


def weights_option(wildcards):
    """The value of `--weights`: a model's file, with how to use it after it; or bicubic."""
    path = weights(wildcards)
    if not path:
        return "bicubic"
    plain = "" if EXPERIMENT.back_projection else " --no-back-projection"
    return f"{path} --precision {EXPERIMENT.precision}{plain}"


def parts():
    """All evaluations: the validation set at each model's scales, and a test set with ground truth."""
    wanted = [("valid", model, scale) for model in UPSCALED for scale in scales(model)]
    if TRUTH_KNOWN:
        wanted += [("test", model, SCALE) for model in UPSCALED]
    suffixes = ["", *(f"-{case}" for case in CASES)]
    return [
        f"results/work/metrics/{model}/{name}{suffix}/x{scale}/{bucket}.json"
        for suffix in suffixes
        for name, model, scale in wanted
        for bucket in BUCKETS
    ]


def sources(*sets):
    """The path and version of the photographs of some sets, for the records."""
    return [f"--data {s}={version(s)}@{shlex.quote(photographs(s))}" for s in sets]


def shown():
    """The sets that the report names."""
    return ["train"] * bool(EXPERIMENT.trained) + ["valid", "test"]


def measured():
    """The models that are measured."""
    return [model for model in UPSCALED if scales(model) or TRUTH_KNOWN]


def ending(rules):
    """The last lines of a run: the metrics, and where the report is."""
    lines = []
    if "table" in rules:
        from liif.inference.evaluate import test_set_table

        lines.append(test_set_table(Path("results/metrics.csv")))
    if "report" in rules:
        lines.append(f"report: {Path.cwd() / 'results/report.html'}")
    return "\n".join(lines)


if executes and not (options() & {"verbose", "quiet"}):
    install(workflow.logger_manager.logger, Terminal(ending) if at_work else None)
if at_work:
    warn_of_unrecorded_data()
    # DVC requires this output, which is empty without trainings.
    Path("results/trained").mkdir(parents=True, exist_ok=True)
