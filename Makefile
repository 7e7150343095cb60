# SPDX-License-Identifier: MIT
# Each target installs what it needs: a Python environment in .cache/venv; the testbed sees to engine, images and nodes.

MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
VENV := .cache/venv
READY := $(VENV)/ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONPATH := $(CURDIR)
export PYTHONUNBUFFERED := 1
# Ansible loads its plugins anew in each process that it forks: uncompiled, that is a third of a playbook's processor time (measured).
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/pycache
# IMAGES=upstream: the nodes pull the genuine images instead of getting doubles.
export IMAGES ?= doubles
TESTBED := python -m testbed
# The folders of molecule/; the longest scenarios first, so that none runs alone at the end. The hosts of `make lab` are no test. All tests of
# nightly ones are for `make soak`.
NIGHTLY := adopt
LONGEST := scale backup upgrade tls default cluster
SCENARIOS := $(LONGEST) $(filter-out $(LONGEST) $(NIGHTLY) lab,$(patsubst molecule/%/molecule.yml,%,$(wildcard molecule/*/molecule.yml)))
STEPS := $(foreach step,converge verify destroy,$(SCENARIOS:%=$(step)-%) $(NIGHTLY:%=$(step)-%))
# Parts of `make test`, begun in this order: `lint` beside the images, which it does not need; beside the scenario with the most hosts, what has none.
PARTS := images lint molecule-scale unit page refusals proxy $(patsubst %,molecule-%,$(filter-out scale,$(SCENARIOS)))
# How many of them run at the same time: each one leaves processors idle while it waits for hosts.
JOBS ?= 2
TIMES := .cache/times
# With it, tests start Ansible with what testbed/preloaded.py takes from its way: two thirds less processor time. `make test SHORTCUTS=` runs Ansible as it is.
test: export SHORTCUTS ?= 1

.DEFAULT_GOAL := help
.PHONY: help scenarios lab lab-table lab-down images test $(PARTS:%=part-%) lint unit page refusals proxy molecule $(SCENARIOS:%=molecule-%) $(STEPS) soak mutants bench pictures generate build clean

help: ## This list
	@grep -E '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): requirements.txt requirements-test.txt
	@command -v python3 >/dev/null || { apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv; }
	@python3 testbed/bootstrap.py $(VENV) requirements-test.txt
	@touch $@

lab: $(READY) ## Three hosts, Trigger.dev deployed on them, a task run on a worker (IMAGES=upstream: genuine images)
	@$(TESTBED) lab-up

lab-table: $(READY) ## Run a task on the lab and show what is connected
	@$(TESTBED) lab-table

lab-down: $(READY) ## Remove the lab and everything that lab and tests have made
	@$(TESTBED) lab-down

images: $(READY) ## Build node and service images
	@$(TESTBED) images

test: $(READY) ## Everything that is tested, JOBS=2 parts at a time, with the time of each part
	@rm -rf $(TIMES) && mkdir -p $(TIMES)
	@$(MAKE) --jobs=$(JOBS) $(PARTS:%=part-%); code=$$?; \
	times=$$(for part in $(PARTS); do if [ -f $(TIMES)/$$part ]; then echo -n "; $$part $$(< $(TIMES)/$$part)"; fi; done); \
	[ $$code = 0 ] || { grep -hE "\] (E  |FAILED|ERROR) |fatal: " $(TIMES)/*.failed | tail -n 60; echo "make test: failed$$times" >&2; exit 1; }; \
	echo "make test: all green$$times"

# Each line carries the name of its part. When one fails, those that run beside it go on to their end, and no other begins.
# A supervisor that is replaced must be back in seconds: parts without hosts leave processors to those that have some. `images` starts the engine,
# whose containers inherit its priority: it must not be lowered.
$(PARTS:%=part-%): part-%: $(READY)
	@$(if $(filter images molecule-%,$*),,nice )$(MAKE) $* 2>&1 | sed --unbuffered 's/^/[$*] /' | tee $(TIMES)/$*.log; code=$$?; \
	[ $$code = 0 ] || { failed="failed after "; mv $(TIMES)/$*.log $(TIMES)/$*.failed; }; \
	echo "$$failed$$SECONDS s" > $(TIMES)/$*; exit $$code

# One command builds what most of them need. Make comes back to a part that had to wait when all others have begun: so all wait.
$(filter-out part-images part-lint,$(PARTS:%=part-%)): part-images

lint: $(READY) ## ansible-lint, yamllint, ruff, mypy
	ansible-lint --offline --strict
	yamllint --strict .
	ruff check
	ruff format --check
	mypy
	mypy --package ansible_collections.selfhosted.trigger_dev.plugins

unit: $(READY) ## Unit and consistency tests
	pytest --quiet --durations 12 tests --ignore tests/refusals --ignore tests/socket_proxy --ignore tests/page

page: $(READY) ## The page of the status in a real browser; its pictures are in .cache/page
	pytest --quiet tests/page

pictures: ## Take the pictures of that page in docs/pictures anew
	@python3 testbed/bootstrap.py .cache/pictures tools/requirements-pictures.txt
	.cache/pictures/bin/python -m tools.pictures

refusals: $(READY) ## Every bad input of the table, one run of the playbook each
	pytest --quiet tests/refusals

proxy: $(READY) ## What the socket proxy passes and refuses, with two versions of HAProxy; make images first
	pytest --quiet tests/socket_proxy

molecule: $(SCENARIOS:%=molecule-%) ## All scenarios

scenarios: ## The names of the scenarios in JSON, for CI
	@python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' $(SCENARIOS)

$(SCENARIOS:%=molecule-%): molecule-%: $(READY)
	@$(TESTBED) test-$*

# converge-cluster, verify-cluster, destroy-cluster: one step of a scenario, whose hosts stay.
$(STEPS): $(READY)
	@$(TESTBED) $@

soak: $(READY) ## Tests of the scenarios that take too long for every change (pytest.mark.soak): for the night
	@$(TESTBED) soak

# soak-backup: those of one scenario.
soak-%: $(READY)
	@$(TESTBED) $@

mutants: ## Change the product in one place at a time: what no test notices (SAMPLE=50 SEED=1 JOBS=2 PATHS="...")
	@python3 testbed/bootstrap.py .cache/mutants tools/requirements-mutants.txt
	.cache/mutants/bin/python -m tools.mutants --sample $(or $(SAMPLE),0) --seed $(or $(SEED),0) --jobs $(JOBS) $(PATHS)

bench: $(READY) ## Measure what deployments cost (WORKERS=8 RUNS=5); figures and plot are in .cache/bench
	@$(TESTBED) bench

generate: $(READY) ## Write what follows from roles/*/meta/settings.yml: defaults, argument specs, tables of the documents; and dashboards
	@python -m tools.settings

build: $(READY) ## The collection as an archive
	ansible-galaxy collection build --force --output-path .cache/build

clean: ## Remove the Python environment too; hosts are removed by lab-down
	@if [ -e $(READY) ]; then $(MAKE) lab-down; fi
	rm -rf .cache .ansible .mypy_cache .pytest_cache .ruff_cache .hypothesis
