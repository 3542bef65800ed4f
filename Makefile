VENV := .venv
BARE := .venv-bare
# The first of these that runs and is supported; python3 otherwise, so that setup.py can say what is wrong with it.
PYTHON ?= $(shell for p in python3.11 python3.10 python3.9; do $$p -c '' 2>/dev/null && echo $$p && break; done || echo python3)
PYTEST := GFL_TF_BARE_PYTHON=$(abspath $(BARE)/bin/python) $(VENV)/bin/python -m pytest

# Errors of the TensorFlow runtime stay, its start-up notes go.
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help train test test-slow lint clean

help:  ## list the targets (the default)
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

train: $(VENV)/installed  ## set up, train GFLv2 on synthetic shapes, evaluate, draw, export
	$(VENV)/bin/python bin/quickstart

test: $(VENV)/installed $(BARE)/installed  ## set up, run the tests
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/installed $(BARE)/installed  ## set up, run the tests that train for minutes
	$(PYTEST) -m slow

lint: $(VENV)/installed  ## check the style with ruff
	$(VENV)/bin/ruff check .

clean:  ## remove the environments and caches; runs and exports stay
	rm -rf $(VENV) $(BARE) build *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/installed: setup.py build_backend.py pyproject.toml requirements.txt
	@$(PYTHON) -B -c 'import setup'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --constraint requirements.txt --editable '.[dev]'
	@touch $@

# TensorFlow alone: exported models must run where nothing else is installed.
$(BARE)/installed: setup.py requirements.txt
	@$(PYTHON) -B -c 'import setup'
	$(PYTHON) -m venv $(BARE)
	$(BARE)/bin/python -m pip install --constraint requirements.txt tensorflow
	@touch $@
