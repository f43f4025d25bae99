# Thin: each target calls a program. `make help` lists them.
CARGO ?= cargo
E2E    = target/debug/e2e-qemu

.PHONY: help setup build demo test test-all image clean

help: ## Shows this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

setup: ## Installs what is missing: Debian packages, as root; elsewhere says what is needed
	@./setup.sh

build: setup
	$(CARGO) build --workspace --locked

demo: build ## Boots a guest, plugs a disk into it, and shows it become volumes
	@$(E2E) demo

test: build ## Lints, unit tests, guest tests and scenarios, each once
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked --features basalt-lvmd/guest,basalt-disk-watcher/guest,basalt-csi/guest -- -D warnings
	$(CARGO) test --workspace --locked --quiet
	$(E2E) test

test-all: build ## The same with every long variant; goes on where it was interrupted, results in docs/results
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked --features basalt-lvmd/guest,basalt-disk-watcher/guest,basalt-csi/guest -- -D warnings
	$(CARGO) test --workspace --locked --quiet
	$(E2E) test --all --record

image: setup ## Builds the node image: target/image
	$(CARGO) build --release --locked -p basalt-csi -p basalt-disk-watcher
	$(CARGO) run --locked --quiet -p basalt-extension -- image

clean: ## Removes what was built; caches of trees too
	$(CARGO) clean
	rm -rf .cache
