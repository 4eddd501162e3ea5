# Two commands: `make demo` serves the page, `make test` runs every test. Both make their own environment.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 7860
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test bench lock clean

demo: $(VENV)/.installed
	HOST=$(HOST) PORT=$(PORT) $(BIN)/python app.py $(ARGS)

test: $(VENV)/.installed-tests
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -n $(WORKERS) --durations=10 $(ARGS)

bench: $(VENV)/.installed
	$(BIN)/python -m gspn_core.bench $(ARGS)

# Needs uv (`pip install uv`). The head line says what the file is.
lock:
	{ head -1 requirements.lock; echo 'gradio[mcp]' | uv pip compile --quiet requirements.txt - --universal \
	  --python-version 3.10 --generate-hashes --no-header --no-annotate; } > requirements.lock.new
	mv requirements.lock.new requirements.lock

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python requirements.txt
	$(PIP) -r requirements.txt
	touch $@

$(VENV)/.installed-tests: $(VENV)/.installed tests/requirements.txt tests/requirements-no-deps.txt
	$(PIP) -r tests/requirements.txt
	$(PIP) --no-deps -r tests/requirements-no-deps.txt
	touch $@
