# `make run` and `make test` each work alone on a fresh clone: git, make and Python 3.11 or newer are all they need.
PYTHON ?= python3
BIN := .venv/bin
# The stages' commands say `python`: it must be the one of .venv.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: install run test check lock

run: install
	dvc repro
	@echo "Open reports/index.html"

test: check
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "e6tag needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	touch $@

# Rewrites the lock files from pyproject.toml; needs uv.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --extra pipeline --extra dev pyproject.toml -o requirements.lock
