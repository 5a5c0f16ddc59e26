# Each target works on its own on a fresh machine with make and Python 3.11 or newer.
#   make demo PYTHON=python3.12                    another interpreter for .venv
#   make test TESTS="tests/selection -k margin"    a part of the tests
#   make soak MINUTES=30 SEED=7                    a sweep under random kills
#   make test JOBS=0                               all tests in one process, for a debugger
#   make demo PIP_ARGS="--extra-index-url URL"     another source of PyTorch builds (CPU only, or another CUDA)

SHELL := /bin/bash
PYTHON ?= python3
PIP_ARGS ?=
TESTS ?= tests
JOBS ?= 2
MINUTES ?= 30
SEED ?= 0
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
AUDIT := pip-audit==2.10.1 pip-licenses==5.5.5
LICENCES := MIT;Apache;BSD;ISC;Python Software Foundation;PSF;Mozilla;MPL;Zlib;Unlicense;NVIDIA
# What is installed, and the links to the source files that make pipeline/, actors/ and tune_spaces/ one package.
INSTALLED := .venv/.installed
LINKED := build/.linked
SOURCES := $(shell find pipeline actors tune_spaces -type f -not -name '*.pyc' | sort | cksum)

.PHONY: demo test test-all soak lint format docs audit install clean

demo: $(LINKED)
	@$(BIN)/asvp sweep svp_vs_asvp demo --seeds 0,1

test: $(LINKED)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(TESTS)

# Those that `make test` leaves out as well.
test-all: $(LINKED)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "" $(TESTS)

# A sweep under random kills and faults, from a seed, again and again.
soak: $(LINKED)
	@$(BIN)/python tests/soak.py --minutes $(MINUTES) --seed $(SEED) --log build/soak.jsonl

lint: $(LINKED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict -p asvp

format: $(LINKED)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Not --quiet: it would hide warnings from --strict. The variable silences a notice about the theme's successor.
docs: $(LINKED)
	@NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict
	@echo "build/site/index.html"

# Licences of what is installed, and known weaknesses of the versions in constraints.txt. The second asks PyPI, and a
# package that PyPI says nothing of is an error; the tools have an environment of their own.
audit: $(INSTALLED)
	@test -x build/audit/bin/pip-audit || { $(BIN)/python -m venv build/audit && \
		build/audit/bin/python -m pip install -qq --disable-pip-version-check $(AUDIT); }
	@build/audit/bin/pip-licenses --python=$(BIN)/python --partial-match --allow-only='$(LICENCES)' --summary
	@build/audit/bin/pip-audit --strict -r constraints.txt --no-deps --disable-pip --progress-spinner off

install: $(LINKED)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "asvp needs Python 3.11 or newer, and $(PYTHON) is not: name another with PYTHON=python3.12" >&2; exit 1; }
	@echo "Creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# PyTorch is named beside the project, so that one resolution settles its build: pip prefers a version with a local
# label (2.13.0+cpu) to the plain one where an index or a wheel folder offers it.
$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing asvp and what it needs into .venv (minutes the first time, nothing afterwards)"
	@$(PIP) $(PIP_ARGS) -c constraints.txt "$$(grep '^torch==' constraints.txt)" \
		"$$(grep '^setuptools==' constraints.txt)" -e '.[demo,dev,docs]'
	@rm -f $(LINKED)
	@touch $(INSTALLED)

# A strict editable install is a folder of links, one a source file, on the interpreter's path like any installed
# package: Python, Ray's workers, mypy and import-linter all see the same `asvp`. It has to be made again when files
# come or go (seconds), so the stamp holds a checksum of their list.
$(LINKED): $(INSTALLED) FORCE
	@if [ "$$(cat $(LINKED) 2>/dev/null)" != "$(SOURCES)" ]; then \
		rm -rf build/__editable__*; \
		$(PIP) --no-build-isolation --no-deps --config-settings editable_mode=strict -e . && \
		mkdir -p build && echo "$(SOURCES)" > $(LINKED); \
	fi

FORCE:

clean:
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -type d -name __pycache__ -prune -exec rm -rf {} +
