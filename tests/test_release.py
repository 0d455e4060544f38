"""Files for a release: they agree on the version, and name what exists."""

import re
import shutil
import tarfile
import tomllib
from pathlib import Path
from subprocess import run
from sys import executable

import pytest
import yaml
from documents import MAKE_TARGETS, make_targets

from liif import __version__, config

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def targets(text: str) -> set[str]:
    """Make's targets in lines that call it."""
    return set(re.findall(r"^[^#\n]*?\bmake ([a-z][a-z-]*)", text, re.MULTILINE))


def test_version_and_date_of_the_release_agree() -> None:
    versions = re.findall(r"^## (\S+) – (\d{4}-\d\d-\d\d)$", text_of("CHANGELOG.md"), re.MULTILINE)
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert versions[0] == (__version__, str(citation["date-released"]))
    assert citation["version"] == __version__
    assert 'version = {attr = "liif.__version__"}' in text_of("pyproject.toml")


def test_make_targets_that_contributing_names_exist() -> None:
    named = make_targets(text_of("CONTRIBUTING.md"))
    assert len(named) > 5
    assert named | targets(text_of(".ci/run")) <= MAKE_TARGETS


def test_extras_that_documents_name_exist() -> None:
    extras = tomllib.loads(text_of("pyproject.toml"))["project"]["optional-dependencies"]
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "Dockerfile"]
    texts = [path.read_text(encoding="utf-8") for path in documents]
    named = {
        extra
        for text in texts
        for found in re.findall(r"""["'](?:\.|liif|\S+\.whl)\[([\w,]+)\]["']""", text)
        for extra in found.split(",")
    }
    assert {"app", "onnx", "report"} <= named <= extras.keys()
    table = re.findall(r"^\| `(\w+)` \|", text_of("docs/install.md"), re.MULTILINE)
    assert {*table, "docs", "fuzz"} == extras.keys()


@pytest.mark.parametrize("path", sorted(GITHUB.rglob("*.yml")), ids=lambda path: str(path.name))
def test_github_files_are_complete(path: Path) -> None:
    file = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.parent.name == "ISSUE_TEMPLATE":
        assert {"name", "description", "body"} <= file.keys()
        fields = [field["attributes"] for field in file["body"]]
        assert all(f["label"] for f in fields)
        return
    for job in file["jobs"].values():
        assert job["timeout-minutes"]
        assert all(step.keys() & {"uses", "run"} for step in job["steps"])


def test_the_github_workflow_runs_what_exists() -> None:
    jobs = yaml.safe_load(text_of(".github/workflows/ci.yml"))["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert "bash .ci/run" in commands
    assert targets("\n".join(commands)) <= MAKE_TARGETS


def test_files_of_the_workflow_catalogue() -> None:
    usage = yaml.safe_load(text_of(".snakemake-workflow-catalog.yml"))["usage"]
    assert usage["report"]
    assert not usage["mandatory-flags"]["flags"]
    text = text_of("config/README.md")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert config.experiment(yaml.safe_load(example)).trained == ["rdn"]
    rows = re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)
    assert set(re.findall(r"\w+", " ".join(rows))) == config.Experiment.model_fields.keys()


@pytest.mark.slow
@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_both_snakefiles_run_everything(snakefile: str, tmp_path: Path) -> None:
    """The second is where the catalogue looks for the workflow."""
    command = [executable, "-m", "snakemake", "--snakefile", str(ROOT / snakefile)]
    command += ["--directory", str(tmp_path), "--cores", "1", "--dry-run"]
    done = run(command, check=True, capture_output=True, text=True)
    assert "rule sr_800:" in done.stdout + done.stderr


@pytest.mark.slow
def test_the_image_gets_what_the_package_is_built_from(tmp_path: Path) -> None:
    """The commands of the Dockerfile, without a container: the files it copies make a wheel."""
    lines = text_of(".dockerignore").splitlines()
    assert "*" in lines
    context = tmp_path / "context"
    context.mkdir()
    for name in (line[1:] for line in lines if line.startswith("!")):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, context / name)
    dockerfile = text_of("Dockerfile")
    assert 'pip install --no-cache-dir --constraint constraints.txt ".[app]"' in dockerfile
    assert (context / "constraints.txt").is_file()
    assert 'ENTRYPOINT ["liif"]' in dockerfile
    wheel = [executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    run([*wheel, "--wheel-dir", str(tmp_path), str(context)], check=True)
    assert len(list(tmp_path.glob("liif-*.whl"))) == 1


@pytest.mark.slow
def test_the_source_archive_holds_the_package_alone(tmp_path: Path) -> None:
    """No results, data or records of this folder, and what a wheel needs."""
    build = [executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path)]
    run([*build, str(ROOT)], check=True, capture_output=True)
    (archive,) = tmp_path.iterdir()
    assert archive.name == f"liif-{__version__}.tar.gz"
    assert archive.stat().st_size < 30e6
    with tarfile.open(archive) as tar:
        names = [name.partition("/")[2] for name in tar.getnames()]
    assert {name.partition("/")[0] for name in names if name} == {
        *("CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md"),
        *("liif", "liif.egg-info", "pyproject.toml", "setup.cfg"),
    }
    run([executable, "-m", "twine", "check", "--strict", str(archive)], check=True)
