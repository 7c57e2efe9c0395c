# Each target alone sets up what it needs: Python 3.11 or newer, git and make are enough.
PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3 python,\
  $(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test coverage check docs pictures bench matrix lock format clean

demo: $(READY)
	@$(BIN)/python examples/demo.py

# Tests start many programs, which would each compile the package anew where Python is told to
# keep nothing.
TESTS := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist worksteal --durations 25

test: $(READY)
	$(TESTS)

# Apart from the tests, which it makes longer. Each worker of pytest writes data of its own; the
# programs that tests start are not measured.
coverage: $(READY)
	$(BIN)/coverage erase
	COVERAGE_PROCESS_START="$(CURDIR)/pyproject.toml" $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# All is read anew: the page of the commands is what they say of themselves now.
docs: $(READY)
	$(BIN)/sphinx-build -E -W --keep-going -q -b html docs docs/_build
	@echo "the site is in docs/_build/index.html"

# Of the page and the terminal in the documents; it needs Chromium and two minutes.
pictures: $(READY)
	$(BIN)/python docs/pictures.py

bench: $(READY)
	$(BIN)/python benchmarks/calls.py
	$(BIN)/python benchmarks/merge.py
	$(BIN)/python benchmarks/files.py
	$(BIN)/python benchmarks/resources.py
	$(BIN)/python benchmarks/code.py
	$(BIN)/python benchmarks/commands.py

matrix: $(READY)
	$(BIN)/python .ci/matrix.py

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The lock holds exact versions and hashes for every Python and platform.
lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-emit-index-url \
	  --group dev --all-extras --python-version 3.11 pyproject.toml -o requirements.lock

$(READY): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "asset-provenance needs Python 3.11 or newer on the PATH" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

clean:
	rm -rf $(VENV) docs/_build .matrix .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache demo
