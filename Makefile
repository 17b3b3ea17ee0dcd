# One command: `make`. CI runs these targets and nothing else, so a green laptop means a green build.

PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
READERS := .venv-readers
AIRFLOW := .venv-airflow
INFRA := .venv-infra
DOCS := .venv-docs
SNOWFLAKE := .venv-snowflake
RELEASE := .venv-release
DEPLOYED := .venv-deployed
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
# Written when an installation is complete, so that a broken one is repeated.
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
PEERS_INSTALLED := $(PEERS)/.installed
READERS_INSTALLED := $(READERS)/.installed
AIRFLOW_INSTALLED := $(AIRFLOW)/.installed
INFRA_INSTALLED := $(INFRA)/.installed
DOCS_INSTALLED := $(DOCS)/.installed
SNOWFLAKE_INSTALLED := $(SNOWFLAKE)/.installed
RELEASE_INSTALLED := $(RELEASE)/.installed
DEPLOYED_INSTALLED := $(DEPLOYED)/.installed

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := check
.DELETE_ON_ERROR:

.PHONY: check
check: fmt-check lint types test  ## All checks: format, lint, types, tests (what plain `make` does)

.PHONY: help
help:  ## This list
	@awk -F ':.*##  *' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: $(DEV)  ## Make .venv with everything a contributor needs

.PHONY: setup-demo
setup-demo: $(RUNTIME)  ## Make .venv with what the app itself needs

.PHONY: demo
demo: $(RUNTIME)  ## Load a made-up export into a local warehouse and show what happened
	@$(BIN)/sluice demo

.PHONY: demo-csv
demo-csv: $(RUNTIME)  ## Import a made-up CSV: preview, load, rejects, reload
	@$(BIN)/python -m shared.cli.demo_csv

.PHONY: demo-page
demo-page: $(RUNTIME)  ## Load the demo's exports if need be, and show the status page of its warehouse in the browser
	@test -e .sluice/demo/warehouse.duckdb || $(BIN)/sluice demo
	@WAREHOUSE_URL=duckdb:///.sluice/demo/warehouse.duckdb LEDGER_URL=sqlite:///.sluice/demo/ledger.db STATE_URL=.sluice/demo/state \
		$(BIN)/sluice status --serve

.PHONY: demo-db
demo-db: $(DEV)  ## Sync a made-up database: full, incremental, deletions, backfill (brings its own MariaDB)
	@$(BIN)/python -m tests.demo_db

.PHONY: demo-lake
demo-lake: $(DEV)  ## Sync two made-up databases into a data lake, kill it, repair it, look back (brings its own servers)
	@$(BIN)/python -m tests.demo_lake

.PHONY: host
host: $(DEV)  ## Run the functions in Azure Functions Core Tools over Azurite, and load an export there
	@$(BIN)/python -m tests.local_host

.PHONY: fmt
fmt: $(DEV)  ## Format the code and sort its imports
	$(BIN)/ruff check --quiet --select I --fix .
	$(BIN)/ruff format .

.PHONY: fmt-check
fmt-check: $(DEV)  ## Say whether the code is formatted
	$(BIN)/ruff format --check .

.PHONY: lint
lint: $(DEV)  ## Look for mistakes (ruff)
	$(BIN)/ruff check .

.PHONY: types
types: $(DEV)  ## Check types (mypy, strict)
	$(BIN)/mypy

.PHONY: deploy
deploy: $(RUNTIME)  ## Deploy to Azure; ARGS="--group rg-sluice --location westeurope" (docs/deploying.md)
	@$(BIN)/python -m infra.deploy up $(ARGS)

.PHONY: options
options:  ## Write the table of the template's parameters, docs/template.md
	@$(PYTHON) infra/options.py

# checkov logs, as errors, that some of its own rules cannot read a resource with a condition.
.PHONY: infra-check
infra-check:  ## Scan the templates of infra/ for mistakes (checkov, in its own .venv-infra)
	@if $(MAKE) $(INFRA_INSTALLED); then LOG_LEVEL=CRITICAL $(INFRA)/bin/checkov --directory infra --config-file infra/checkov.yaml; \
		else echo "checkov cannot be installed here: the templates are not scanned." >&2; fi

# The variable silences an advertisement of the theme's next version.
.PHONY: docs
docs:  ## Build the documentation as a site in build/site, strictly (in its own .venv-docs)
	@if $(MAKE) $(DOCS_INSTALLED); then NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet; \
		else echo "mkdocs cannot be installed here: the site is not built." >&2; fi

