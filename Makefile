# make                 prints this text
# make demo            offline: renders photos, trains, converts, predicts   (about 4 minutes after installation)
# make demo-heatmaps   the same with heatmaps of people's joints             (about 2 minutes after installation)
# make test            style, types and tests, in parallel                   (3 to 9 minutes after that, on two cores)
# Each installs its packages first; the only requirement is Python 3.11, 3.12 or 3.13 with pip.

RECIPE ?= demo
PIPENV_VERSION := 2026.10.3

# The first Python of a supported version that starts; PYTHON=... selects another. Its full path, because pipenv would
# search for the newest Python that matches a bare name.
SUPPORTED := import sys; print(sys.executable) if (3, 11) <= sys.version_info[:2] <= (3, 13) else sys.exit(1)
PYTHON ?= python3 python3.13 python3.12 python3.11
override PYTHON := $(shell for p in $(PYTHON); do $$p -c '$(SUPPORTED)' 2>/dev/null && break; done)
ifeq ($(strip $(PYTHON)),)
$(error Headstand needs Python 3.11, 3.12 or 3.13; none was found. Install one, or specify it: make PYTHON=/path/to/python3.12)
endif

export PIPENV_VENV_IN_PROJECT := 1
export PIPENV_IGNORE_VIRTUALENVS := 1
export PIPENV_NOSPIN := 1
# Modules are compiled once and not by each of the processes that the tests start.
unexport PYTHONDONTWRITEBYTECODE
PIPENV := .pipenv/bin/pipenv
RUN := .venv/bin/python

.PHONY: help demo demo-heatmaps test test-browser unit test-all test-container test-notebooks lint setup setup-dev lock clean deploy serve-lambda docs

help:
	@sed -n '1,5s/^# //p' $(MAKEFILE_LIST)

demo: setup
	$(RUN) -m headstand demo $(RECIPE)

demo-heatmaps: setup
	$(RUN) -m headstand demo demo-heatmaps

# Style and types are checked in parallel with the tests. PYTEST_ADDOPTS="-n0 -p no:randomly" runs the tests serially and
# in order.
test: setup-dev
	$(MAKE) --jobs=2 lint unit

unit: setup-dev
	$(RUN) -m pytest -m "not slow"

test-all: setup-dev
	$(RUN) -m pytest -m slow

# Executes the notebooks, which must print what they show.
test-notebooks: setup-dev
	$(RUN) -m pytest -m slow -n0 tests/test_notebooks.py

# The web page in Chromium, served by the service, and served from another origin than the Lambda function.
test-browser: setup-dev
	$(RUN) -m pytest -m slow --dist loadfile tests/serve/test_browser.py tests/serve/test_browser_heatmaps.py tests/cli/test_page.py

# Builds, runs and tests the Lambda container: with Docker, else as root with Debian's buildah and debootstrap.
test-container: setup-dev
	$(RUN) -m pytest tests/container/checks.py -n0 -s

# The function on port 8080 for `python test.py`, until Ctrl-C: in its container, or without Docker the handler alone.
serve-lambda: setup-dev
	@if docker info > /dev/null 2>&1; then \
		docker build --tag headstand $(if $(MODEL),--build-arg MODEL=$(MODEL)) . && \
		docker run --rm --publish 127.0.0.1:8080:8080 headstand; \
	else \
		echo "Docker is not available: the handler runs without its container."; \
		$(RUN) -m tests.runtime_api $(MODEL); \
	fi

# To AWS Lambda: MODEL=runs/... selects a model, DRY_RUN=1 prints the commands without running them, ARGS are options of
# `python -m headstand deploy --help`.
deploy: $(if $(DRY_RUN),,setup)
	@test -x $(RUN) || { echo "a dry run installs nothing, and the packages are missing: run make setup" >&2; exit 1; }
	$(RUN) -m headstand deploy $(MODEL) $(if $(DRY_RUN),--dry-run) $(ARGS)

lint: setup-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

# The documentation as a website in .cache/docs; a broken link is an error. TensorFlow is not needed.
docs: .venv/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

setup: .venv/packages.stamp
setup-dev: .venv/dev.stamp

# Installs exactly the packages in Pipfile.lock, verified by hash. A stamp is newer than the lock that was installed.
.venv/packages.stamp: Pipfile.lock | $(PIPENV)
	$(PIPENV) sync --python $(PYTHON)
	touch $@

.venv/dev.stamp: .venv/packages.stamp
	$(PIPENV) sync --dev --python $(PYTHON)
	touch $@

.venv/docs.stamp: Pipfile.lock | $(PIPENV)
	$(PIPENV) sync --categories "serve docs" --python $(PYTHON)
	touch $@

# pipenv has its own environment. Where the system's Python lacks the venv module, virtualenv creates it.
$(PIPENV):
	rm -rf .pipenv
	$(PYTHON) -m venv .pipenv 2>/dev/null || { rm -rf .pipenv; \
		$(PYTHON) -m pip install --quiet --target .pipenv/bootstrap virtualenv && \
		PYTHONPATH=.pipenv/bootstrap $(PYTHON) -m virtualenv --quiet .pipenv; }
	.pipenv/bin/python -m pip install --quiet --disable-pip-version-check pipenv==$(PIPENV_VERSION)

# Locks every category, then removes the index from the lock file, so that each user's pip configuration selects it.
lock: | $(PIPENV)
	$(PIPENV) lock --categories "packages dev-packages serve lambda aws onnx ray docs benchmarks"
	$(PYTHON) -c "import json, pathlib; p = pathlib.Path('Pipfile.lock'); d = json.loads(p.read_text()); \
	d['_meta']['sources'] = []; p.write_text(json.dumps(d, indent=4) + '\n')"

clean:
	rm -rf .venv .pipenv .cache data runs
