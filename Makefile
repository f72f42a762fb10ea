# The two commands that a fresh machine needs: `make demo` and `make test`. Both use .venv, made once.
PYTHON ?= python3
OUT ?= demo
# These look at pages that play, as a viewer does, and have the machine for themselves.
PLAYING = tests/pipeline/review/test_browser.py tests/training/evaluation/test_page.py

.PHONY: demo test lint

demo: .venv/installed
	.venv/bin/humo demo --out $(OUT)

test: .venv/installed lint
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 $(PLAYING:%=--ignore=%)
	.venv/bin/python -m pytest $(PLAYING)

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "HuMo needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --upgrade pip
	.venv/bin/pip install --quiet --editable '.[demo,test]'
	touch .venv/installed
