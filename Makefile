# make demo and make test set up everything they need; what is done is skipped.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= 2
SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(SUITABLE)' 2>/dev/null && echo $$p && break; done)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format constraints clean

help: ## show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(READY) ## make the virtual environment .venv and install medtrain into it, editable

$(READY): pyproject.toml setup.py constraints.txt
	@$(or $(PYTHON),false) -c '$(SUITABLE)' || { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=..."; exit 1; }
	@echo "setting up $(VENV): the first time takes minutes (PyTorch is large)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[dev]"
	touch $@

demo: setup ## train DenseNet-121 on synthetic chest films, test it, write a report
	$(BIN)/medtrain task=xray_cls model=densenet121

test: setup ## all tests; lint, types and the layers of the house are among them
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow"

lint: setup ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## sort imports and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: setup ## write the installed versions to constraints.txt
	{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --all --exclude-editable \
		| grep -viE '^(nvidia-|cuda-|triton|pip==|wheel==)'; } > constraints.new
	mv constraints.new constraints.txt

clean: ## remove caches and build leftovers; .venv and outputs stay
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
