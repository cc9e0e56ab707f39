# make demo            the main job, offline: draws photos, trains, converts, asks   (about 4 minutes after installation)
# make demo-heatmaps   the same with heatmaps of people's joints                     (about 2 minutes after installation)
# make test            style, types and tests, in parallel                           (4 to 12 minutes after installation, on two cores)
# All set everything up by themselves; they need Python 3.11, 3.12 or 3.13 with pip, and nothing else.

RECIPE ?= demo
PIPENV_VERSION := 2026.10.3

# The first Python of a fitting version that really starts; PYTHON=... names another. Its full path, since pipenv would
# take a bare name for a wish and look for the newest of that name itself.
FITS := import sys; print(sys.executable) if (3, 11) <= sys.version_info[:2] <= (3, 13) else sys.exit(1)
PYTHON ?= python3 python3.13 python3.12 python3.11
override PYTHON := $(shell for p in $(PYTHON); do $$p -c '$(FITS)' 2>/dev/null && break; done)
ifeq ($(strip $(PYTHON)),)
$(error Headstand needs Python 3.11, 3.12 or 3.13; none was found. Install one, or name it: make PYTHON=/path/to/python3.12)
endif

export PIPENV_VENV_IN_PROJECT := 1
export PIPENV_IGNORE_VIRTUALENVS := 1
export PIPENV_NOSPIN := 1
PIPENV := .pipenv/bin/pipenv
RUN := .venv/bin/python

.PHONY: demo demo-heatmaps test test-browser unit test-all test-container lint setup setup-dev lock clean deploy serve-lambda

demo: setup
	$(RUN) -m headstand demo $(RECIPE)

demo-heatmaps: setup
	$(RUN) -m headstand demo demo-heatmaps

# Style and types are checked beside the tests. PYTEST_ADDOPTS="-n0 -p no:randomly" makes them serial and ordered.
test: setup-dev
	$(MAKE) --jobs=2 lint unit

unit: setup-dev
	$(RUN) -m pytest -m "not slow"

# Notebooks build on each other, and are executed in order.
test-all: setup-dev
	$(RUN) -m pytest -m slow
	$(RUN) -m pytest -n0 -p no:randomly --nbmake notebooks

# The web page in Chromium, from the service and for a function of another origin.
test-browser: setup-dev
	$(RUN) -m pytest -m slow --dist loadfile tests/serve/test_browser.py tests/serve/test_browser_heatmaps.py tests/cli/test_page.py

# Builds the Lambda container, runs it and asks it: with Docker, else as root with Debian's buildah and debootstrap.
test-container: setup-dev
	$(RUN) -m pytest tests/container/checks.py -n0 -s

# The function at port 8080 for `python test.py`, until Ctrl-C: its container, or the same handler without one.
serve-lambda: setup-dev
	@if docker info > /dev/null 2>&1; then \
		docker build --tag headstand $(if $(MODEL),--build-arg MODEL=$(MODEL)) . && \
		docker run --rm --publish 127.0.0.1:8080:8080 headstand; \
	else \
		echo "There is no Docker here: the handler runs without its container."; \
		$(RUN) -m tests.runtime_api $(MODEL); \
	fi

# To AWS Lambda: MODEL=runs/... names a model, DRY_RUN=1 shows the commands and runs none, ARGS are what
# `python -m headstand deploy --help` lists.
deploy: setup
	$(RUN) -m headstand deploy $(MODEL) $(if $(DRY_RUN),--dry-run) $(ARGS)

lint: setup-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

setup: .venv/packages.stamp
setup-dev: .venv/dev.stamp

# What is installed is exactly what Pipfile.lock says, hashes checked; the stamps are newer than the lock they stand for.
.venv/packages.stamp: Pipfile.lock | $(PIPENV)
	$(PIPENV) sync --python $(PYTHON)
	touch $@

.venv/dev.stamp: .venv/packages.stamp
	$(PIPENV) sync --dev --python $(PYTHON)
	touch $@

# pipenv has an environment of its own. Some systems split venv from Python; virtualenv does without it.
$(PIPENV):
	rm -rf .pipenv
	$(PYTHON) -m venv .pipenv 2>/dev/null || { rm -rf .pipenv; \
		$(PYTHON) -m pip install --quiet --target .pipenv/bootstrap virtualenv && \
		PYTHONPATH=.pipenv/bootstrap $(PYTHON) -m virtualenv --quiet .pipenv; }
	.pipenv/bin/python -m pip install --quiet --disable-pip-version-check pipenv==$(PIPENV_VERSION)

# Lock every category, then forget from which index: a mirror is the installer's business.
lock: | $(PIPENV)
	$(PIPENV) lock --categories "packages dev-packages serve lambda aws ray benchmarks"
	$(PYTHON) -c "import json, pathlib; p = pathlib.Path('Pipfile.lock'); d = json.loads(p.read_text()); \
	d['_meta']['sources'] = []; p.write_text(json.dumps(d, indent=4) + '\n')"

clean:
	rm -rf .venv .pipenv .cache data runs
