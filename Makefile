# Two commands: `make demo` and `make test`. Each sets up all that it needs, once.

# The pinned packages have wheels for these versions of Python.
PYTHONS := 3.11 3.12
# The first one that runs: a version manager may have a name on the PATH for one that is not installed.
PYTHON ?= $(shell for v in $(PYTHONS); do python$$v -c "" 2> /dev/null && echo python$$v && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export HF_HUB_OFFLINE ?= 1

.PHONY: demo test paper docs reference gpu-check setup lint types unit integration e2e clean

# FAST=1 is the short demo.
demo: $(READY)
	$(BIN)/lapo demo $(if $(FAST),--fast)

# Two workers; those that start Ray share one (tests/conftest.py).
PYTEST := $(BIN)/pytest -n 2

test: lint types
	$(PYTEST) tests

# The paper's experiments in miniature; ARGS="--tables table1 --seeds 1" is a part of them.
paper: $(READY)
	PYTHONPATH=recipes $(BIN)/python recipes/mini_paper $(ARGS)

# Does training work on this machine's GPU? With the Python on the PATH, where `pip install -e ".[gpu]"` was run.
gpu-check:
	python benchmarks/gpu_check.py $(ARGS)

# The site, into outputs/site: strict (a broken link is an error), in an environment of its own.
DOCS_VENV := .venv-docs
docs: $(DOCS_VENV)/.ready
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --quiet --strict
	@echo "outputs/site/index.html"

$(DOCS_VENV)/.ready: requirements/docs.txt
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements/docs.txt
	touch $@

# The pages that are generated from YAML comments, dataclasses and the command line.
reference: $(READY)
	$(BIN)/python docs/reference/generate.py

setup: $(READY)

# Versions are pinned as a whole in requirements/cpu.txt, hence --no-deps.
$(READY): requirements/cpu.txt pyproject.toml
	@version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])') || version="not installed"; \
	case " $(PYTHONS) " in *" $$version "*) ;; *) \
	    echo "make needs Python $(subst $() , or ,$(PYTHONS)), and $(PYTHON) is $$version." \
	        "Install one of them, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1 ;; esac
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements/cpu.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(READY)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	$(PYTEST) tests/unit

integration: $(READY)
	$(PYTEST) tests/integration

e2e: $(READY)
	$(BIN)/pytest tests/e2e

clean:
	rm -rf $(VENV) $(DOCS_VENV) outputs build dist
