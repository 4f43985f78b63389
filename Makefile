# make demo: trains on real data and prints its metrics.   make test: lint, format and tests.
# make test-long: the tests that take minutes.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

.PHONY: demo test test-long lint clean

demo: .venv/core
	$(BIN)/python -m lgcn_jax train --flagfile=experiments/recipes/demo.flags --workdir=runs/demo --overwrite

# Most of a test is compilation, which takes one core.
test: .venv/test lint
	$(BIN)/python -m pytest --numprocesses=$(WORKERS)

test-long: .venv/test
	$(BIN)/python -m pytest -m long

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis

.venv/core: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/test: .venv/core
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@
