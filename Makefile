VENV := .venv
BARE := .venv-bare
# The first of these that runs and is supported; python3 otherwise, so that setup.py can say what is wrong with it.
PYTHON ?= $(shell for p in python3.11 python3.10 python3.9; do $$p -c '' 2>/dev/null && echo $$p && break; done || echo python3)
# Two processes, each test file in one of them (tests/conftest.py): TensorFlow alone keeps little more than one core busy.
PYTEST := TF_CPP_MIN_LOG_LEVEL=3 GFL_TF_BARE_PYTHON=$(abspath $(BARE)/bin/python) $(VENV)/bin/python -m pytest -n 2 --dist loadgroup

.PHONY: help train test test-slow lint clean

help:  ## list the targets (the default)
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

RUN ?= runs/gflv2_shapes

train: $(VENV)/installed  ## set up, train GFLv2 on synthetic shapes, evaluate, draw, export
	$(VENV)/bin/python bin/train --config=configs/gflv2_shapes.py --run_dir=$(RUN)
	$(VENV)/bin/python bin/predict --run_dir=$(RUN) --output=$(RUN)/predictions --distributions \
		--images=$$(ls data/shapes/val/* | head -n 12 | paste -sd,)
	$(VENV)/bin/python bin/export --run_dir=$(RUN)
	$(VENV)/bin/python bin/evaluate --run_dir=$(RUN)
	@echo
	@echo "Done. The scores above are on 300 held-out images."
	@echo "  $(RUN)/                      the run: config, weights, evaluations, TensorBoard logs"
	@echo "  $(RUN)/predictions/          pictures with detections, edge uncertainty and distributions"
	@echo "  saved_models/gflv2_shapes/   the exported SavedModel, one folder per version"
	@echo "Next: source .venv/bin/activate, then"
	@echo "  tensorboard --logdir=$(RUN)/logs                          loss and AP over time"
	@echo "  bin/predict --run_dir=$(RUN) --images=FOLDER --output=OUT  detections on your pictures"
	@echo "  bin/train --config=configs/gflv2_bccd.py --help           your own data: see README.md"

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
	$(VENV)/bin/python -m pip install --constraint requirements.txt --editable '.[dev,onnx]'
	@touch $@

# TensorFlow alone: exported models must run where nothing else is installed.
$(BARE)/installed: setup.py requirements.txt
	@$(PYTHON) -B -c 'import setup'
	$(PYTHON) -m venv $(BARE)
	$(BARE)/bin/python -m pip install --constraint requirements.txt tensorflow
	@touch $@
