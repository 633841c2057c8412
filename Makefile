# Nothing is needed but Python 3.11 or later, and make.
#
#   make demo    compile the example detector at 4 bits and check the result on labelled scenes
#   make test    everything that must hold before a change goes in
#   make docs    the pages of docs/, as a site in build/site; a broken link is an error
#   make clean   remove what these made
#
# The tests compare gradients with PyTorch. On Linux PyPI serves its CUDA build, of several GB; the
# CPU build comes with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
CLEAN_VENV := build/clean-venv
SOURCES := pyproject.toml README.md LICENSE $(shell find zqc passes -name '*.py' -o -name py.typed)

.PHONY: demo test lint types unit package docs clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	mkdir -p out
	$(BIN)/zqc compile examples/detector.onnx --bits 4 -o out/detector.w4a8.onnx
	$(BIN)/zqc check examples/detector.onnx out/detector.w4a8.onnx \
		--images examples/scenes/heldout --labels examples/scenes/heldout.json

test: lint types unit package

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.installed-dev
	$(BIN)/mypy

unit: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

package: build/.packaged

docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist out *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "zqc needs Python 3.11 or later; name one that is installed:" \
		"make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

# The wheel, alone in an environment of its own, as a user gets it.
build/.packaged: $(SOURCES) | $(VENV)/.installed-dev
	rm -rf build/wheel $(CLEAN_VENV)
	$(BIN)/python -m build --wheel --outdir build/wheel
	$(BIN)/python -m venv $(CLEAN_VENV)
	$(CLEAN_VENV)/bin/python -m pip install --quiet build/wheel/*.whl
	$(CLEAN_VENV)/bin/zqc --version
	$(CLEAN_VENV)/bin/zqc inspect examples/detector.onnx
	touch $@
