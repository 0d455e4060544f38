# Two commands for a newcomer: make demo, make test. Each installs what it needs.
# pip's own variables (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, PIP_CERT …) reach it from
# the environment or from the command line: make demo PIP_INDEX_URL=…

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Stamps of what is installed: for the demo, for every feature, and for developers.
WORKFLOW := $(VENV)/.liif-workflow
ALL := $(VENV)/.liif-all
DEV := $(VENV)/.liif-dev
SNAKEMAKE_FILES := Snakefile workflow/Snakefile workflow/rules

.PHONY: help install demo ui test test-rest test-all test-slurm fuzz audit bench bench-scaling models lint docs dist format schema clean-demo
help:
	@echo "make demo        train two small networks on the bundled photographs and upscale 6 pictures"
	@echo "make test        the tests of every unit, a whole workflow, and a kill of each command"
	@echo "make test-all    all tests but the one on Slurm"
	@echo "make test-slurm  the demo's workflow on a one-node Slurm cluster on this machine"
	@echo "make fuzz        search for inputs that crash, for a few minutes"
	@echo "make audit       known vulnerabilities of the pinned packages"
	@echo "make ui          MLflow's pages of the demo's runs, at http://127.0.0.1:5000"
	@echo "make bench       speed and memory compared with plain reference implementations"
	@echo "make bench-scaling  the cost of each step, for docs/scaling.md"
	@echo "make models      PSNR and time of the bundled models, for docs/models.md"
	@echo "make lint        all checks of style, types, layers and workflow"
	@echo "make docs        the documentation as a site, in site/index.html"
	@echo "make dist        source archive and wheel for a release, checked, in dist"
	@echo "make format      format all code"
	@echo "make schema      regenerate the configuration's schema"
	@echo "make clean-demo  delete the demo's folder, to start over"

install: $(ALL)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "liif needs Python 3.11 or newer; this is %s. Try: make PYTHON=python3.12" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

comma := ,
# $(call pip_install,EXTRAS)
define pip_install
@echo "Installing into $(VENV): downloads up to 0.7 GB, or 3 GB if PyTorch comes with CUDA (docs/install.md)."
@$(BIN)/python workflow/envs/install.py --constraint constraints.txt --editable ".[$(1)]"
endef

$(WORKFLOW): pyproject.toml constraints.txt | $(BIN)/python
	$(call pip_install,workflow)
	@touch $@

$(ALL): pyproject.toml constraints.txt | $(BIN)/python
	$(call pip_install,app$(comma)onnx$(comma)s3$(comma)slurm)
	@touch $(WORKFLOW) $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(call pip_install,dev)
	@touch $(WORKFLOW) $(ALL) $@

demo: $(WORKFLOW)
	@$(BIN)/liif download photographs --to demo/data
	@PATH="$(abspath $(BIN)):$$PATH" profiles/demo/prepare demo
	@$(BIN)/snakemake --workflow-profile profiles/demo results/sr_800
	@PATH="$(abspath $(BIN)):$$PATH" profiles/demo/record demo
	@echo "The demo is complete: open demo/results/report.html; the pictures are in demo/results/sr_800"

# Without the last word of it, MLflow opens its pages for generative AI.
RUNS := http://127.0.0.1:5000/\#/experiments/1/runs?compareRunsMode=CHART&workflowType=machine_learning
# MLflow without usage statistics, and without the seven job workers that its server would start.
ui: export MLFLOW_DISABLE_TELEMETRY := true
ui: export MLFLOW_SERVER_ENABLE_JOB_EXECUTION := false
ui: $(WORKFLOW)
	@echo "The training runs: $(RUNS)"
	cd demo && $(abspath $(BIN))/mlflow ui

# Many tests wait for processes that they start, so two at a time are faster even on 2 cores,
# unless idle OpenMP threads keep the cores busy.
TEST_JOBS ?= 2
PYTEST := OMP_WAIT_POLICY=passive $(BIN)/python -m pytest
PARALLEL := --numprocesses $(TEST_JOBS) --dist worksteal
test: $(DEV)
	$(PYTEST) $(PARALLEL) -m "not slow and not exhaustive and not slurm"

# The slow tests that `make test` leaves out, without the exhaustive ones.
test-rest: $(DEV)
	$(PYTEST) $(PARALLEL) -m slow

test-all: $(DEV)
	$(PYTEST) $(PARALLEL) -m "not slurm"

# Starts a Slurm of its own on this machine: apt-get install slurm-wlm munge
test-slurm: $(DEV)
	$(PYTEST) -m slurm -rP

bench-scaling: $(DEV)
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/scaling.py

# The models that were measured before are kept, unless their weights changed.
models: $(DEV)
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/models.py

bench: $(DEV)
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/run.py

# The property tests with many random examples; then coverage-guided fuzzing of files (atheris).
FUZZ_SECONDS ?= 120
fuzz: $(DEV)
	$(BIN)/python -m pip install --quiet --quiet --constraint constraints.txt --editable ".[fuzz]"
	LIIF_HYPOTHESIS=search $(BIN)/python -m pytest tests/test_mistakes.py
	for target in pictures checkpoints layouts; do \
	    $(BIN)/python tests/fuzz.py $$target --seconds $(FUZZ_SECONDS) || exit 1; done

# Asks the Python package index for known vulnerabilities of the pinned packages.
audit: $(DEV)
	$(BIN)/python -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet pip-audit
	$(VENV)-audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/snakefmt --check $(SNAKEMAKE_FILES)
	$(BIN)/snakemake --lint
	$(BIN)/python workflow/schemas/generate.py | cmp - workflow/schemas/config.schema.json

# Strict: a broken link, a missing anchor or an unknown name fails. To see changes while writing:
# .venv/bin/mkdocs serve
docs: $(DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# From a clean state: what an earlier build left would be in the new archives.
dist: $(DEV)
	rm -rf build dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt $(SNAKEMAKE_FILES)

schema: $(WORKFLOW)
	$(BIN)/python workflow/schemas/generate.py > workflow/schemas/config.schema.json

clean-demo:
	rm -rf demo
