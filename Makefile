# The names below are the contract: people, continuous integration and documents call these and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help run install fix check test test-faults bench docs smoke clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(INSTALLED) ## Pretrain, extract, evaluate and report on embedded data (about a minute)
	$(BIN)/tb run digits_stack

install: $(INSTALLED) ## Set up .venv with the pinned versions

# A second call does nothing: the stamp is newer than what it depends on.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 install")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)

fix: $(INSTALLED) ## Format the code and mend what the linter can mend
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

check: $(INSTALLED) ## Format, lint, types, layers, documents up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

# One process per core, each with one thread for torch and BLAS (tests/conftest.py).
test: $(INSTALLED) ## All tests that need neither a GPU nor the network
	$(BIN)/python -m pytest -m "not gpu" -n auto --maxprocesses 4 --dist worksteal

test-faults: $(INSTALLED) ## The long versions of the crash, disk and bit-flip tests (about ten minutes)
	TB_FAULTS=long $(BIN)/python -m pytest tests/faults tests/training/test_members.py

bench: $(INSTALLED) ## Measurements side by side, each with the machine it ran on
	for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

docs: $(INSTALLED) ## Write the generated documents anew
	$(BIN)/python docs/generate.py

smoke: $(INSTALLED) ## Build the wheel, install it into a fresh environment, run it from another folder
	$(BIN)/python tests/smoke.py

clean: ## Remove what was built and installed; descriptors and results in TB_HOME stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find transferbench tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
