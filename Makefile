# The whole developer interface: `make` or `make help` lists it.
# Nothing is needed beforehand but Python 3.11 or newer; PYTHON=... says which one.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
.DEFAULT_GOAL := help

PYTHON ?=
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PIP_FAILED := echo "install: pip failed; its reason stands above, and 'make' tries again" >&2; exit 1
COVERAGE := $(BIN)/python -m coverage

# What `make test` asks of branch coverage, in percent: of everything, and of the pure heart.
COVER_ALL := 90
PURE := otflow/core/*,otflow/records/*

.PHONY: help demo test check fmt fmt-check lint imports types docs dashboards bench clean \
  stack stack-down demo-traced integration

help: ## list the targets
	@echo "usage: make <target> [PYTHON=/path/to/python3.11]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## run a workflow and show its trace; needs no server and no key
	@echo "demo: running otflow demo"
	@$(BIN)/otflow demo

test: $(VENV)/.installed-dev ## run every test, and ask for the coverage
	@echo "test: running the whole suite"
	@$(COVERAGE) erase
	@$(BIN)/python -m pytest --cov --cov-report= --cov-fail-under=$(COVER_ALL)
	@$(COVERAGE) report --include='$(PURE)' --fail-under=100 > $(VENV)/coverage.txt \
	  || { cat $(VENV)/coverage.txt; echo "test: these branches of $(PURE) are not tested; 100 % are asked for"; exit 1; }

check: fmt-check lint imports types docs test ## everything that a change has to pass

fmt: $(VENV)/.installed-dev ## format the code
	@echo "fmt: sorting imports, dropping silencers that silence nothing, formatting"
	@$(BIN)/python -m ruff check --quiet --select I,Q,RUF100 --fix --exit-zero .
	@$(BIN)/python -m ruff format .

fmt-check: $(VENV)/.installed-dev ## say what `make fmt` would change
	@echo "fmt-check: comparing with what the formatter writes"
	@$(BIN)/python -m ruff format --check .

lint: $(VENV)/.installed-dev ## check the style
	@echo "lint: checking the style"
	@$(BIN)/python -m ruff check .

imports: $(VENV)/.installed-dev ## check that imports point one way
	@echo "imports: checking the contracts of pyproject.toml"
	@$(BIN)/lint-imports --no-logo --no-cache

types: $(VENV)/.installed-dev ## check the types
	@echo "types: checking the package and the user's view of it"
	@$(BIN)/python -m mypy otflow stack $(wildcard tests/typing)

docs: $(VENV)/.installed-dev ## run the examples of README, docs and docstrings; follow the links
	@echo "docs: running every example, following every link"
	@$(BIN)/python -m pytest --quiet tests/test_docs.py

dashboards: $(VENV)/.installed ## write the dashboards and rules that are kept in grafana/
	@echo "dashboards: writing grafana/dashboards and grafana/prometheus/rules"
	@$(BIN)/otflow dashboards --output grafana

# Collector, Jaeger, Phoenix and Prometheus, as processes on loopback; what they are is made once for the machine.

stack: $(BIN)/python ## start Jaeger, Phoenix, Prometheus and a collector, and say where to look
	@$(BIN)/python -m stack up

stack-down: $(BIN)/python ## end exactly what `make stack` started
	@$(BIN)/python -m stack down

demo-traced: $(VENV)/.installed ## run the demo into the stack, and give links to its run
	@$(BIN)/python -m stack demo

integration: $(VENV)/.installed-dev ## run the tests that need real servers; CI=true: none may be missing
	@echo "integration: seeing to the servers"
	@$(BIN)/python -m stack install || [ "$${CI:-}" != true ]
	@echo "integration: running the tests against them"
	@$(BIN)/python -m pytest -m integration -o faulthandler_timeout=600 $(ARGS)

bench: $(VENV)/.installed ## measure the speed beside others; ARGS="--quick" and more: see bench/
	@echo "bench: measuring; close other programs for steady numbers"
	@$(BIN)/python bench/run.py $(ARGS)

clean: ## remove caches and reports, not the environment
	@echo "clean: removing caches and reports"
	@rm -rf build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache \
	  .pytest_cache .ruff_cache
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

# The environment: made once, brought up to date when pyproject.toml changes.

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "install: otflow into $(VENV)"
	@$(PIP) --editable . || { $(PIP_FAILED); }
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "install: otflow and the developer's tools into $(VENV)"
	@$(PIP) --editable '.[dev]' || { $(PIP_FAILED); }
	@touch $@ $(VENV)/.installed

$(BIN)/python:
	@python=''; \
	for name in $(PYTHONS); do \
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "otflow needs Python 3.11 or newer, but $(firstword $(PYTHONS)) is" \
	    "$$($(firstword $(PYTHONS)) --version 2> /dev/null || echo missing)." \
	    "Name one that fits: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	echo "venv: making $(VENV) with $$python ($$("$$python" --version))"; \
	fresh=yes; [ ! -e $(VENV) ] || fresh=no; \
	"$$python" -m venv $(VENV) || { \
	  [ $$fresh = no ] || rm -rf $(VENV); \
	  echo "venv: $$python cannot make one; on Debian and Ubuntu this helps: apt install python3-venv" >&2; \
	  exit 1; }
