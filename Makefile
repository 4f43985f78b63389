# make demo: trains on real data, recommends, and writes a report.   make test: lint, format and tests.
# make test-long: the tests that take minutes.   make dist: a wheel and an sdist in dist/.
# make mutants: changes the code at one place after the other, and lists the changes that no test notices (hours).
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

# Names of mutants or patterns of them, such as lgcn_jax.losses*; none: all of which no result is stored yet.
MUTANTS ?=

.PHONY: demo test test-long lint dist mutants clean

demo: .venv/core
	$(BIN)/python -m lgcn_jax train --flagfile=experiments/recipes/demo.flags --workdir=runs/demo --overwrite
	$(BIN)/python -m lgcn_jax recommend --workdir=runs/demo --user=7,42,405 --k=5
	$(BIN)/python -m lgcn_jax report --workdir=runs/demo

# Most of a test is compilation, which takes one core.
test: .venv/test lint
	$(BIN)/python -m pytest --numprocesses=$(WORKERS)

test-long: .venv/test
	$(BIN)/python -m pytest -m long

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

dist: .venv/test
	$(BIN)/python -m build --outdir dist .

# Results are kept in mutants/, so that a run that was stopped goes on. Without the published data sets.
mutants: export PYTHONPATH = $(CURDIR)/experiments/reliability
mutants: export LGCN_JAX_DATA =
mutants: .venv/mutants
	nice $(BIN)/mutmut run --max-children $(WORKERS) $(MUTANTS)
	$(BIN)/python experiments/reliability/mutation.py

clean:
	rm -rf mutants .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

.venv/core: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/test: .venv/core
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

.venv/mutants: .venv/test
	$(BIN)/python -m pip install --quiet --editable '.[test,mutants]'
	touch $@
