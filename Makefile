# `make` lists the targets. Every target sets the project up first where that is needed.
.DEFAULT_GOAL := help
SHELL := /bin/bash

# Where the tables lie, and how much the generator makes.
LAKE ?= .lake
GENERATE ?= --help
# Where `make publish` writes: postgresql://user@host:port/database; the environment variable of the settings otherwise.
POSTGRES ?=
# Where the report goes.
REPORT ?= report.html
# Options of `make bench`; without any, 1 and 10 million events.
BENCH ?=
# Processes that share the tests, each with a Spark of its own (4 GB in all); 0: the tests run in one, and may be debugged.
WORKERS ?= 2
# How long `make soak` goes on.
SECONDS ?= 1800

PYTHON_RUN := .venv/bin/python
CODE := pipelines jobs data deploy tests benchmarks

# Settings of another Spark or Python on this machine must not reach this one.
unexport SPARK_HOME SPARK_CONF_DIR PYSPARK_SUBMIT_ARGS PYTHONHOME
export PYTHONPATH := $(CURDIR)
# Small runs end before the JVM's optimising compiler pays for itself: it took more than a third of their time. Without
# it the JVM's code cache is a fifth as large; many tests fill that, and then nothing is compiled any more.
run-local test soak anomalies: export SPARK_SUBMIT_OPTS ?= -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m
export SQL

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "  make %-16s %s\n", $$1, $$2 }'
	@echo '  LAKE=DIR chooses the lakehouse (now $(LAKE))'

.PHONY: setup
setup: ## Make .venv: Python packages, a JDK, Delta's jars, Spark's configuration
	@deploy/setup.sh

# The same without a word when there is nothing to do.
.PHONY: ready
ready:
	@deploy/setup.sh --quiet

.PHONY: run-local
run-local: ready ## Sample events through bronze, silver and gold, and a summary
	@$(PYTHON_RUN) jobs/run_local.py --lakehouse '$(LAKE)'

.PHONY: query
query: ready ## Ask the tables: make query SQL="select * from gold.journey_stats_daily"
	@$(PYTHON_RUN) jobs/query.py --lakehouse '$(LAKE)' "$$SQL"

.PHONY: warehouse
warehouse: ready ## A DuckDB file with a described view for every published table: LAKE/warehouse.duckdb
	@$(PYTHON_RUN) jobs/warehouse.py --lakehouse '$(LAKE)'

.PHONY: publish
publish: ready ## Bring PostgreSQL up to date: make publish POSTGRES=postgresql://user@host:port/database
	@$(PYTHON_RUN) jobs/publish.py --lakehouse '$(LAKE)' $(if $(POSTGRES),--postgres '$(POSTGRES)')

.PHONY: quality
quality: ready ## A page of checks, runs, refused records and the dictionary: LAKE/quality.html
	@$(PYTHON_RUN) jobs/quality.py --lakehouse '$(LAKE)'

.PHONY: serve
serve: ready ## Serve the published tables over HTTP (conf/api.yaml): make serve LAKE=DIR
	@$(PYTHON_RUN) jobs/serve.py --lakehouse '$(LAKE)'

.PHONY: api-key
api-key: ready ## Make an API key for some sites: make api-key SITES=shop,blog
	@$(PYTHON_RUN) jobs/api_key.py --sites '$(SITES)'

.PHONY: load
load: ready ## Measure the API with eight clients on a million generated sessions; the result goes to docs/load.md
	@$(PYTHON_RUN) -m benchmarks.load

.PHONY: bench-install
bench-install: ready ## Install what this project is compared with and does not use itself, for `make bench`
	@.venv/bin/pip install --disable-pip-version-check --quiet --require-hashes -r benchmarks/requirements.txt

.PHONY: bench
bench: bench-install ## Compare with DuckDB, Polars, ClickHouse, plain Spark: benchmarks/RESULTS.md (BENCH="--help": options)
	@$(PYTHON_RUN) -m benchmarks.compare $(BENCH)

.PHONY: query-attacks
query-attacks: ready ## Attack POST /query; the list with its results goes to docs/query_attacks.md
	@$(PYTHON_RUN) -m tests.serving.attacks

.PHONY: redis-install
redis-install: ## Install Debian's Redis, for a shared cache of answers and its tests
	@deploy/redis.sh

.PHONY: report
report: ready ## Write the report, one HTML file: make report REPORT=report.html
	@$(PYTHON_RUN) jobs/report.py --lakehouse '$(LAKE)' --out '$(REPORT)'

.PHONY: chromium-install
chromium-install: ## Install Chromium (Debian's), for the tests of the report
	@deploy/chromium.sh install

.PHONY: generate
generate: ready ## Make sample events: make generate GENERATE="--help"
	@$(PYTHON_RUN) -m data.generate $(GENERATE)

.PHONY: kafka-install
kafka-install: ready ## Fetch the jars of a local Kafka broker, for `make kafka` and the tests of topics
	@deploy/kafka.sh install

.PHONY: kafka
kafka: kafka-install ## Run a Kafka broker on 127.0.0.1:9092 until it is interrupted
	@exec deploy/kafka.sh run

.PHONY: postgres-install
postgres-install: ## Install the system's PostgreSQL, for `make postgres` and the tests of publishing
	@deploy/postgres.sh install

.PHONY: postgres
postgres: postgres-install ## Run a PostgreSQL on 127.0.0.1:5432 until it is interrupted
	@exec deploy/postgres.sh run

.PHONY: test
test: ready ## Run the tests, in two processes (WORKERS=N: in how many)
	@$(PYTHON_RUN) -m pytest -q -n $(WORKERS) --dist loadfile

.PHONY: soak
soak: ready ## Random arrivals and kills for half an hour; the result goes to docs/soak.md (SECONDS=N: for how long)
	@$(PYTHON_RUN) -m tests.soak --seconds $(SECONDS)

.PHONY: anomalies
anomalies: ready ## Plant incidents into generated visits and write what is found to docs/anomalies.md
	@$(PYTHON_RUN) -m tests.incidents

.PHONY: check
check: ready ## Lint, formatting, types and the rules of who imports whom
	@.venv/bin/ruff check $(CODE)
	@.venv/bin/ruff format --check $(CODE)
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache

.PHONY: format
format: ready ## Format the code and mend what the linter can
	@.venv/bin/ruff check --fix-only --quiet $(CODE)
	@.venv/bin/ruff format $(CODE)

.PHONY: docs
docs: ready ## Write docs/tables.md from the contracts and docs/faults.md from the tests
	@$(PYTHON_RUN) -m pipelines.quality.dictionary
	@$(PYTHON_RUN) -m tests.faults

.PHONY: lock
lock: ## Write requirements.txt from requirements.in, here and in benchmarks (needs uv)
	@command -v uv >/dev/null || { echo 'make lock needs uv: install it first' >&2; exit 2; }
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command 'make lock' --quiet requirements.in -o requirements.txt
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command 'make lock' --quiet -c requirements.txt benchmarks/requirements.in \
	    -o benchmarks/requirements.txt

.PHONY: clean
clean: ## Remove the local lakehouse and all caches; .venv stays
	@rm -rf .lake .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache spark-warehouse metastore_db derby.log
	@find pipelines jobs data deploy tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
