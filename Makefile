# Two commands set everything up on a fresh machine and do it: `make demo` and `make test`. The rest are their parts.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Commands get no more of the caller's environment than this, so that they do the same on every machine: where things
# are, and how package managers reach their registries.
KEPT := CI HOME LANG PATH TMPDIR PIP_% UV_% SSL_CERT_% %_proxy %_PROXY MAKE%
$(foreach name,$(filter-out $(KEPT),$(.VARIABLES)),$(if $(filter environment,$(origin $(name))),$(eval unexport $(name))))

VENV := .venv
BIN := $(VENV)/bin
OLDEST := .oldest
SPREAD := --dist loadfile --no-loadscope-reorder
FUZZ_SECONDS := 60
PYTHONS := 3.11 3.12 3.13 3.14
TESTS :=
ENGINE := config content fsck gc hostile layers metadata oci registry runtime snapshots space store tasks
UV := $(shell command -v uv || echo .uv/bin/uv)

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

demo: setup runtime ## pull, unpack, bundle and run an image; REF=docker.io/library/alpine for a real one
	@$(BIN)/python -m tests.demo $(REF)

demo-fleet: setup ## roll two images out onto three hosts, which are processes here, and show what is on each
	@$(BIN)/python -m tests.demo_fleet

test: packages setup lint types contracts ## lint, types, import contracts, and the tests that wait for little
	TMPDIR=$$(.ci/scratch) $(BIN)/pytest -n 4 $(SPREAD)

long: packages setup ## the tests that wait for workers, servers and schedules, and more cases of others: eleven minutes
	TMPDIR=$$(.ci/scratch) $(BIN)/pytest -m "long and not large and not matrix" -n 4 $(SPREAD)

large: packages setup ## the tests with large real images, and crashes at many more calls, which take half an hour
	TMPDIR=$$(.ci/scratch) $(BIN)/pytest -m large -n 2 $(SPREAD)

matrix: packages setup ## crashes and faults at every system call of every verb, and at 40 of each command, which takes two hours
	TMPDIR=$$(.ci/scratch) $(BIN)/pytest -m matrix -n 3 --maxschedchunk 1 -v

soak: packages setup ## 200 clients of `prestow serve` for ten minutes, with slow and hostile ones beside them
	$(BIN)/pytest -m soak -v

# Python 3.11 fails at times to trace a new thread where an audit hook hears of that, and tests.started has such a hook.
coverage: packages setup ## the engine's tests, and whether enough of its lines and branches are run: 7 minutes
	TMPDIR=$$(.ci/scratch) $(BIN)/pytest -n 3 $(SPREAD) -p no:tests.started --cov --cov-report=term \
	  $(addprefix tests/,$(ENGINE) $(patsubst %,flows/test_%.py,bundle fsck prune pull run))

pythons: packages setup ## the engine's tests on the other Pythons of this machine
	TMPDIR=$$(.ci/scratch) TESTS="$(TESTS)" .ci/pythons $(UV) $(PYTHONS)

SUITE := bookworm
fresh: ## the demos and test on a new Debian that has nothing, before each release; SUITE=trixie for a newer one
	.ci/fresh $(SUITE) demo demo-fleet test

fuzz: packages setup ## fuzz what reads foreign bytes, a minute each; FUZZ_SECONDS=600 for longer
	@mkdir -p .fuzz
	@for f in tar compression oci erofs; do \
	  $(UV) run -q --with atheris python -m tests.fuzz.fuzz_$$f -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=.fuzz/$$f-; \
	done

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

contracts:
	$(BIN)/lint-imports

wheel: setup ## build the wheel
	rm -rf dist && $(UV) build -q --wheel --out-dir dist

format: ## let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## make the reference pages that are made from the code
	$(BIN)/python -m config.page > docs/reference/settings.md

screenshots: setup ## take the pictures of Prefect's UI that the docs show, with Debian's chromium, which it installs
	$(call apt_install,chromium fonts-dejavu-core,exit 1)
	$(BIN)/python -m tests.screenshots

schema: $(OLDEST)/ready ## make the database template of the local server from the oldest Prefect's migrations
	$(OLDEST)/bin/python -m flows.local_server.template

oldest: packages $(OLDEST)/ready ## the tests of what uses Prefect, with the oldest Prefect that pyproject.toml allows
	$(OLDEST)/bin/pytest -n 3 $(SPREAD) tests/flows tests/tasks tests/test_dependencies.py

$(OLDEST)/ready: setup
	$(UV) venv -q --clear $(OLDEST)
	$(UV) export -q --locked --all-groups --no-hashes | \
	  sed "s/^prefect==.*/prefect==$$(sed -n 's/.*"prefect>=\([0-9.]*\),.*/\1/p' pyproject.toml)/" | \
	  $(UV) pip install -q --python $(OLDEST) --compile-bytecode -r -
	touch $@

setup: $(VENV)/ready

$(VENV)/ready: pyproject.toml uv.lock | $(UV)
	$(UV) sync -q --locked --compile-bytecode
	touch $@

.uv/bin/uv:
	@python3 -c 'import ensurepip' 2>/dev/null || $(MAKE) --no-print-directory packages
	python3 -m venv .uv
	.uv/bin/pip install -q --disable-pip-version-check uv

# Install with apt what is missing, where that is allowed; else say what to ask for.
define apt_install
	@missing=(); for p in $(1); do dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || missing+=($$p); done; \
	if [ $${#missing[@]} -eq 0 ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $${missing[@]} >/dev/null; \
	else echo "missing packages: $${missing[*]} (as root: apt-get install $${missing[*]})" >&2; $(2); fi
endef

packages: ## Debian packages that the tests need
	$(call apt_install,$(shell grep -v '^\#' .ci/packages),exit 1)

runtime:
	@command -v runc >/dev/null || { $(MAKE) --no-print-directory runc-package; }

runc-package:
	$(call apt_install,runc,echo "without runc the demo shows the bundle and does not run it" >&2)

clean: ## remove what the other targets made
	rm -rf $(VENV) $(OLDEST) .uv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .fuzz .pythons .coverage

.PHONY: help demo demo-fleet test long soak coverage pythons fresh large matrix fuzz lint types contracts wheel format docs screenshots schema oldest setup packages runtime runc-package clean
