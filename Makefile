.DEFAULT_GOAL := help
.PHONY: mpi-environment help env test-env run test test-serial test-mpi lint docs clean

include tools/mpi-environment.mk

RANKS ?= 4
TEST_RANKS ?= 1 2 3 4 6
TEST_WORKERS ?= 2
PYTHON := .venv/bin/python

help:
	@echo 'make run    set up what is missing, then compute the default gradient (RANKS=$(RANKS))'
	@echo 'make test   set up what is missing, then run all tests (TEST_RANKS="$(TEST_RANKS)")'
	@echo 'make env    the set-up alone'
	@echo 'make mpi-environment   print what mpiexec needs to be told here, for eval "$$(...)"'
	@echo 'make lint   style, types and shell scripts'
	@echo 'make docs   build the documentation, into docs/build/html'
	@echo 'make clean  remove .venv, output and caches'

env:
	@tools/set-up

run: env
	@mpiexec -n $(RANKS) $(PYTHON) -m burgers_adjoint gradient

test: test-serial test-mpi

test-env: env
	@tools/add-group test checkpoint_schedules h5netcdf hypothesis jax jinja2 netCDF4 pysz pytest \
		pytest_mpi pytest_timeout scipy vtk xarray xdist

test-serial: test-env
	@$(PYTHON) -m pytest --quiet --numprocesses=$(TEST_WORKERS) $(PYTEST_ARGS)

test-mpi: test-env
	@set -e; for n in $(TEST_RANKS); do tools/mpi-tests $$n $(PYTEST_ARGS); done

lint: env
	@tools/add-group dev mypy ruff
	@$(PYTHON) -m ruff check --quiet
	@$(PYTHON) -m ruff format --check --quiet
	@$(PYTHON) -m mypy
	@shellcheck .ci/run tools/set-up tools/mpi-tests tools/add-group tools/test-mpich tools/test-wheel tools/try-debian tools/slurm-chain containers/prepare containers/enter
	@shellcheck --external-sources jobs/*

docs: env
	@tools/add-group docs checkpoint_schedules furo h5netcdf jax myst_parser netCDF4 scipy sphinx vtk xarray
	@$(PYTHON) -m sphinx --fail-on-warning --keep-going --quiet docs docs/build/html
	@echo 'docs/build/html/index.html is the first page'

mpi-environment:
	@sed -n 's/^export \([A-Z0-9_a-z]*\) ?= \(.*\)/export \1="$${\1:-\2}"/p' tools/mpi-environment.mk

clean:
	rm -rf .venv build docs/build output *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