# Each worker, and each process that a test starts, reads compiled files rather than compiling the sources again.
test test-slow: export PYTHONDONTWRITEBYTECODE =

.PHONY: test
test: $(DEV)  ## Run the tests but the slow ones, on two cores; ARGS="-k merge" goes to pytest
	$(BIN)/python -m pytest -m "not slow and not bench" -n 2 --dist worksteal $(ARGS)

.PHONY: test-slow
test-slow: $(DEV)  ## Run the slow tests, on two cores, those that take a minute first
	$(BIN)/python -m pytest -m "slow and not bench" -n 2 --dist worksteal $(ARGS) || [ $$? -eq 5 ]  # 5: there is none

.PHONY: test-standins
test-standins: $(DEV)  ## Run the tests of what stands in for servers and hosts (tests/standins/README.md)
	$(BIN)/python -m pytest tests/standins $(ARGS)

.PHONY: cov
cov: $(DEV)  ## Run the tests, slow ones too, and show what they do not reach
	$(BIN)/python -m pytest -m "not bench" --cov --cov-report=term-missing $(ARGS)

.PHONY: bench
bench: $(DEV)  ## Measure against plain SQL, and against peers where installed
	$(BIN)/python -m bench $(ARGS)

.PHONY: bench-peers
bench-peers: $(PEERS_INSTALLED)  ## Install the peers to measure against, in their own .venv-peers

.PHONY: readers
readers: $(READERS_INSTALLED)  ## Install Spark and others that read a lake, in their own .venv-readers, for the slow tests

.PHONY: airflow
airflow: $(AIRFLOW_INSTALLED)  ## Install Airflow in its own .venv-airflow, for the slow tests

.PHONY: snowflake
snowflake: $(SNOWFLAKE_INSTALLED)  ## Install a stand-in for Snowflake in its own .venv-snowflake, for the slow tests

# From a folder of its own, so that the wheel is imported and not this checkout.
.PHONY: package
package: $(RUNTIME)  ## Build the wheel, and list the feeds with what is in it
	@rm -rf build dist
	@$(PIP) wheel --no-deps --wheel-dir dist .
	@$(PIP) install --no-deps --target dist/unpacked dist/sluice-*.whl
	@cd dist && PYTHONPATH=unpacked ../$(BIN)/python -c "import shared, sys; sys.exit('unpacked' not in shared.__file__)"
	@cd dist && PYTHONPATH=unpacked ../$(BIN)/python -m shared feeds
	@rm -rf build dist/unpacked

# Of the commit that is checked out, whatever else lies about. The same commit gives the same bytes: the tools are
# pinned, and each file in wheel and archive has the time of the commit.
.PHONY: release
release: $(RELEASE_INSTALLED) $(DEPLOYED_INSTALLED)  ## Build wheel, app and list of components of this commit, with checksums, into dist
	@git diff --quiet HEAD || { echo "There are changes that no commit has: commit or stash them first." >&2; exit 1; }
	@rm -rf build dist && mkdir -p build/source dist
	@git archive HEAD | tar -x -C build/source
	@version=$$($(RELEASE)/bin/python -m setuptools_scm) && export SETUPTOOLS_SCM_PRETEND_VERSION=$$version && \
		SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(RELEASE)/bin/python -m build --wheel --no-isolation --outdir dist build/source >build/log 2>&1 && \
		git archive --format=zip --output dist/sluice-app-$$version.zip HEAD function_app.py host.json requirements.txt shared && \
		$(RELEASE)/bin/cyclonedx-py environment --output-reproducible --output-file dist/sluice-$$version.cdx.json $(DEPLOYED)/bin/python
	@cd dist && sha256sum sluice* | tee SHA256SUMS
	@rm -rf build

