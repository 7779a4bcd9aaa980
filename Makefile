.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell for minor in 11 12 13 14; do python3.$$minor -c "" 2>/dev/null && echo python3.$$minor && break; done)
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
unexport PYTHONDONTWRITEBYTECODE # each of the many processes would compile every file again

install: $(BIN)/.installed ## make .venv and install the pinned versions

$(BIN)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python -o -n "$(PYTHON)" || { echo "No Python 3.11, 3.12, 3.13 or 3.14 is on the PATH. Install one, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[extract,asr,demo,ray,s3,serve,dev]"
	touch $@

demo: install ## make the demo data set, run the pipeline on it, print the results table
	test -d data/raw/demo || rawmsa demo
	rawmsa doctor
	dvc repro
	rawmsa results

repro: install ## run whatever is due for the data sets in data/raw
	mkdir -p data/raw
	rawmsa doctor
	dvc repro
	rawmsa results

check: lint ## the linters and the quick tests: run it all the time
	pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test: install ## run the whole test suite
	pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: install ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

torture: install ## 2,000 mutated files and every hostile one through the pipeline, 10,000 mutated pickles; prints counts
	python -m tests.torture
	python -m tests.fuzz_pickles 10000

kills: install ## dvc repro killed at 50 random moments and run again: the same bytes; prints counts
	python -m tests.kills

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1	\2/' | expand -t 16

.PHONY: install demo repro check test lint torture kills help
