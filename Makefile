# `make run` and `make test` each work alone on a fresh clone: git, make and Python 3.11 or newer are all they need.
PYTHON ?= python3
BIN := .venv/bin
# The stages' commands say `python`: it must be the one of .venv.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: install run test check lowest jax lock clients

run: install
	dvc repro
	@echo "Open reports/index.html"

# Files of tests run side by side, as many as JOBS; each needs up to 2 GB of memory.
JOBS ?= 2
# Not reordered: else files of few tests, which are the longest, come last.
PARALLEL := --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

test: check
	$(BIN)/python -m pytest $(PARALLEL)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: .venv/installed

# With the lowest versions that pyproject.toml allows, the tests where a library is used
# directly. Old releases warn of what newer Pythons deprecate.
LOWEST := data e6tag evaluate harvest manifest metrics mine model report sample shard site \
	download/test_download.py export/test_calibrated.py export/test_export.py \
	flows/test_flows.py ops/test_diff.py ops/test_dvc.py ops/test_status.py \
	train/test_train.py validate/test_evaluation.py validate/test_page.py
lowest: .venv-lowest/installed
	PATH=$(CURDIR)/.venv-lowest/bin:$$PATH .venv-lowest/bin/python -m pytest $(PARALLEL) -o filterwarnings=default \
		$(LOWEST:%=tests/%)

# The tests that train on JAX. It is no part of .venv: where it is installed, TensorFlow
# imports it, which costs every stage 1.5 s and 120 MB.
jax: .venv-jax/installed
	PATH=$(CURDIR)/.venv-jax/bin:$$PATH .venv-jax/bin/python -m pytest $(PARALLEL) tests/train -k jax

.venv/installed: requirements.lock
.venv-lowest/installed: requirements-lowest.lock
.venv-jax/installed: requirements.lock requirements-jax.lock
.venv/installed .venv-lowest/installed .venv-jax/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "e6tag needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes $(patsubst %,-r %,$(filter %.lock,$^))
	$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	touch $@

# Rewrites the lock files from pyproject.toml; needs uv.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
ALL := --extra pipeline --extra serve --extra dev pyproject.toml
lock:
	$(COMPILE) $(ALL) -o requirements.lock
	$(COMPILE) $(ALL) --resolution lowest-direct -o requirements-lowest.lock
	# What else JAX needs is in requirements.lock.
	printf 'jax>=0.10\njaxlib>=0.10\n' | $(COMPILE) --no-deps - -o requirements-jax.lock

# The bundle in the real programs that load one, and those that test the server, each in
# an environment of its own.
CLIENTS := szurubooru-toolkit dghs-imgutils deepdanbooru onnxruntime-1.20 schemathesis axe
.clients/szurubooru-toolkit/installed: PACKAGES = "szurubooru-toolkit[wd-tagger]==2.1.0"
.clients/dghs-imgutils/installed: PACKAGES = dghs-imgutils==0.19.0 onnxruntime
.clients/deepdanbooru/installed: PACKAGES = "deepdanbooru[tensorflow]==1.0.4"
.clients/onnxruntime-1.20/installed: PACKAGES = onnxruntime==1.20.0
.clients/schemathesis/installed: PACKAGES = "schemathesis>=4.32,<5"

clients: install $(CLIENTS:%=.clients/%/installed)
	$(BIN)/python -m pytest tests/clients

.clients/%/installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --no-compile $(PACKAGES)
	touch $@

# Needs npm.
.clients/axe/installed:
	npm install --silent --no-audit --no-fund --prefix $(@D) "axe-core@^4.10"
	touch $@