# What may be part of an app that its owner does not publish. mssql-python is left out: its files are under MIT, which
# its metadata does not say, and Microsoft's driver in mssql-python-odbc has terms of its own, which allow to use it.
LICENSES := MIT;BSD;Apache;Unlicense;LGPL;MPL;ISC;PSF;Python Software Foundation;Zlib;Freely Distributable;Public Domain
.PHONY: audit
audit: $(RELEASE_INSTALLED) $(DEPLOYED_INSTALLED)  ## Look for known vulnerabilities and unwanted licences of what is deployed
	@$(RELEASE)/bin/pip-licenses --python $(DEPLOYED)/bin/python --from=mixed --partial-match --allow-only "$(LICENSES)" \
		--ignore-packages mssql-python mssql-python-odbc >/dev/null && echo "The licences of all packages are among those allowed."
	@$(RELEASE)/bin/pip-audit --strict --progress-spinner off --path $$($(DEPLOYED)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

.PHONY: clean
clean:  ## Remove what make made; your data in .sluice stays
	rm -rf $(VENV) $(PEERS) $(READERS) $(AIRFLOW) $(INFRA) $(DOCS) $(SNOWFLAKE) $(RELEASE) $(DEPLOYED) *.egg-info build dist .coverage htmlcov .hypothesis
	rm -rf .cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- how the environments are made -----------------------------------------------------------------

# $(call make-venv,FOLDER): say in one line what is missing, rather than leave half an environment.
define make-venv
	@command -v "$(PYTHON)" >/dev/null || \
		{ echo "No $(PYTHON) here. Install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v <= (3, 13))' || \
		{ echo "Sluice runs on Python 3.11 to 3.13, $(PYTHON) is $$("$(PYTHON)" --version 2>&1). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make environments: its venv module is missing. Install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@"$(PYTHON)" -m venv --clear $(1)
endef

$(BIN)/python:
	$(call make-venv,$(VENV))

.venv-%/bin/python:
	$(call make-venv,.venv-$*)

$(RUNTIME): requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing what the app needs into $(VENV) ..."
	@$(PIP) install -r requirements.txt
	@$(PIP) install --no-deps -e .
	@touch $@

$(DEV): requirements-dev.txt requirements-tsql.txt $(RUNTIME)
	@echo "Installing what contributors need into $(VENV) ..."
	@$(PIP) install -r requirements-dev.txt
	@$(PIP) install --no-deps -r requirements-tsql.txt || echo "No T-SQL parser here: its tests will be skipped."
	@touch $@

$(PEERS_INSTALLED): bench/requirements-peers.txt | $(PEERS)/bin/python
	@echo "Installing peers into $(PEERS) ..."
	@$(PEERS)/bin/python -m pip -qq --disable-pip-version-check install -r bench/requirements-peers.txt
	@touch $@

$(READERS_INSTALLED): integrations/spark/requirements.txt | $(READERS)/bin/python
	@echo "Installing readers into $(READERS) ..."
	@$(READERS)/bin/python -m pip -qq --disable-pip-version-check install -r integrations/spark/requirements.txt
	@touch $@

$(AIRFLOW_INSTALLED): integrations/airflow/requirements.txt | $(AIRFLOW)/bin/python
	@echo "Installing Airflow into $(AIRFLOW) ..."
	@$(AIRFLOW)/bin/python -m pip -qq --disable-pip-version-check install -r integrations/airflow/requirements.txt
	@touch $@

$(INFRA_INSTALLED): infra/requirements.txt | $(INFRA)/bin/python
	@echo "Installing checkov into $(INFRA) ..."
	@$(INFRA)/bin/python -m pip -qq --disable-pip-version-check install -r infra/requirements.txt
	@touch $@

$(DOCS_INSTALLED): docs/requirements.txt | $(DOCS)/bin/python
	@echo "Installing what builds the site into $(DOCS) ..."
	@$(DOCS)/bin/python -m pip -qq --disable-pip-version-check install -r docs/requirements.txt
	@touch $@

$(SNOWFLAKE_INSTALLED): integrations/snowflake/requirements.txt requirements-snowflake.txt requirements.txt | $(SNOWFLAKE)/bin/python
	@echo "Installing a stand-in for Snowflake into $(SNOWFLAKE) ..."
	@$(SNOWFLAKE)/bin/python -m pip -qq --disable-pip-version-check install -r integrations/snowflake/requirements.txt
	@touch $@

$(RELEASE_INSTALLED): requirements-release.txt | $(RELEASE)/bin/python
	@echo "Installing what releases are built with into $(RELEASE) ..."
	@$(RELEASE)/bin/python -m pip -qq --disable-pip-version-check install -r requirements-release.txt
	@touch $@

# Without pip itself, which is not deployed either.
$(DEPLOYED_INSTALLED): requirements.txt | $(DEPLOYED)/bin/python
	@echo "Installing what is deployed into $(DEPLOYED) ..."
	@$(DEPLOYED)/bin/python -m pip -qq --disable-pip-version-check install -r requirements.txt
	@$(DEPLOYED)/bin/python -m pip -qq uninstall --yes pip setuptools
	@touch $@
