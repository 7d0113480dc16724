# Everything a person or the CI does here. `make` alone lists it.

SHELL := /usr/bin/env bash
CARGO := cargo
# One selection of packages for every build: another would unify features in another way and build all again.
ALL := --locked --workspace
STAGE := scripts/stage
SOAK_SEEDS ?= 10000

.DEFAULT_GOAL := help
.PHONY: help run demo build check fmt fmt-check clippy deny tidy setup test test-browser test-clients clients-table test-tokens \
  lb-test dashboards dash-verify dashboard-pictures k8s-validate k8s-generate deploy-validate image-test rollout-drill \
  test-full soak fuzz bench docs reference clean

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-18s %s\n", $$1, $$2 }'

run: ## Build and start one gateway in --dev with its demo page, on the embedded broker unless SLUICE__REDIS__URL is set
	@scripts/run

demo: ## Three gateways behind nginx, Redis and the backend of the demo page; TLS=1 for HTTPS and HTTP/2
	@scripts/demo

build: ## Build everything, tests included
	$(CARGO) build $(ALL) --all-targets

check: fmt-check clippy deny tidy ## Format, lints, licences and sources of crates, tidiness

fmt: ## Format the tree
	$(CARGO) fmt --all

fmt-check:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy $(ALL) --all-targets -- -D warnings

deny:
	@scripts/deny

tidy:
	$(CARGO) test $(ALL) --test tidy

setup: ## Install what the tests and the demo need and this machine lacks (redis-server, nginx, Chromium, …)
	@scripts/setup

test: setup ## Build, then unit, simulator, script and CLI tests and the scenarios on real parts
	@$(STAGE) --first build 12 $(CARGO) build $(ALL) --all-targets
	@$(STAGE) unit+simulator 5 $(CARGO) test $(ALL) --no-fail-fast --lib --bins
	@$(STAGE) scripts+cli+scenarios 10 $(CARGO) test $(ALL) --no-fail-fast --test '*'
	@$(STAGE) browser 4 scripts/browser
	@$(STAGE) clients 5 scripts/clients
	@$(STAGE) tokens 2 scripts/tokens
	@$(STAGE) lb 3 scripts/lb --short
	@$(STAGE) kubernetes 3 scripts/k8s-validate --quick
	@$(STAGE) deploy 2 scripts/deploy-validate
	@$(STAGE) static-programs 6 scripts/static-programs debug
	@$(STAGE) images 2 scripts/image-test --quick
	@$(STAGE) --summary

test-browser: setup ## Chromium through nginx against three gateways and Redis, all of them real
	$(CARGO) build $(ALL) --bins
	@scripts/browser

test-clients: setup ## Read the stream with clients that others wrote, of several languages; run the README's programs
	@scripts/clients

clients-table: setup ## The same, and renew the table and the snippets of docs/clients.md
	@scripts/clients --update

test-tokens: setup ## Mint tokens with the libraries of several languages and show them to a gateway; run the lines of docs/auth.md
	@scripts/tokens

lb-test: setup ## nginx, HAProxy, Envoy and Caddy before real gateways, with the right settings and with wrong ones
	@scripts/lb

deploy-validate: ## Lint the Dockerfile, judge the compose file, judge and run the systemd units, without a Docker engine
	@scripts/deploy-validate

image-test: ## Build the images around programs as shipped, and run them from their own root
	@scripts/image-test

test-full: test soak ## The same, then the tests marked as slow, and the soak
	@$(STAGE) --first slow 60 $(CARGO) test $(ALL) --no-fail-fast --lib --bins --test '*' -- --ignored --skip independent_clients

soak: ## The simulator over many seeds, optimised: SOAK_SEEDS=10000
	SLUICE_SIM_SEEDS=$(SOAK_SEEDS) $(CARGO) test --locked --release -p sluice-gateway --lib simulator:: -- --nocapture

dashboards: ## Render grafana/dashboards from grafana/src
	@scripts/setup jsonnet
	jsonnet --multi grafana/dashboards grafana/src/main.jsonnet

dash-verify: setup ## Dashboards, rules and runbooks against a real Prometheus that watches nodes under load and faults
	$(CARGO) build $(ALL) --bins
	$(CARGO) test $(ALL) --test dashboards

dashboard-pictures: setup ## The same, drawn by grafana/preview in Chromium, into docs/pictures
	$(CARGO) build $(ALL) --bins
	$(CARGO) test $(ALL) --test dashboards -- --ignored take_the_pictures
	cp target/dashboard-pictures/dashboard-*.png docs/pictures/

fuzz: ## Fuzz every target for a while, on a nightly compiler: FUZZ_SECONDS=120 for all of them together
	@scripts/fuzz

bench: setup ## Measure idle memory, fan-out and publishing, one line of JSON each
	@scripts/bench

k8s-validate: ## Render the Kubernetes manifests and judge them, offline: schemas, rules of our own, checkov
	$(CARGO) build $(ALL) --bins
	@scripts/k8s-validate

k8s-generate: ## Renew what Kubernetes takes of the rules and dashboards in grafana/
	@scripts/k8s-generate

rollout-drill: ## Replace three nodes behind nginx one by one under 5,000 clients, and judge what they saw: RUNS=3
	@scripts/rollout-drill

docs: ## Build the site of these documents into target/docs/site and check its links
	@scripts/docs

reference: ## Renew what is generated in the documents: the reference of docs/configuration.md
	SLUICE_UPDATE_DOCS=1 $(CARGO) test $(ALL) --test tidy reference

clean: ## Remove what was built
	$(CARGO) clean
