# `make help` lists the commands. Everything runs in .venv, which the first command sets up.

PYTHON ?= python3
UV := 0.13.9

BIN := .venv/bin
SAMPLE := build/sample-bill
OUT ?= reports

.DEFAULT_GOAL := help
.PHONY: help run sample test check format bench evaluate ui lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: .venv/run ## report on a bill: BILL=<file, folder or s3://…> [PERIOD=2026-11] [OUT=reports]; on a sample bill by default
ifndef BILL
run: $(SAMPLE)/.made
endif
	@$(BIN)/python -m flows.cost_report "$(or $(BILL),$(SAMPLE))" --out "$(OUT)" $(if $(PERIOD),--period "$(PERIOD)")

sample: $(SAMPLE)/.made ## make the sample bill, build/sample-bill

$(SAMPLE)/.made: .venv/run $(wildcard flows/sample_bill/*.py)
	@rm -rf $(SAMPLE)
	@$(BIN)/python -m flows.sample_bill $(SAMPLE) --months 4 --last-day 20
	@touch $@

test: .venv/dev ## run every test; ARGS="-k name" for some of them
	$(BIN)/python -m pytest -n auto $(ARGS)

check: .venv/dev ## format, lint and types, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/dev ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/bench ## time and memory against DuckDB, Polars and pandas: [ROWS="1000000 10000000"]; writes bench.json
	$(BIN)/python -m tests.performance.bench $(if $(ROWS),--rows $(ROWS))

evaluate: .venv/run ## precision and recall of anomalies, error of the forecast: [SEED=…]; writes evaluate.json
	$(BIN)/python -m tests.performance.evaluate $(if $(SEED),--seed $(SEED))

ui: .venv/run ## the Prefect UI over the runs on this machine
	@DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false $(BIN)/prefect server start

lock: .venv/uv ## pin every dependency anew, with hashes
	$(BIN)/uv pip compile $(LOCK) -o requirements/run.txt
	$(BIN)/uv pip compile $(LOCK) --group dev -o requirements/dev.txt
	$(BIN)/uv pip compile $(LOCK) --group dev --group bench -o requirements/bench.txt

LOCK := pyproject.toml --upgrade --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

clean: ## remove what the commands made, .venv included
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache .hypothesis

# --- set-up: one stamp per lock, so that a changed lock is installed and an unchanged one costs nothing ---------------

.venv/uv:
	@$(PYTHON) -c 'import sys; sys.exit("Nightshift needs Python 3.11 to 3.13; this is %d.%d. Name another: make PYTHON=python3.12 …" % sys.version_info[:2] if not (3, 11) <= sys.version_info[:2] <= (3, 13) else 0)'
	@echo "Setting up .venv (once) …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	@touch $@

.venv/%: requirements/%.txt | .venv/uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement $<
	@touch $@

.venv/dev .venv/bench: .venv/run
.venv/bench: .venv/dev
