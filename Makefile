# Each line is a habit. `make up` starts everything; `make test` tests everything. Both set up what they need.
SHELL := /bin/bash
PYTHON := .venv/bin/python
PORT ?= 8000
HOST ?= 127.0.0.1
DATA_DIR ?= data

.DEFAULT_GOAL := help

help: ## Show these lines
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: ## Python packages and the built page; does nothing when they are fresh
	@bash scripts/setup.sh

up: setup ## Start everything on this machine and stay in the foreground
	@exec $(PYTHON) -m tunescope up --host $(HOST) --port $(PORT) --data-dir $(DATA_DIR)

test: setup ## Set up and run every check and test
	@bash scripts/test.sh

check: setup ## Linters and types only
	@bash scripts/check.sh

client: setup ## Generate the page's typed client anew after a change of the API
	@cd frontend && PATH="$$(../$(PYTHON) ../scripts/node_bin.py):$$PATH" npm run --silent client

docs: setup ## Write docs/cli.md anew after a change of the command line
	@$(PYTHON) scripts/cli_reference.py > docs/cli.md

migration: setup ## New migration: make migration m="what changes"
	$(PYTHON) -m alembic revision --autogenerate -m "$(m)"

.PHONY: help setup up test check client docs migration
