# Two commands for a newcomer: make demo, make test. Each sets up what it needs.
# pip's own variables (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, PIP_CERT …) reach it from
# the environment or from the command line: make demo PIP_INDEX_URL=…

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.liif-installed
SNAKEMAKE_FILES := Snakefile workflow/rules

.PHONY: help install demo ui test test-slow test-slurm fuzz audit bench bench-scaling lint format schema clean-demo
help:
	@echo "make demo        train two small networks on the bundled photographs and enlarge 6 pictures"
	@echo "make test        all tests but the slow ones"
	@echo "make test-slow   the slow tests"
	@echo "make test-slurm  the demo's workflow on a Slurm cluster of this one machine"
	@echo "make fuzz        some minutes of looking for input that is not answered well"
	@echo "make audit       known vulnerabilities of the pinned packages"
	@echo "make ui          MLflow's pages of the demo's runs, at http://127.0.0.1:5000"
	@echo "make bench       speed and memory against plain reference implementations"
	@echo "make bench-scaling  what each step takes, for docs/scaling.md"
	@echo "make lint        every check of style, types and workflow"
	@echo "make format      format all code"
	@echo "make schema      write the configuration's schema anew"
	@echo "make clean-demo  delete the demo's folder, to start over"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "liif needs Python 3.11 or newer; this is %s. Try: make PYTHON=python3.12" % sys.version.split()[0])'
	@echo "Setting up $(VENV): about 0.7 GB are downloaded, or 3 GB if PyTorch comes with CUDA (README)."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/liif download photographs --to demo/data
	@PATH="$(abspath $(BIN)):$$PATH" profiles/demo/prepare demo
	@$(BIN)/snakemake --workflow-profile profiles/demo results/sr_800
	@echo "The demo is complete: open demo/results/report.html; the pictures are in demo/results/sr_800"

# Without the statistics that MLflow otherwise sends to its makers, and without the seven processes
# for jobs of its own that it would start.
ui: export MLFLOW_DISABLE_TELEMETRY := true
ui: export MLFLOW_SERVER_ENABLE_JOB_EXECUTION := false
ui: $(INSTALLED)
	cd demo && $(abspath $(BIN))/mlflow ui

# Many tests wait for processes that they start and kill, so two at a time are faster even on 2 cores;
# but not if threads that have nothing to do keep them busy.
TEST_JOBS ?= 2
TESTS := OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --numprocesses $(TEST_JOBS) --dist worksteal
test: $(INSTALLED)
	$(TESTS) -m "not slow and not slurm"

# On a Slurm of its own, on this machine: apt-get install slurm-wlm munge
test-slurm: $(INSTALLED)
	$(BIN)/python -m pytest -m slurm -rP

bench-scaling: $(INSTALLED)
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/scaling.py

bench: $(INSTALLED)
	PYTHONPATH=benchmarks $(BIN)/python benchmarks/run.py

# The property tests with many examples, new ones each time; then files that atheris mutates.
FUZZ_SECONDS ?= 120
fuzz: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --quiet --constraint constraints.txt --editable ".[fuzz]"
	LIIF_HYPOTHESIS=search $(BIN)/python -m pytest tests/test_mistakes.py
	for target in pictures checkpoints layouts; do \
	    $(BIN)/python tests/fuzz.py $$target --seconds $(FUZZ_SECONDS) || exit 1; done

# Known vulnerabilities of what is pinned; asks the Python package index.
audit: $(INSTALLED)
	$(BIN)/python -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet pip-audit
	$(VENV)-audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

test-slow: $(INSTALLED)
	$(TESTS) -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check $(SNAKEMAKE_FILES)
	$(BIN)/snakemake --lint
	$(BIN)/python -m liif.config | cmp - workflow/schemas/config.schema.json

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt $(SNAKEMAKE_FILES)

schema: $(INSTALLED)
	$(BIN)/python -m liif.config > workflow/schemas/config.schema.json

clean-demo:
	rm -rf demo
