# Nothing is needed but Python 3.11 or later, and make.
#
#   make demo         compile the example detector at 4 bits and check the result on labelled scenes
#   make test         everything that must hold before a change goes in
#   make fuzz         mutate models and other inputs for MINUTES=20, and count what goes wrong
#   make test-latest  the same checks and tests with the newest release of every dependency
#   make test-oldest  the tests with the oldest releases that pyproject.toml allows
#   make docs         the pages of docs/, as a site in build/site; a broken link is an error
#   make constraints  renew the versions that demo and test install
#   make clean        remove what all of these made
#
# The tests compare gradients with PyTorch. On Linux PyPI serves its CUDA build, of several GB; the
# CPU build comes with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
# The oldest releases have wheels for the oldest Python only, and the newest that have one for it
# have them for all later ones.
OLDEST_PYTHON ?= python3.11
PYTHONS := 3.11 3.12 3.13 3.14

VENV := .venv
BIN := $(VENV)/bin
LATEST_VENV := build/latest-venv
OLDEST_VENV := build/oldest-venv
CLEAN_VENV := build/clean-venv

# Versions that pip is held to, also where it builds; newer ones know that by the second name.
CONSTRAINTS := constraints.txt
INSTALL = PIP_CONSTRAINT=$(CONSTRAINTS) PIP_BUILD_CONSTRAINT=$(CONSTRAINTS) \
	$(BIN)/python -m pip install --quiet $(UPGRADE)
SOURCES := pyproject.toml MANIFEST.in README.md LICENSE \
	$(shell find zqc passes -name '*.py' -o -name py.typed -o -path '*/templates/*')

.PHONY: demo test fuzz test-latest test-oldest latest lint types unit package docs constraints clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	mkdir -p out
	$(BIN)/zqc compile examples/detector.onnx --bits 4 -o out/detector.w4a8.onnx
	$(BIN)/zqc check examples/detector.onnx out/detector.w4a8.onnx --report out/report.html \
		--images examples/scenes/heldout --labels examples/scenes/heldout.json

test: lint types unit package

MINUTES ?= 20
FIRST ?= 0
fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES) --first $(FIRST)

test-latest: latest
	$(MAKE) lint types unit VENV=$(LATEST_VENV) CONSTRAINTS=

test-oldest: build/lower-bounds.txt
	$(MAKE) unit VENV=$(OLDEST_VENV) PYTHON=$(OLDEST_PYTHON) CONSTRAINTS=$<

# What was the newest yesterday is installed anew.
latest:
	rm -f $(LATEST_VENV)/.installed-dev
	$(MAKE) $(LATEST_VENV)/.installed-dev VENV=$(LATEST_VENV) CONSTRAINTS= \
		UPGRADE='--upgrade --upgrade-strategy eager'

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# The tests start many processes: what one has compiled to bytecode is kept for the next one.
unit: $(VENV)/.installed-dev
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses auto

package: build/.packaged

docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --strict

# Every version must have a wheel for every Python. A local version, such as +cpu, is of one machine.
constraints:
	rm -rf $(LATEST_VENV)
	$(MAKE) latest PYTHON=$(OLDEST_PYTHON)
	$(LATEST_VENV)/bin/python -m pip install --quiet --editable '.[docs]'
	{ echo '# The versions that zqc is tested with: what `make demo` and `make test` install.'; \
	echo '# Renew them with `make constraints`, then run `make test`.'; \
	$(LATEST_VENV)/bin/python -m pip list --format=freeze --exclude-editable --exclude pip \
		| sed 's/+.*//'; } > build/constraints.txt
	for version in $(PYTHONS); do echo "Python $$version" && $(LATEST_VENV)/bin/python -m pip install \
		--quiet --dry-run --ignore-installed --no-deps --only-binary=:all: --target build/none \
		--python-version $$version --requirement build/constraints.txt || exit 1; done
	mv build/constraints.txt constraints.txt

clean:
	rm -rf $(VENV) build dist out *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "zqc needs Python 3.11 or later; name one that is installed:" \
		"make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) --editable '.[cpu,coco]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) --editable '.[dev]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) --editable '.[docs]'
	touch $@

build/lower-bounds.txt: pyproject.toml tools/lower_bounds.py
	mkdir -p build
	$(OLDEST_PYTHON) tools/lower_bounds.py > $@

# What is uploaded is checked; the wheel, alone in an environment of its own, is as a user gets it.
build/.packaged: $(SOURCES) $(CONSTRAINTS) | $(VENV)/.installed-dev
	rm -rf build/dist $(CLEAN_VENV)
	PIP_CONSTRAINT=$(CONSTRAINTS) $(BIN)/python -m build --outdir build/dist
	$(BIN)/python -m twine check --strict build/dist/*
	$(BIN)/python -m venv $(CLEAN_VENV)
	PIP_CONSTRAINT=$(CONSTRAINTS) $(CLEAN_VENV)/bin/python -m pip install --quiet \
		"$$(echo build/dist/*.whl)[cpu]"
	$(CLEAN_VENV)/bin/zqc --version
	$(CLEAN_VENV)/bin/zqc bench examples/detector.onnx examples/detector.onnx --runs 1
	touch $@
