# Each target sets up what it needs by itself; the second time that costs nothing.
PYTHON := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help demo test bench faults lock setup clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

demo: ## everything on this machine, until Ctrl-C (DEMO_PORT, DEMO_GATEWAY_PORT, DEMO_DIR, DEMO_ASSETS=sshd)
	@.ci/setup run
	@DEMO_UNDER_MAKE=1 exec $(PYTHON) -m breakglass.demo

test: ## the whole test suite, on SQLite and on PostgreSQL
	@exec .ci/test

bench: ## measurements, as tables
	@.ci/setup test
	@exec $(PYTHON) -m tests.bench

faults: ## what happens on bad days, measured, as tables
	@.ci/packages
	@.ci/setup test
	@exec $(PYTHON) -m tests.faults

lock: ## pin the newest fitting versions of all packages
	@.ci/setup test
	@exec .ci/lock

setup: ## the environment for development: .venv with everything, front-end files
	@.ci/setup test

clean: ## forget the demo and what was built; the next start is a first start
	@rm -rf var/demo var/static var/test-artifacts breakglass/web/static/vendor .mypy_cache .ruff_cache .pytest_cache
