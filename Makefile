# Everything below needs Python 3.11 and nothing else: what it uses is installed into .venv first.
#
#   make quickstart   train a small model from nothing to two-digit arithmetic, on a CPU, in minutes
#   make smoke        the same stages in about a minute
#   make test         set up, check, run all tests, and name the slowest
#   make test-fast    the tests that start no engine, no Ray and no whole run; PROCESSES=... for more than two at a time
#   make check        lint, format, types, import ladder
#   make format       rewrite files the way `make check` wants them
#   make bench        every benchmark of benchmarks/, and a table of its bars: about three hours, on a machine at rest
#   make bench-quick  the small models, once each: some minutes
#   make chaos        parts of real runs killed, stopped, damaged and starved, one scenario after the other; half an hour
#   make soak         an hour of asynchronous RL with random kills; MINUTES=... for another length
#   make fuzz         2,500 mutations of recipes and data files, each to its end on fake parts: some minutes; FUZZ_SEED=...
#   make oracle       five other frameworks on the same numbers as rlpost's losses and advantages: writes docs/oracle.md
#   make setup        .venv alone; again only after requirements/cpu.lock or pyproject.toml changed
#   make lock         requirements/cpu.lock from pyproject.toml; LOCK_OPTIONS is explained in scripts/lock
#   make clean        remove .venv and every cache; runs/ stays
#
#   PYTHON=...        the Python 3.11 to build .venv with
#   TORCH_INDEX=...   the package index of torch's CPU build, as pytorch.org names it for "CPU" under "Start locally";
#                     not needed where pip is configured to find that build

PYTHON ?= python3.11
BIN := .venv/bin
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps
TORCH_OPTIONS := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: help quickstart smoke test test-fast check format bench bench-quick chaos soak fuzz oracle setup lock clean
.DELETE_ON_ERROR:

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

quickstart: setup
	$(BIN)/rlpost run recipes/quickstart.yaml --cluster ray_configs/laptop.yaml

smoke: setup
	$(BIN)/rlpost run recipes/smoke.yaml --cluster ray_configs/laptop.yaml

# Tests without a marker run in two processes, one file at a time each. Engines, Ray and whole runs use all cores: their
# tests run alone, one after the other.
PROCESSES ?= 2
PYTEST := $(BIN)/pytest --durations=30 --durations-min=1
FAST_TESTS := $(PYTEST) -m 'not engine and not ray and not pipeline' --numprocesses=$(PROCESSES) --dist=loadfile
SLOW_TESTS := $(PYTEST) -m 'engine or ray or pipeline'
# A home of their own: the tests neither read nor leave a Ray token, a cache or a setting in yours.
OWN_HOME := home=$$(mktemp -d); trap 'rm -rf "$$home"' EXIT; export HOME="$$home"

test: check
	@$(OWN_HOME); $(FAST_TESTS); fast=$$?; $(SLOW_TESTS) && exit $$fast

test-fast: setup
	@$(OWN_HOME); $(FAST_TESTS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Trained models, settings and answers stay in this folder for the next time.
BENCH := runs/benchmarks

bench: setup
	$(BIN)/python benchmarks/bench.py $(BENCH)

bench-quick: setup
	$(BIN)/python benchmarks/bench.py $(BENCH) --quick

TIMES ?= 1
chaos: setup
	$(BIN)/python tests/chaos/chaos.py runs/chaos --times $(TIMES)

MINUTES ?= 60
soak: setup
	$(BIN)/python tests/chaos/soak.py runs/chaos --minutes $(MINUTES)

FUZZ_SEED := 0

fuzz: setup
	PYTHONPATH=tests $(BIN)/python tests/fuzz/run_fuzz.py --recipes 2000 --data 500 --commands 10 --starts --seed $(FUZZ_SEED)

oracle: setup .venv-oracle/installed
	PYTHONPATH=tests $(BIN)/python tests/oracle/run_oracle.py --python .venv-oracle/bin/python

# The other frameworks, on top of what .venv has; what their functions do not need is left out.
SITE_PACKAGES := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'

.venv-oracle/installed: requirements/oracle.txt .venv/installed
	$(BIN)/python -m venv --clear .venv-oracle
	$(BIN)/python $(SITE_PACKAGES) > "$$(.venv-oracle/bin/python $(SITE_PACKAGES))/base.pth"
	.venv-oracle/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements/oracle.txt
	@touch $@

setup: .venv/installed

.venv/installed: .venv/locked pyproject.toml
	$(PIP_INSTALL) --no-build-isolation --editable .
	@touch $@

.venv/locked: requirements/cpu.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
	    { echo "rlpost needs Python 3.11; '$(PYTHON)' is not one: install it, or set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing requirements/cpu.lock into .venv: about 4 GB, some minutes at the first time"
	$(PIP_INSTALL) $(TORCH_OPTIONS) -r requirements/cpu.lock
	@$(BIN)/python -c 'import torch' || \
	    { echo "this torch cannot be imported; a build for CUDA needs libraries that are not in the lock:" \
	      "make clean setup TORCH_INDEX=<index of torch's CPU build>" >&2; exit 1; }
	@touch $@

lock:
	PYTHON=$(PYTHON) scripts/lock

clean:
	rm -rf .venv .venv-oracle build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find rlpost rewards tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
