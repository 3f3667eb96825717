# `make` lists the targets. Everything is installed into .venv in this folder. The only file written outside it is
# ~/.ray/auth_token, the token that Ray requires: `make quickstart` and `make serve` create it if it does not exist.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STORAGE ?= storage
CATALOG ?=
# Two processes, each with a Ray of its own.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadscope
MKDOCS := $(BIN)/mkdocs build --strict --quiet

export MLFLOW_DISABLE_TELEMETRY := true
export RAY_USAGE_STATS_ENABLED := 0
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.PHONY: help install quickstart serve stop test test-all test-faults test-cluster benchmark check docs page format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Create .venv with all dependencies, in the versions of constraints.txt

$(VENV)/.installed: pyproject.toml constraints.txt platform/rayreel_ray.pth
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	cp platform/rayreel_ray.pth "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	@touch $@

quickstart: install ## From videos to recommendations over HTTP: make quickstart [CATALOG=folder-or-manifest]
	$(BIN)/rayreel quickstart --storage $(STORAGE) $(if $(CATALOG),--catalog $(CATALOG))

serve: install ## Start or update the HTTP service
	$(BIN)/rayreel serve --storage $(STORAGE)

stop: ## Stop the service and the local Ray cluster
	-@test ! -x $(BIN)/ray || $(BIN)/ray stop --grace-period 20 --log-style pretty

test: install ## Run the tests, in about ten minutes
	$(PYTEST)

test-all: install ## Run the slow tests too, as CI does: kills in the middle of work, fuzzing, the notebook
	$(PYTEST) -m "not faults and not cluster"

test-faults: install ## Run the long tests that `make test-all` leaves out: kills, lost nodes, fuzzing, the steps of the image
	$(BIN)/python -m pytest -m faults

test-cluster: install ## Run the tests on clusters of several nodes with simulated GPUs: placement, autoscaling, S3
	$(BIN)/python -m pytest tests/cluster -m "cluster or not cluster"

benchmark: install ## Compare rayreel with peers and limits, in ten to twenty minutes: make benchmark [CATALOG=folder-or-manifest]
	$(BIN)/python benchmarks/run.py --storage $(STORAGE) $(if $(CATALOG),--catalog $(CATALOG))

check: install ## Check lint, formatting, types, documentation and, where a database can be reached, vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MKDOCS)
	$(BIN)/python .ci/audit.py

docs: install ## Build the documentation into site/, after docs/configuration.md from the settings
	$(BIN)/python .ci/settings_page.py
	$(MKDOCS)

page: install ## Build the web page from web/ into serve_apps/page; needs Node.js 20
	$(BIN)/python .ci/page.py

format: install ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: stop ## Remove storage, caches and the environment
	rm -rf $(STORAGE) $(VENV) .rayreel-test .mypy_cache .ruff_cache .pytest_cache build dist site platform/*.egg-info
