# Everything that a change has to pass, and everything it needs on a fresh Debian machine.

SHELL := /bin/bash
CARGO ?= cargo
NODE_PACKAGES := tests/browser/node_modules/.package-lock.json

.PHONY: help run check test fuzz setup node-packages meeting package bench

help: ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

run: ## run a relay
	$(CARGO) run --release

check: node-packages ## format, lints, documentation, dependency policy, types of the browser code
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items
	tests/dependencies
	cd tests/browser && npx --no-install tsc

test: setup ## install what the tests need, then run every test
	$(CARGO) build --release
	tests/run $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/release/tertulia
	$(CARGO) test --benches --profile test -- --test
	tests/fuzz
	$(CARGO) build --example impair
	TERTULIA_BIN=$(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/debug/tertulia node --test --test-concurrency=1 tests/browser/*.test.js

fuzz: ## a million inputs over the fuzz targets; more of each: tests/fuzz 10000000
	tests/fuzz

setup: node-packages ## install Chromium, Firefox, ffmpeg, and what the browser tests need
	tests/setup

node-packages: $(NODE_PACKAGES)

$(NODE_PACKAGES): tests/browser/package-lock.json
	@{ command -v npm && command -v cc; } >/dev/null || tests/setup
	cd tests/browser && npm ci --no-audit --no-fund

meeting: setup ## measure: people in Chromium and Firefox see and hear each other, with loss too; the figures of a quiet machine are bounds
	$(CARGO) build --release --bins --example impair
	MEETING=quiet TERTULIA_BIN=$(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/release/tertulia node --test --test-concurrency=1 tests/browser/media.test.js tests/browser/loss.test.js

package: node-packages ## make the npm package of the browser SDK in target/, with types out of its JSDoc
	mkdir -p target
	cd web && npm pack --pack-destination ../target

bench: ## measure: relay CPU per delivered datagram beside the floor and a naive relay
	$(CARGO) bench
