# make test        all but faults, the browser and the longest, in a virtual environment that it makes
# make test-all    those, too
# make test-foreign clients and servers of others: kserve, openai, torch, MLServer; some GB, so by hand
# make test-lowest the unit tests and the app's frames, with the oldest versions that are allowed
# make check       format, lint and types
# make bench       the benchmarks, each as a ratio to its floor
# make docs        the pages of docs/ that are made from the code
# make site        site/: all documents as pages that need no network
# make lock        requirements.lock, with hashes
# make version     VERSION=0.2.0, in the one file of each distribution that has it
# make release     both distributions, each tried in a fresh virtual environment
# make pictures    docs/pictures: the README's moving picture and one of each page, of the real app on real jobs

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
SITE ?= site
BIN = $(VENV)/bin

.PHONY: test test-foreign test-lowest test-rest test-all check bench docs site lock version release pictures programs

WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
PYTEST = $(BIN)/python -m pytest -q --numprocesses $(WORKERS) --maxschedchunk 1

test: $(VENV)/ready programs
	$(PYTEST) $(or $(TESTS),-m "not faults and not browser and not rest and not foreign")

test-rest: $(VENV)/ready programs
	$(PYTEST) -m "faults or browser or rest"

test-all: test test-rest

# What others wrote, in environments of its own; .ci/run has them where they are made already.
test-foreign: $(VENV)/ready programs
	@test -d $(VENV)-foreign || { $(PYTHON) -m venv $(VENV)-foreign && $(VENV)-foreign/bin/python -m pip install --quiet \
		--disable-pip-version-check kserve openai torch==2.13.0 uvicorn starlette; }
	@test -d $(VENV)-mlserver || { $(PYTHON) -m venv $(VENV)-mlserver && $(VENV)-mlserver/bin/python -m pip install \
		--quiet --disable-pip-version-check "mlserver>=1.6"; }
	FOREIGN=$(abspath $(VENV)-foreign)/bin/python MLSERVER=$(abspath $(VENV)-mlserver)/bin/python \
		$(BIN)/python -m pytest -q tests/foreign

# The oldest versions that pyproject.toml allows: what needs a newer one fails here, not at a user's.
test-lowest: $(VENV)/ready
	@test -d $(VENV)-lowest || $(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check \
		$$($(BIN)/python tests/lowest.py) pytest pytest-asyncio pytest-xdist hypothesis pyte \
		numpy jsonschema
	$(VENV)-lowest/bin/python -m pytest -q --numprocesses $(WORKERS) \
		tests/unit tests/app/test_frames.py tests/app/test_ui.py tests/integration/test_ssh.py

check: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The versions that the tests ran with, with the hashes of what was downloaded.
lock: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-tools
	$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--no-annotate --no-header --strip-extras --allow-unsafe --extra dev --output-file requirements.lock pyproject.toml

# make version VERSION=0.2.0
version:
	@test -n "$(VERSION)" || { echo "make version VERSION=0.2.0" >&2; exit 2; }
	sed -i 's/^__version__ = ".*"/__version__ = "$(VERSION)"/' foundations/__init__.py remote_agent/__init__.py

release: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build
	sh tests/release.sh $(abspath $(BIN)/python) $(or $(DIST),dist)

bench: $(VENV)/ready programs
	$(BIN)/python -m benchmarks $(NAMES)

docs: $(VENV)/ready
	$(BIN)/python docs/tables.py

# In an environment of its own: Sphinx is nobody's business but this page's.
site: $(VENV)/ready
	@test -d $(VENV)-site || { $(PYTHON) -m venv $(VENV)-site && $(VENV)-site/bin/python -m pip install --quiet \
		--disable-pip-version-check "sphinx>=8" "myst-parser>=4" "furo>=2024"; }
	$(VENV)-site/bin/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs $(SITE)
	@echo "$(SITE)/index.html"

pictures: $(VENV)/ready
	$(BIN)/python docs/pictures.py

$(VENV)/ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

programs:
	@sh tests/programs.sh
