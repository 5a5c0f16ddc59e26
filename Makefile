# Each target works on its own on a fresh machine with make and Python 3.11 or newer.
#   make demo PYTHON=python3.12                    another interpreter for .venv
#   make test TESTS="tests/selection -k margin"    a part of the tests
#   make demo PIP_ARGS="--extra-index-url URL"     another source of PyTorch builds (CPU only, or another CUDA)

SHELL := /bin/bash
PYTHON ?= python3
PIP_ARGS ?=
TESTS ?= tests
BIN := .venv/bin
STAMP := .venv/.installed
TYPED := -p pipeline -p actors -p tune_spaces

.PHONY: demo test lint format install clean

demo: $(STAMP)
	@$(BIN)/asvp sweep svp_vs_asvp demo

test: $(STAMP)
	@$(BIN)/python -m pytest $(TESTS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(TYPED)

format: $(STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

install: $(STAMP)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "asvp needs Python 3.11 or newer, and $(PYTHON) is not: name another with PYTHON=python3.12" >&2; exit 1; }
	@echo "Creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# PyTorch is named beside the project, so that one resolution settles its build: pip prefers a version with a local
# label (2.13.0+cpu) to the plain one where an index or a wheel folder offers it.
$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing asvp and what it needs into .venv (minutes the first time, nothing afterwards)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) -c constraints.txt \
		"$$(grep '^torch==' constraints.txt)" -e '.[demo,dev]'
	@touch $(STAMP)

clean:
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -type d -name __pycache__ -prune -exec rm -rf {} +
