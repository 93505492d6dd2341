# `make help` lists the tasks. Everything is installed into .venv from this folder's own files.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two processes of one thread each: two of two threads slow each other on a small machine.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
SOURCES ?=
TASK ?=
FIGURES ?=
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install demo run paper test check bench audit-check figures site

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make run SOURCES=folder    the folder holds the collections, each in its published layout"

install: $(VENV)/installed ## install into .venv (done by the other tasks)

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cxrflow needs Python 3.11 or newer; name one: make demo PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV), a few minutes; PyTorch alone is several gigabytes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[imagenet,pacs,serve]'
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: STUDY ?= studies/demo
demo: install ## a study of drawn radiographs, made in studies/demo and run: make demo [STUDY=folder]
	test -d "$(STUDY)" || cxrflow init "$(STUDY)"
	$(run_study)

run: STUDY ?= studies/$(or $(TASK),real)
run: install ## a study of real collections, made and run: make run SOURCES=folder [TASK=pneumonia] [STUDY=folder]
	@test -n "$(SOURCES)" || { echo "name the folder that holds the collections: make run SOURCES=folder" >&2; exit 2; }
	test -d "$(STUDY)" || cxrflow init "$(STUDY)" --sources "$(SOURCES)" $(if $(TASK),--task "$(TASK)")
	@grep -qF "root: \"$$(cd "$(SOURCES)" && pwd)\"" "$(STUDY)/params.yaml" || { echo "$(STUDY) is a study of another folder (sources.root in its params.yaml); name a new one: STUDY=folder" >&2; exit 2; }
	$(run_study)

define run_study
cd "$(STUDY)" && dvc repro
@echo "Nothing was sent anywhere: DVC has no remote unless you set one."
@echo "Report: $(abspath $(STUDY))/results/report/index.html"
endef

paper: install ## the paper's table by DVC experiments, honest and leaky: make paper SOURCES=folder
	@test -n "$(SOURCES)" || { echo "name the folder that holds the collections: make paper SOURCES=folder" >&2; exit 2; }
	$(BIN)/python benchmarks/paper_table.py --sources "$(SOURCES)"

test: $(VENV)/tested ## all tests
	$(TESTS)

check: $(VENV)/tested ## style, types, tests
	ruff check
	ruff format --check
	mypy
	$(TESTS)

BENCHED = $(or $(SOURCES),$(if $(CXR_REAL_DATA),$(CXR_REAL_DATA)/sources,studies/demo/data/demo))
# Without SOURCES: the real collections that the tests use, else the drawn ones.
bench: install ## speed of images, training and serving against the paper's and the ceiling: make bench SOURCES=folder
	@test -n "$(SOURCES)$(CXR_REAL_DATA)" || test -d studies/demo || { cxrflow init studies/demo && cd studies/demo && dvc repro demo; }
	$(BIN)/python benchmarks/images.py "$(BENCHED)"
	$(BIN)/python benchmarks/training.py "$(BENCHED)"
	$(BIN)/python benchmarks/time_to_quality.py "$(BENCHED)"
	$(BIN)/python benchmarks/serving.py "$(BENCHED)"

audit-check: install ## shortcuts planted on purpose: does the audit find them, and nothing where there is none?
	$(BIN)/python benchmarks/audit_check.py

site: $(VENV)/tested ## the documentation as a site, to be read from a folder: build/site/index.html
	$(BIN)/python -m website.build

figures: $(VENV)/tested ## measure the tables of README and docs again: make figures SOURCES=folder [FIGURES="lungs coverage"]
	@test -n "$(SOURCES)" || { echo "name the folder that holds the collections: make figures SOURCES=folder" >&2; exit 2; }
	$(BIN)/python benchmarks/figures.py --sources "$(SOURCES)" $(FIGURES)

