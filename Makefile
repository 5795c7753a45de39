# make run     set up .venv and run the main job: EGGROLL on Brax ant
# make test    set up .venv and run the tests
# make check   what CI runs: formatting, lint, types, import directions, tests
# make bench   measure speed, start-up and memory side by side (ARGS=--quick: under 3 minutes)
# make faults  kill, damage and refuse on purpose; nothing may be lost (ARGS=--quick: minutes)
# make claims  docs/claims.md and its figures, from the recorded reproductions
# make example install and test examples/plugin in an environment of its own
# ARGS="..."   is passed on to the run, to pytest, or to the benchmark

PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
QUIET := --disable-pip-version-check --quiet
PIP := $(BIN)/python -m pip $(QUIET)
EXAMPLE ?= build/example

.PHONY: run bench test test-all learning faults claims example lint check format lock clean

run: $(VENV)/.run
	$(BIN)/python -m rlbench.run --env ant --algo eggroll $(ARGS)

bench: $(VENV)/.dev
	$(BIN)/python -m rlbench bench $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not learning" $(ARGS)

test-all: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not learning" $(ARGS)

# Full training runs: against the thresholds of sweeps/learning.toml, and PPO beside Brax's; over an
# hour on 2 cores.
learning: $(VENV)/.dev
	$(BIN)/python -m pytest -m learning -s $(ARGS)

faults: $(VENV)/.dev
	$(BIN)/python -m tests.faults $(ARGS)

claims: $(VENV)/.dev
	$(BIN)/python -m rlbench reproduce table --out results/recorded

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# One lock for Python 3.11 (jax 0.10) and 3.12 (jax 0.11): what the tests ran with.
lock:
	uv pip compile --universal --python-version 3.11 --no-annotate --quiet \
		--custom-compile-command "make lock" pyproject.toml -o requirements.lock
	uv pip compile --universal --python-version 3.11 --no-annotate --quiet --group dev \
		--custom-compile-command "make lock" -c requirements.lock \
		--all-extras pyproject.toml -o requirements-dev.lock

# A third party's distribution beside an installed rlbench, in an environment of its own.
example: $(EXAMPLE)/.installed
	cd examples/plugin && $(CURDIR)/$(EXAMPLE)/bin/python -m pytest -q
	$(EXAMPLE)/bin/rlbench check one_plus_one_es example/point-mass
	$(EXAMPLE)/bin/rlbench run --env example/point-mass --algo one_plus_one_es --seed 1 \
		--out build/example-results --overwrite

$(EXAMPLE)/.installed: requirements.lock requirements-dev.lock pyproject.toml FORCE
	@test -n "$(PYTHON)" || { echo "rlbench needs Python 3.11 or 3.12 (set PYTHON=...)"; exit 2; }
	@rm -rf build/lib
	test -x $(EXAMPLE)/bin/python || $(PYTHON) -m venv $(EXAMPLE)
	$(EXAMPLE)/bin/python -m pip $(QUIET) install --no-deps -r requirements.lock
	$(EXAMPLE)/bin/python -m pip $(QUIET) install pytest -c requirements-dev.lock
	$(EXAMPLE)/bin/python -m pip $(QUIET) install --no-deps --force-reinstall . ./examples/plugin
	@touch $@

.PHONY: FORCE
FORCE:

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "rlbench needs Python 3.11 or 3.12 (set PYTHON=...)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python requirements.lock pyproject.toml
	@echo "installing into $(VENV) (about a minute and 1 GB the first time)"
	$(PIP) install --no-deps -r requirements.lock
	$(PIP) install --no-deps --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	$(PIP) install --no-deps -r requirements-dev.lock
	@touch $@
