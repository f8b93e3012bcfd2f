# ITLC: everything that the project does, by name. Needs Python 3.11 or newer and make; the rest is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := layers/core functions infra
# Asserts, keys of the emulator, jitter, processes, escaping, SQL of constants: ruff has the same rules, and each exception there has its
# reason beside it.
JUDGED_BY_RUFF := B101,B105,B106,B311,B404,B406,B603,B608
LOCAL := $(VENV)/.installed-local
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help up down clean test faults fuzz check format lock

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(LOCAL) ## Start everything, migrate, deploy, play the demo once; print the API's address
	@$(BIN)/itlc up

down: ## Stop what `make up` started, keep the data
	@if [ -x $(BIN)/itlc ]; then $(BIN)/itlc down; else echo "nothing to stop: nothing is installed"; fi

clean: ## Stop it and delete its data (downloads in the user's caches stay)
	@if [ -x $(BIN)/itlc ]; then $(BIN)/itlc down --clean; else echo "nothing to delete: nothing is installed"; fi

test: $(DEV) ## Run every test, on stores and ports of its own
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

CRASH_ROUNDS ?= 20

faults: $(DEV) ## Crash, duplicate, race and break the money's way in full (`make test` runs a share of it); takes long
	FAULTS=full CRASH_ROUNDS=$(CRASH_ROUNDS) $(BIN)/pytest -n 2 --dist worksteal --timeout 7200 --durations 0 tests/faults

FUZZ_EXAMPLES ?= 1000
FUZZ_SEED ?= 0

fuzz: $(DEV) ## Fuzz the API against its contract: FUZZ_EXAMPLES=1000 for each operation, FUZZ_SEED=0 for new values
	$(BIN)/python -m tests.fuzz.run --examples $(FUZZ_EXAMPLES) --seed $(FUZZ_SEED)

check: $(DEV) ## Format, lint, types, security, template, locks: what CI checks without running the system
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(SOURCES) tests
	$(BIN)/bandit --quiet --skip $(JUDGED_BY_RUFF) --recursive $(SOURCES)
	$(BIN)/itlc openapi --check
	$(BIN)/cfn-lint template.yaml $(wildcard infra/aws/*.yaml)
	$(BIN)/python infra/locks/check.py

format: $(DEV) ## Format the code and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(DEV) ## Renew the locks of Python packages from pyproject.toml
	PATH="$(CURDIR)/$(BIN):$$PATH" infra/locks/renew.sh

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "ITLC needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo missing)." >&2; \
	  echo "Name another one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian: python3-venv)." >&2; \
	  rm -rf $(VENV); exit 1; }

$(LOCAL): infra/locks/local.lock pyproject.toml | $(BIN)/python
	@echo "installing the locked packages (infra/locks/local.lock)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r infra/locks/local.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# The larger of the two sets: whoever has it has the other as well.
$(DEV): infra/locks/dev.lock infra/locks/local.lock pyproject.toml | $(BIN)/python
	@echo "installing the locked packages (infra/locks/dev.lock)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r infra/locks/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(LOCAL) $@
