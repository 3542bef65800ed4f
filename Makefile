# Two stacks of Keras and TensorFlow, each with environments of its own: STACK=latest (the default) or STACK=2.15.
STACK ?= latest
PYTHONS_latest := 3.13 3.12 3.11 3.10
PYTHONS_2.15 := 3.11 3.10
EXTRAS_latest := --extra dev --extra onnx --extra tflite --extra hub --extra safetensors
EXTRAS_2.15 := --extra dev --extra onnx --extra tf215 --extra safetensors
OTHER_latest := 2.15
OTHER_2.15 := latest
ifndef PYTHONS_$(STACK)
$(error STACK=$(STACK) is none of the stacks: it is latest or 2.15)
endif

# The newest of the stack's Pythons that runs, on the path or of pyenv, whose commands on the path run only what it was
# told to use. Otherwise python3, so that setup.py can say what is wrong with it.
ifndef PYTHON
PYTHON := $(shell for v in $(PYTHONS_$(STACK)); do \
	for p in python$$v "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$v.*/bin/python$$v; do \
	"$$p" -c 'import ensurepip, venv' 2>/dev/null && echo "$$p" && exit; done; done; echo python3)
endif
# A change of it makes the environments anew.
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)

ENVS ?= .
VENV := $(ENVS)/.venv-$(STACK)
BARE := $(VENV)-bare
OTHER := $(ENVS)/.venv-$(OTHER_$(STACK))
LOCK := requirements/$(STACK).txt
READY := $(VENV)/installed-$(VERSION)
BARE_READY := $(BARE)/installed-$(VERSION)
# A lock names all that is needed. The pip of Python 3.10 would look for more: for an extra of a package that is locked.
INSTALL_LOCK := -m pip install --quiet --require-hashes --no-deps --requirement
# Says what is wrong with the Python, and what would do.
CHECK = $(PYTHON) -B -c 'import setup' && case " $(PYTHONS_$(STACK)) " in *" $(VERSION) "*) ;; *) \
	echo "STACK=$(STACK) needs Python $(lastword $(PYTHONS_$(STACK))) to $(firstword $(PYTHONS_$(STACK)));" \
	"$(PYTHON) is Python $(VERSION). Install one: make test STACK=$(STACK) PYTHON=/path/to/python" >&2; exit 1;; esac
# The tests write models on one stack and read them on the other, where that one is set up.
OTHER_PYTHON = $(if $(wildcard $(OTHER)/installed-*),GFL_TF_OTHER_PYTHON=$(abspath $(OTHER)/bin/python))
# Two processes, each test file in one of them, whose tests share models: TensorFlow alone keeps little more than one
# core busy.
PYTEST = TF_CPP_MIN_LOG_LEVEL=3 GFL_TF_BARE_PYTHON=$(abspath $(BARE)/bin/python) $(OTHER_PYTHON) \
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile

.PHONY: help train test test-slow lint docs setup bare python lock wheel clean

help:  ## list the targets (the default)
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16
	@echo "With STACK=2.15: TensorFlow 2.15 and Keras 2.15, on Python 3.11 or 3.10. PYTHON=... names another Python."

RUN ?= runs/gflv2_shapes

train: setup  ## set up, train GFLv2 on synthetic shapes, evaluate, draw, export
	$(VENV)/bin/gfl-train --config=gflv2_shapes --run_dir=$(RUN)
	$(VENV)/bin/gfl-predict --run_dir=$(RUN) --output=$(RUN)/predictions --distributions \
		--images=$$(ls data/shapes/val/* | head -n 12 | paste -sd,)
	$(VENV)/bin/gfl-export --run_dir=$(RUN)
	$(VENV)/bin/gfl-evaluate --run_dir=$(RUN)
	@echo
	@echo "Done. The scores above are on 300 held-out images."
	@echo "  $(RUN)/                      the run: config, weights, evaluations, TensorBoard logs"
	@echo "  $(RUN)/predictions/          pictures with detections, edge uncertainty and distributions"
	@echo "  saved_models/gflv2_shapes/   the exported SavedModel, one folder per version"
	@echo "Next: source .venv/bin/activate, then"
	@echo "  tensorboard --logdir=$(RUN)/logs                          loss and AP over time"
	@echo "  gfl-predict --run_dir=$(RUN) --images=FOLDER --output=OUT  detections on your pictures"
	@echo "  gfl-train --config=small --help                      your own data: see README.md"

MARKS ?= not slow

test: setup bare  ## set up, run the tests
	$(PYTEST) -m "$(MARKS)"

test-slow: setup bare  ## set up, run the tests that train for minutes
	$(PYTEST) -m slow

lint: $(READY)  ## check the style with ruff
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

docs: $(READY)  ## write docs/configuration.md again from the classes
	$(VENV)/bin/python docs/make_configuration.py

# .venv links to the environment that was used last.
setup: free-link $(READY)  ## set up the environment alone
	@ln -sfn $(notdir $(VENV)) $(ENVS)/.venv

.PHONY: free-link
free-link:
	@if test -e $(ENVS)/.venv && ! test -L $(ENVS)/.venv; then \
		echo "$(ENVS)/.venv is the environment of an earlier version of gfl_tf. Remove it: rm -r $(ENVS)/.venv" >&2; exit 1; fi

bare: $(BARE_READY)

# The Python of the stack, for .ci/run; fails where there is none.
python:
	@$(CHECK) && echo $(PYTHON)

wheel: $(READY)  ## build the wheel and the source distribution into dist/
	rm -rf build  # what is left there of removed files would come along
	$(VENV)/bin/python -c 'import setup; setup.build_sdist("dist"); setup.build_wheel("dist")'

COMPILE := uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate $(UPGRADE) \
	--custom-compile-command "make lock"

lock:  ## resolve pyproject.toml into requirements/*.txt again, with uv; UPGRADE=--upgrade takes the newest of all
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	for stack in 2.15 latest; do $(MAKE) --no-print-directory lock-stack STACK=$$stack || exit 1; done

.PHONY: lock-stack
lock-stack:
	$(COMPILE) $(EXTRAS_$(STACK)) --output-file $(LOCK) pyproject.toml
	echo tensorflow | $(COMPILE) --constraint $(LOCK) --output-file requirements/$(STACK)-bare.txt -

clean:  ## remove the environments and caches; runs and exports stay
	rm -rf .venv .venv-latest .venv-latest-bare .venv-2.15 .venv-2.15-bare build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): setup.py pyproject.toml $(LOCK)
	@$(CHECK)
	@test -x $(VENV)/bin/python$(VERSION) || $(PYTHON) -m venv --clear $(VENV)
	@rm -f $(VENV)/installed-*
	@echo "Setting up $(VENV) with Python $(VERSION): some minutes, mostly downloads."
	$(VENV)/bin/python $(INSTALL_LOCK) $(LOCK)
	$(VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# TensorFlow alone: exported models must run where nothing else is installed.
$(BARE_READY): requirements/$(STACK)-bare.txt
	@$(CHECK)
	@test -x $(BARE)/bin/python$(VERSION) || $(PYTHON) -m venv --clear $(BARE)
	@rm -f $(BARE)/installed-*
	$(BARE)/bin/python $(INSTALL_LOCK) $<
	@touch $@
