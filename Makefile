# `make demo` and `make test` set up everything they need; python3.11+, pip and make are enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SETUP  := $(VENV)/.installed

# What one process has compiled, the many that the tests start need not compile again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test format lint types imports postgres prometheus pytest bench chaos docs dashboards lock clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(SETUP) ## Create the environment from the lock file

$(SETUP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Lucid needs Python 3.11 or newer; run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up $(VENV) (once; about a minute) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(SETUP) ## Play one scenario unsupervised and supervised, offline, without an API key
	@$(BIN)/lucid demo

test: format lint types imports pytest ## Run every check

format: $(SETUP) ## Check the formatting
	$(BIN)/ruff format --check .

lint: $(SETUP) ## Lint
	$(BIN)/ruff check .

types: $(SETUP) ## Check the types
	$(BIN)/mypy

imports: $(SETUP) ## Check the import contracts
	$(BIN)/lint-imports

postgres: ## Install PostgreSQL, which tests start servers of, if it is missing and can be had
	@command -v initdb >/dev/null || test -x "$$(pg_config --bindir 2>/dev/null)/initdb" \
	  || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && exit; \
	if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
	  echo "Installing PostgreSQL for the tests (once) ..."; \
	  apt-get update -qq >/dev/null; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends postgresql \
	    >/dev/null && exit; \
	fi; \
	echo "Going on without PostgreSQL, so its tests are skipped; install your system's package" \
	  "of the server (Debian: postgresql, Fedora: postgresql-server, Homebrew: postgresql)" >&2

prometheus: ## Install Prometheus, which tests the rules, if it is missing and can be had
	@command -v promtool >/dev/null && command -v prometheus >/dev/null && exit; \
	if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
	  echo "Installing Prometheus for the tests (once) ..."; \
	  apt-get update -qq >/dev/null; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends \
	    prometheus >/dev/null && exit; \
	fi; \
	echo "Going on without Prometheus, so its tests are skipped; install your system's package" \
	  "of it, with promtool (Debian, Homebrew: prometheus)" >&2

# Without worksteal, the first worker is handed all of tests/acceptance, and the others wait for it.
pytest: $(SETUP) postgres prometheus ## Run the tests
	$(BIN)/pytest -n auto --dist worksteal

bench: $(SETUP) ## Measure; writes bench.json
	$(BIN)/python -m tests.bench

chaos: $(SETUP) postgres ## Kill workers, lose stores, and measure what survives; writes chaos.json
	$(BIN)/python -m tests.chaos

docs: $(SETUP) ## Write docs/detectors.md, docs/metrics.md and docs/openapi.json from the code
	$(BIN)/python -m supervisor.docs > docs/detectors.md.new
	@mv docs/detectors.md.new docs/detectors.md
	$(BIN)/python -m supervisor.metrics_page > docs/metrics.md.new
	@mv docs/metrics.md.new docs/metrics.md
	$(BIN)/python -m supervisor.service.openapi > docs/openapi.json.new
	@mv docs/openapi.json.new docs/openapi.json

dashboards: $(SETUP) ## Write dashboards/grafana, dashboards/prometheus and deploy's copies from their sources
	$(BIN)/python -m dashboards.source.build
	$(BIN)/python -m deploy.build

lock: $(SETUP) ## Pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra otel --extra embeddings --universal --generate-hashes --upgrade \
	  --no-header --no-annotate --quiet --output-file requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra otel --constraint requirements.lock --universal --generate-hashes \
	  --no-header --no-annotate --quiet --output-file deploy/requirements.lock
	echo hatchling | $(BIN)/uv pip compile - --constraint requirements.lock --universal --generate-hashes \
	  --no-header --no-annotate --quiet --output-file deploy/build.lock

clean: ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist
