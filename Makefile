# Nothing to install first but Python 3.11 or newer. `make` alone says what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PACKAGES := kernel eventstore projections actors bandit scoring gateway
# CI=1 installs exactly what requirements-ci.lock names; otherwise what pyproject.toml allows.
CI ?=

FIND_PYTHON = for name in "$${PYTHON:-}" python3.11 python3 python3.12 python3.13 python3.14; do \
	if [ -n "$$name" ] && "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "$$name"; exit 0; fi; done; \
	echo "make: no Python 3.11 or newer found (tried python3.11, python3, python3.12, python3.13, python3.14);" \
		"install one, or say make PYTHON=/path/to/python" >&2; exit 1
export PYTHON

.PHONY: help setup demo test check deep fmt bench docs lock

help: ## what there is
	@sed -n 's/^\([a-z]*\):.*## /\1 \t/p' $(MAKEFILE_LIST) | expand -t 8

setup: $(STAMP) ## make .venv, once
$(STAMP): pyproject.toml requirements-ci.lock
	@python="$$($(FIND_PYTHON))"; \
	if [ ! -x $(PY) ]; then \
		echo "make: creating $(VENV) with $$($$python --version)"; \
		"$$python" -m venv $(VENV) || { rm -rf $(VENV); \
			echo "make: $$python cannot make environments; on Debian: apt-get install python3-venv" >&2; exit 1; }; \
	fi
ifeq ($(CI),)
	@echo "make: installing leadwheel and what it needs into $(VENV)"
	@$(PY) -m pip install --quiet --upgrade 'pip>=25.1'
	@$(PY) -m pip install --quiet --editable . --group dev
else
	@echo "make: installing exactly requirements-ci.lock into $(VENV)"
	@$(PY) -m pip install --quiet --requirement requirements-ci.lock
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
endif
	@touch $@

demo: $(STAMP) ## a year of real data through the service, then the service itself
	$(VENV)/bin/leadwheel demo --data-dir demo-data

test: $(STAMP) ## all tests but the long ones; what cannot run here is named
	@for tool in strace wrk git java mvn openssl; do command -v $$tool >/dev/null || \
		echo "make: WARNING: $$tool is not installed; the tests that need it are skipped and listed below" >&2; done
	$(PY) -m pytest -n 2 --dist loadgroup -m "not deep" -rsfE -q

deep: $(STAMP) ## the tests that are too long for CI
	$(PY) -m pytest -m deep -rsfE --timeout 3600 -v

check: $(STAMP) ## lint, format, types, layers, completeness of the documentation: under a minute
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PY) -m pytest -q tests/architecture tests/docs/test_reference.py tests/docs/test_links.py

fmt: $(STAMP) ## format, and mend what can be mended
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .

bench: $(STAMP) ## every benchmark with its peer beside it, a table at the end
	$(PY) -m bench

docs: $(STAMP) ## write docs/reference from the code
	$(PY) docs/generate.py

lock: ## resolve anew what CI installs
	@python="$$($(FIND_PYTHON))"; .ci/lock "$$python"
