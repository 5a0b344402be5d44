# Every task by name; `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

CARGO ?= cargo
VENV := target/tools
DENY := scripts/deny.sh $(VENV)
TYPOS := $(VENV)/bin/typos

.PHONY: help run test torture bench ci quick lint unit tools fmt update fuzz doc

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

run bench: export FAROL_REVISION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

run: ## build and start Farol with its defaults; prints the URL
	$(CARGO) build --release --locked -p farol
	@mkdir -p .farol
	exec target/release/farol run --data .farol/data --logs .farol/logs

test: tools ci ## install what the tests need, then pass all of them

ci: quick lint unit ## what test does, with the tools in place

quick: ## formatting, licences, bans, spelling
	$(CARGO) fmt --all --check
	$(DENY) --all-features check bans licenses sources
	$(TYPOS)

lint: ## clippy and rustdoc without a warning; fuzz targets compile
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked
	$(CARGO) check --manifest-path fuzz/Cargo.toml --target-dir target/fuzz-check

unit: ## every test, in its short, seeded form
	$(CARGO) test --workspace --locked

tools: ## what the tests need: Debian's peers (as root), and two checkers
	scripts/install-test-tools.sh $(VENV)

torture: tools ## the full figures: kill loops, tracing, long property tests, fuzzing
	scripts/torture.sh

bench: ## every measurement of docs/benchmarks.md, beside its peers
	$(CARGO) build --release --locked -p farol
	scripts/bench.sh

fuzz: ## each fuzz target for FUZZ_SECONDS (default 60)
	scripts/fuzz.sh

fmt: ## format the code
	$(CARGO) fmt --all

update: ## rewrite goldens and generated pages
	UPDATE=1 $(CARGO) test --workspace --locked
