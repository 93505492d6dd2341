# `make help` lists the tasks. Everything is installed into .venv from this folder's own files.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES ?=
export PATH := $(abspath $(BIN)):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help install demo run test check bench audit-check clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make run SOURCES=folder    the folder holds the collections, each in its published layout"

install: $(VENV)/installed ## install into .venv (done by the other tasks)

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cxrflow needs Python 3.11 or newer; name one: make demo PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# DVC keeps its cache in .dvc; outside a git checkout, as in a release archive, it must be told so.
.dvc/config.local:
	@test -e .git || $(BIN)/dvc config --local core.no_scm true
	@touch $@

demo: install .dvc/config.local ## the whole pipeline on built-in synthetic radiographs
	cxrflow configure --sources data/demo
	dvc repro report
	@echo "Report: $(abspath results/report/index.html)"

run: install .dvc/config.local ## the whole pipeline on real collections: make run SOURCES=folder
	@test -n "$(SOURCES)" || { echo "name the folder that holds the collections: make run SOURCES=folder" >&2; exit 2; }
	cxrflow configure --sources "$(SOURCES)" --overrides real
	dvc repro report
	@echo "Report: $(abspath results/report/index.html)"

test: $(VENV)/tested ## all tests
	$(BIN)/python -m pytest

check: $(VENV)/tested ## style, types, tests
	ruff check
	ruff format --check
	mypy
	$(BIN)/python -m pytest

# Without SOURCES: the real collections that the tests use, else the drawn ones.
bench: install ## speed against the paper's order of steps: make bench SOURCES=folder
	@test -n "$(SOURCES)$(CXR_REAL_DATA)" || test -d data/demo || cxrflow demo
	$(BIN)/python benchmarks/images.py "$(or $(SOURCES),$(if $(CXR_REAL_DATA),$(CXR_REAL_DATA)/sources,data/demo))"

audit-check: install ## shortcuts planted on purpose: does the audit find them, and nothing where there is none?
	$(BIN)/python benchmarks/audit_check.py

clean: ## remove what runs wrote in data/ and results/; .venv and the ledger of test sets stay
	rm -rf data
	find results -type f ! -name ledger.csv -delete 2>/dev/null || true
