# `make help` lists the commands. Everything runs in .venv, which the first command sets up.

PYTHON ?= python3
UV := 0.13.9

BIN := .venv/bin
SAMPLE := build/sample-bill
OUT ?= reports

.DEFAULT_GOAL := help
.PHONY: help run sample test check format bench bench-wake evaluate deployments image local status wake trigger logs ui release releases rollback synth diff deploy destroy access cost prices cost-page audit picture lock clean

help: ## this list
	@awk -F ':.*## ' '/^##@ /{print "\n" substr($$0, 5)} /^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ On this machine

run: .venv/run ## report on a bill, by default a sample: [BILL=…] [PERIOD=2026-11] [OUT=reports]; or FLOW=line_count
ifdef FLOW
	@$(BIN)/python -m deployments.meter -m flows.$(FLOW) $(ARGS)
else
	@$(BIN)/python -m deployments.meter -m flows.cost_report "$(or $(BILL),$(SAMPLE))" --out "$(OUT)" $(if $(PERIOD),--period "$(PERIOD)")
endif
ifeq ($(or $(BILL),$(FLOW)),)
run: $(SAMPLE)/.made
endif

sample: $(SAMPLE)/.made ## make the sample bill, build/sample-bill

$(SAMPLE)/.made: .venv/run $(wildcard flows/sample_bill/*.py)
	@rm -rf $(SAMPLE)
	@$(BIN)/python -m flows.sample_bill $(SAMPLE) --months 4 --last-day 20
	@touch $@

deployments: .venv/run ## check prefect.yaml: every deployment, before anything is deployed
	@$(BIN)/python -m deployments check

image: .venv/infra ## build the image of flows and orchestrator, with Docker or podman: [TAG=…]
	@$(BIN)/python -m infra.local.image $(TAG)

local: .venv/dev .venv/awscli $(SAMPLE)/.made ## the production path on this machine, until Ctrl-C: [ARGS=--always]
	@$(BIN)/python -m infra.local $(ARGS)

##@ An installation: that of infra/settings.toml, or STACK=…; after `. build/local/env` the local one

status: .venv/run ## asleep or awake and why, the next wake-up, the next runs and the last
	@$(OPERATE) status $(STACKED)

wake: .venv/run ## wake the orchestrator, and wait until it works: [NEW=1: it may begin without a history]
	@$(OPERATE) wake $(STACKED) $(if $(NEW),--new)

trigger: .venv/run ## run a deployment now, to its end: DEPLOYMENT=flow/name [PARAM="period=2026-11"] [FOLLOW=0]
	@$(OPERATE) trigger $(STACKED) "$(DEPLOYMENT)" $(foreach pair,$(PARAM),--parameter '$(pair)') $(if $(filter 0,$(FOLLOW)),--no-follow)

logs: .venv/run ## what a run has written, by default the newest: [RUN=name or id] [FOLLOW=1]
	@$(OPERATE) logs $(STACKED) $(if $(RUN),"$(RUN)") $(if $(filter-out 0,$(FOLLOW)),--follow)

ui: .venv/run ## Prefect's pages over this machine's runs; with STACK=… over its history: [LIVE=1: as it is now]
	@$(OPERATE) ui $(STACKED) $(if $(LIVE),--live) $(if $(LOCAL),--local) $(if $(PORT),--port $(PORT))

release: .venv/run .venv/awscli ## by hand what the pipeline does for a push, with the commit checked out
	@$(OPERATE) release $(STACKED)

releases: .venv/run ## the images there are: tag, commit, age, scan, which is live
	@$(OPERATE) releases $(STACKED)

rollback: .venv/run ## make an earlier release live again, and wake the orchestrator: TO=<tag>
	@$(OPERATE) rollback $(STACKED) --to "$(TO)"

OPERATE := $(BIN)/python -m deployments.operate
STACKED = $(if $(STACK),--stack "$(STACK)")

##@ The cloud, as infra/settings.toml says; SET="stage=dev spot=false" instead, for one command

synth: .venv/infra .venv/cdk ## what would exist in AWS, and where the templates are
	@$(BIN)/python -m infra synth $(SETTINGS)

diff: .venv/infra .venv/cdk ## what a deploy would change in AWS
	@$(BIN)/python -m infra diff $(SETTINGS)

deploy: .venv/infra .venv/cdk ## make it so, or change it: [YES=1: do not ask]
	@$(BIN)/python -m infra deploy $(SETTINGS) $(if $(YES),--yes)

destroy: .venv/infra .venv/cdk ## remove what costs; data stays unless SET="purge=true": [YES=1]
	@$(BIN)/python -m infra destroy $(SETTINGS) $(if $(YES),--yes)

access: .venv/infra ## what each deployment may read and write, and what of it would be new
	@$(BIN)/python -m infra access $(SETTINGS)

cost: .venv/infra .venv/cdk ## what it costs a month, line by line, and what else would: [RUNS_PER_DAY=1] [MINUTES=10]
	@$(BIN)/python -m infra.cost bill $(SETTINGS) $(if $(RUNS_PER_DAY),--runs-per-day $(RUNS_PER_DAY)) $(if $(MINUTES),--minutes $(MINUTES)) $(STACKED) $(if $(filter command%,$(origin OUT)),--out "$(OUT)") $(ARGS)

SETTINGS = $(foreach pair,$(SET),--set $(pair))

##@ Maintenance

test: .venv/dev .venv/cdk .venv/awscli ## all tests but those of minutes each: [ARGS="-k name"]; NIGHTSHIFT_LONG=1 runs these too
	$(BIN)/python -m pytest -n auto $(ARGS)

check: .venv/dev ## format, lint and types, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/dev ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/bench ## the bill report's time and memory against DuckDB, Polars and pandas: [ROWS="1000000"]
	$(BIN)/python -m tests.performance.bench $(if $(ROWS),--rows $(ROWS))

bench-wake: .venv/dev ## from a wake-up to a running flow, step by step, in containers
	$(BIN)/python -m tests.performance.bench_wake $(ARGS)

evaluate: .venv/run ## precision and recall of anomalies, error of the forecast
	$(BIN)/python -m tests.performance.evaluate $(if $(SEED),--seed $(SEED))

prices: .venv/infra ## refresh deployments/prices.json through the AWS Price List API, for the settings' region
	@$(BIN)/python -m infra.cost prices $(SETTINGS)

cost-page: .venv/infra .venv/cdk ## write the tables of docs/cost.md and README.md, and draw docs/cost.svg
	@$(BIN)/python -m infra.cost page

audit: .venv/infra .venv/cdk .venv/audit ## checkov's opinion of the templates; what was looked at is in infra/checkov.yaml
	@$(BIN)/python -m infra synth >/dev/null
	@.venv/audit/bin/checkov --config-file infra/checkov.yaml

picture: .venv/infra .venv/cdk ## draw docs/architecture.svg from the templates
	@$(BIN)/python -m infra synth >/dev/null
	@$(BIN)/python -m infra.picture docs/architecture.svg

lock: .venv/infra ## pin every dependency anew, with hashes
	$(BIN)/uv pip compile $(LOCK) -o requirements/run.txt
	$(BIN)/uv pip compile $(LOCK) --group infra -o requirements/infra.txt
	$(BIN)/uv pip compile $(LOCK) --group infra --group dev -o requirements/dev.txt
	$(BIN)/uv pip compile $(LOCK) --group infra --group dev --group bench -o requirements/bench.txt
	$(BIN)/uv pip compile $(subst pyproject.toml,,$(LOCK)) --group audit -o requirements/audit.txt
	$(BIN)/uv pip compile $(subst pyproject.toml,,$(LOCK)) --group awscli -o requirements/awscli.txt
	cd infra && PATH="$(CURDIR)/$(BIN):$$PATH" npm update --package-lock-only --save --omit-lockfile-registry-resolved --no-audit --no-fund

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

# Programs of their own: they pin other versions of what we use.
.venv/audit .venv/awscli: .venv/%: requirements/%.txt | .venv/uv
	@$(PYTHON) -m venv $@
	@$(BIN)/uv pip install --quiet --python $@/bin/python --require-hashes --requirement $<
	@touch $@

# The CDK CLI, beside its own Node.
.venv/cdk: infra/package-lock.json .venv/infra
	@rm -rf $@ && mkdir $@ && cp infra/package.json infra/package-lock.json $@
	@cd $@ && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --silent --ignore-scripts --no-audit --no-fund
	@ln -sf ../cdk/node_modules/.bin/cdk $(BIN)/cdk
	@touch $@

.venv/infra: .venv/run
.venv/dev: .venv/infra
.venv/bench: .venv/dev
