# Everything a clone can do. Needs Python 3.11 or newer, make and git; no compiler.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	if $$p -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --only-binary :all: --require-hashes
INTEROP := .venv-interop
INTEROP_JS := tests/interop/clients/js tests/interop/network/js
INTEROP_PIP := $(INTEROP)/bin/python -m pip --disable-pip-version-check --quiet install
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-header --allow-unsafe \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --no-annotate \
	--resolver=backtracking --pip-args="--only-binary=:all:"

FUZZ_SECONDS ?= 60
CRASH_SECONDS ?= 60

.PHONY: help install serve test test-remote interop interop-big crash faults fuzz check bench lock clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

install: $(VENV)/installed ## install what the server needs into .venv

serve: $(VENV)/installed ## start the server (ARGS="--listen 127.0.0.1:9000 ...")
	$(BIN)/ms3t serve $(ARGS)

test: $(VENV)/installed-dev ## run the tests, but for the longest (ARGS="-k name ...")
	$(BIN)/python -m pytest -n 3 --dist worksteal -q $(ARGS)

test-remote: $(VENV)/installed-dev ## the tests of clients, with servers that have everything on a storage node
	$(BIN)/python -m pytest -n 3 --dist worksteal -q tests/interop --remote $(ARGS)

interop: $(INTEROP)/installed ## other people's clients, and their side of the storage network
	$(INTEROP)/bin/python -m pytest -m "interop or over_tls" -q tests/interop/clients tests/interop/network $(ARGS)

interop-big: $(VENV)/installed-dev ## gigabytes, thousands of files, very many objects, and many crashes
	$(BIN)/python -m pytest -m big -q tests/interop tests/unit/gateway/shipping $(ARGS)

crash: $(VENV)/installed-dev ## crashes and power cuts of every kind (CRASH_SECONDS=60 for each)
	CRASH_SECONDS=$(CRASH_SECONDS) $(BIN)/python -m pytest -m crash_long -q tests/crash $(ARGS)

faults: $(VENV)/installed-dev ## everything that a storage node can do wrong while clients read and write
	$(BIN)/python -m pytest -m "all_faults or not all_faults" -q tests/faults $(ARGS)

fuzz: $(VENV)/installed-fuzz ## look for inputs that break a parser (FUZZ_SECONDS=60 for each, ARGS="node metadata ...")
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

check: $(VENV)/installed-dev ## lint, form, types, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/installed-bench ## compare with other S3 servers, in about ten minutes
	$(BIN)/python -m bench --quick $(ARGS)

lock: $(VENV)/installed-dev ## pin the newest dependencies pyproject.toml allows
	$(COMPILE) --upgrade --build-deps-for editable --output-file requirements.lock pyproject.toml
	$(COMPILE) --upgrade --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	$(COMPILE) --upgrade --extra fuzz --constraint requirements-dev.lock --output-file requirements-fuzz.lock pyproject.toml
	$(COMPILE) --upgrade --extra bench --constraint requirements-dev.lock --output-file requirements-bench.lock \
		pyproject.toml
	$(COMPILE) --upgrade --extra interop --build-deps-for editable --constraint requirements.lock \
		--output-file requirements-interop.lock pyproject.toml

clean: ## remove what make and the tools made, but no data
	rm -rf $(VENV) $(INTEROP) $(INTEROP_JS:%=%/node_modules) build dist .fuzz .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache

$(VENV)/created:
	@if [ -z "$(PYTHON)" ]; then \
		echo "ms3t needs Python 3.11 or newer, and none is on PATH as python3, python3.13, python3.12 or python3.11." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; fi
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/installed: $(VENV)/created requirements.lock pyproject.toml
	$(INSTALL) -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.lock
	$(INSTALL) -r requirements-dev.lock
	touch $@

$(VENV)/installed-fuzz: $(VENV)/installed-dev requirements-fuzz.lock
	$(INSTALL) -r requirements-fuzz.lock
	touch $@

$(VENV)/installed-bench: $(VENV)/installed-dev requirements-bench.lock
	$(INSTALL) -r requirements-bench.lock
	touch $@

# An environment of its own: s3fs wants another botocore than the aws CLI. JavaScript packages only where npm is.
$(INTEROP)/installed: $(VENV)/created requirements-interop.lock pyproject.toml $(INTEROP_JS:%=%/package-lock.json)
	$(BIN)/python -m venv $(INTEROP)
	$(INTEROP_PIP) --only-binary :all: --require-hashes -r requirements-interop.lock
	$(INTEROP_PIP) --no-deps --no-build-isolation -e .
	if command -v npm >/dev/null; then for folder in $(INTEROP_JS); do \
		npm ci --prefix $$folder --ignore-scripts --no-audit --no-fund || exit 1; done; fi
	touch $@
