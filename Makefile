# `make` shows what there is. Everything installs into .venv here. Outside this folder only ~/.ray/auth_token is written:
# the token that Ray requires, which `make quickstart` and `make serve` make where there is none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STORAGE ?= storage
CATALOG ?=

export MLFLOW_DISABLE_TELEMETRY := true
export RAY_USAGE_STATS_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help install quickstart serve stop test test-faults test-cluster check format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Make .venv with everything in it, in the versions of constraints.txt

$(VENV)/.installed: pyproject.toml constraints.txt platform/rayreel_ray.pth
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	cp platform/rayreel_ray.pth "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	@touch $@

quickstart: install ## From videos to recommendations over HTTP: make quickstart [CATALOG=folder-or-manifest]
	$(BIN)/python jobs/quickstart.py --storage $(STORAGE) $(if $(CATALOG),--catalog $(CATALOG))

serve: install ## Start or update the HTTP service
	$(BIN)/python jobs/serve.py --storage $(STORAGE)

stop: ## End the service and the local Ray cluster
	-@test ! -x $(BIN)/ray || $(BIN)/ray stop --grace-period 20 --log-style pretty

test: install ## Run all tests
	$(BIN)/python -m pytest

test-faults: install ## Run the long tests that `make test` leaves out: kills, lost nodes, fuzzing, the steps of the image
	$(BIN)/python -m pytest -m faults

test-cluster: install ## Run the tests on clusters of several nodes, GPUs pretended: placement, autoscaling, the chain on S3
	$(BIN)/python -m pytest tests/cluster -m "cluster or not cluster"

check: install ## Lint, formatting, types, and known faults of what is installed, where a database can be asked
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python .ci/audit.py

format: install ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: stop ## Remove storage, caches and the environment
	rm -rf $(STORAGE) $(VENV) .rayreel-test .mypy_cache .ruff_cache .pytest_cache build dist platform/*.egg-info
