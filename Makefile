# The two commands of a newcomer: `make demo` and `make test`. Each installs what is missing and builds what is stale.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
MILLRACE := .build/release/millrace
JANUARY := .build/play/flights-january.ndjson
export MILLRACE_NOIDA_DB := $(CURDIR)/.venv/noida-db
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help deps build demo test test-kafka simulate soak bench bench-recovery clean

help:
	@printf '%s\n' \
	  'make demo    the flagship, live: real flights, a poisoning, a rollback; about three minutes after the build' \
	  '             KAFKA_BOOTSTRAP=host:port make demo does the same on your Kafka' \
	  'make test    all tests, on noida-db where a broker is needed' \
	  'make test-kafka  what needs a broker, on Apache Kafka: MILLRACE_KAFKA=<script that starts it>, or KAFKA_BOOTSTRAP=host:port;' \
	  '             KAFKA_VERSION=3.6 another version' \
	  'make simulate SEEDS=5000   whole workers in simulated worlds; FROM=n begins elsewhere, SEED=n plays one and tells all' \
	  'make soak MINUTES=20   three workers under faults at random and a constant load; SEED=n the same faults again' \
	  'make build   the release binary, $(MILLRACE)' \
	  'make bench   the figures of the README; BENCH=--json for machines' \
	  'make bench-recovery  how quickly a worker is ready again' \
	  'make deps    only install what is missing (apt, a private .venv)' \
	  'make clean   remove what was built and installed here'

deps:
	@deploy/tools/deps.sh

build: deps
	@printf '== building %s (release)\n' $(MILLRACE) >&2
	@swift build -c release --product millrace

demo: build
	@$(PYTHON) deploy/demo/demo.py --millrace $(MILLRACE)

test: deps
	@$(PYTHON) deploy/tools/run_tests.py

test-kafka: deps
	@$(PYTHON) deploy/tools/run_tests.py --kafka --version $(or $(KAFKA_VERSION),4.1)

# FAULTS=n lets so many befall each world. In a build of its own: optimised, a world takes an eighth of the time.
SIMULATION := -c release --scratch-path .build/simulate -Xswiftc -enable-testing
simulate: export MILLRACE_TESTS := SimulationTests
simulate: deps
	@swift build --build-tests $(SIMULATION)
	@SEED=$(SEED) FAULTS=$(FAULTS) SEEDS=$(or $(SEEDS),5000) FROM=$(FROM) swift test --skip-build $(SIMULATION) --filter 'through every fault'

# On noida-db, or on Apache Kafka where MILLRACE_KAFKA or KAFKA_BOOTSTRAP names one.
soak: deps
	@$(PYTHON) deploy/tools/run_tests.py --soak $(or $(MINUTES),20) --seed '$(SEED)'

$(JANUARY): deploy/pipelines/flight-delay/play.py deploy/pipelines/playfile.py
	@mkdir -p $(@D)
	@$(PYTHON) $< --source january --out $@

bench: build $(JANUARY)
	@swift build -c release --product millrace-bench
	@$(PYTHON) deploy/tools/bench.py --millrace $(MILLRACE) --play $(JANUARY) $(BENCH)

bench-recovery: build $(JANUARY)
	@swift build -c release --product millrace-bench
	@$(PYTHON) deploy/tools/recovery.py --millrace $(MILLRACE) --play $(JANUARY) $(BENCH)

clean:
	@rm -rf .build .venv .demo
