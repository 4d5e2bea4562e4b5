# Everything runs in .venv, built from pinned versions. It wants make, git, Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Two cores, two workers; each test process computes on one thread.
JOBS ?= 2
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo -n)

# Else each test process, and each that a test starts, compiles all sources again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: browser demo test check slow bench typing versions oldest clean

demo: $(INSTALLED)
	$(BIN)/python -m continual_arcade.scripts.demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# Pages are tested in Debian's Chromium; without one, those tests are skipped.
browser:
	@command -v chromium >/dev/null || { command -v apt-get >/dev/null && \
	    $(AS_ROOT) apt-get update -q && $(AS_ROOT) apt-get install -q -y --no-install-recommends \
	        chromium fonts-dejavu-core; } || \
	    { echo "there is no Chromium, and apt-get could not install it: install it (Debian's" \
	        "package is chromium), so that it is on the PATH" >&2; exit 1; }

check: $(INSTALLED) typing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

slow: $(INSTALLED)
	$(BIN)/python -m pytest -n $(JOBS) -m slow

# The suite as others get it, its wheel in a fresh environment: with another Python, such as
# `make versions PYTHON=python3.13`, or with the lowest versions that pyproject.toml admits.
FRESH = $(or $(TMPDIR),/tmp)/continual-arcade-$@
versions: PINS = constraints.txt
oldest: PINS = $(FRESH)/lowest.txt
# Old libraries give such warnings for new ones.
oldest: WARNED = -W default::DeprecationWarning -W default::PendingDeprecationWarning
versions oldest:
	rm -rf "$(FRESH)"
	mkdir -p "$(FRESH)/source"
	git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | \
	    tar -x -C "$(FRESH)/source"
	$(PYTHON) -m venv "$(FRESH)/venv"
	PIP_CONSTRAINT=constraints.txt "$(FRESH)/venv/bin/python" -m pip install --quiet \
	    --upgrade pip uv
	test $@ = versions || "$(FRESH)/venv/bin/uv" pip compile --quiet --output-file "$(PINS)" \
	    --resolution lowest-direct --only-binary :all: --python "$(FRESH)/venv/bin/python" \
	    --all-extras --group test pyproject.toml
	PIP_CONSTRAINT="$(PINS)" "$(FRESH)/venv/bin/python" -m pip install "$(FRESH)/source" \
	    --group test
	"$(FRESH)/venv/bin/python" -m pytest -n $(JOBS) --dist worksteal $(WARNED)
	rm -rf "$(FRESH)"

bench: $(INSTALLED)
	$(BIN)/python benchmarks/env_speed.py
	$(BIN)/python benchmarks/learner_speed.py
	$(BIN)/python benchmarks/evaluator_speed.py
	$(BIN)/python benchmarks/study_speed.py

# Static checkers do not see where setup.cfg puts the folders; links show them.
typing:
	@mkdir -p build/typing/continual_arcade
	@for folder in envs agents evaluation reports studies scripts; do \
	    ln -sfn ../../../$$folder build/typing/continual_arcade/$$folder; \
	done

$(INSTALLED): pyproject.toml setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip==$(shell sed -n 's/^pip==//p' constraints.txt)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --editable . --group dev
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
