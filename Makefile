# Thin: each target calls a program. `make help` lists them.
CARGO ?= cargo
E2E    = target/debug/e2e-qemu
DENY   = .cache/cargo-deny/bin/cargo-deny
# Programs that ship: where they were built is not in them. The flags are joined with those of cross.toml, which
# `build.rustflags` would give way to; cargo forgets a --config before `build` when there is one behind it.
SHIP   = build --release --locked -p basalt-csi -p basalt-disk-watcher \
	--config 'target."cfg(all())".rustflags=["--remap-path-prefix=$(CURDIR)=/basalt", "--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo"]'

.PHONY: help setup build demo check apiserver test test-all cluster bench advisories programs image extension sysext release clean

help: ## Shows this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

setup: ## Installs what is missing: Debian packages, as root; elsewhere says what is needed
	@./setup.sh

build: setup
	$(CARGO) build --workspace --locked

demo: build ## Boots a guest, plugs a disk into it, and shows it become volumes
	@$(E2E) demo

check: build $(DENY) ## Lints, licences and unit tests, without a guest
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked --features basalt-lvmd/guest,basalt-disk-watcher/guest,basalt-csi/guest,basalt-csi/apiserver,basalt-disk-watcher/apiserver -- -D warnings
	$(DENY) check --hide-inclusion-graph bans licenses sources
	$(CARGO) test --workspace --locked --quiet

advisories: $(DENY) ## Known vulnerabilities of what is linked; fetches RustSec's database
	$(DENY) check --hide-inclusion-graph advisories

$(DENY):
	$(CARGO) install cargo-deny --version 0.20.2 --locked --quiet --root .cache/cargo-deny

apiserver: build ## Tests against a real API server on this machine
	$(E2E) cluster --build-only
	$(CARGO) test -p basalt-csi --features apiserver --test apiserver --locked --quiet -- --test-threads 2
	$(CARGO) test -p basalt-disk-watcher --features apiserver --test apiserver --locked --quiet -- --test-threads 2

test: check apiserver ## Lints, unit tests, guest tests and scenarios, each once
	$(E2E) test

test-all: check apiserver ## The same with every long variant; goes on where it was interrupted, results in docs/results
	@./setup.sh arm64
	$(CARGO) test -p e2e-qemu --test talos --test release --locked --quiet -- --ignored
	$(E2E) test --all --record
	$(E2E) test --all --release lvmd::guest::service::memory_stays_small

cluster: build ## Brings up a real Kubernetes with a node in a guest, and keeps it up: NODES=1
	@$(E2E) cluster --nodes $(or $(NODES),1)

bench: build ## Measures beside peers: table here, numbers in target/bench; ONLY=lvmd for one part
	@$(E2E) bench $(if $(ONLY),--only $(ONLY))

programs: setup ## Builds the programs that ship: target/release
	$(CARGO) $(SHIP)

image: programs ## Builds the node image: target/image
	$(CARGO) run --locked --quiet -p basalt-extension -- image

extension: programs ## Builds the system extensions for Talos: target/extension
	$(CARGO) run --locked --quiet -p basalt-extension -- build
	$(CARGO) run --locked --quiet -p basalt-extension -- validate target/extension/*

sysext: programs ## Builds the extensions for systems with systemd-sysext: target/sysext
	$(CARGO) run --locked --quiet -p basalt-extension -- sysext

release: programs ## Gathers a release in target/releases: VERSION=0.1.0; REGISTRY=host/name pushes it, ARM64=1 adds arm64 (docs/releases.md)
ifdef ARM64
	@./setup.sh arm64
	$(CARGO) run --locked --quiet -p basalt-extension -- cross --arch arm64 >target/cross.toml
	$(CARGO) $(SHIP) --config target/cross.toml --target aarch64-unknown-linux-gnu
endif
	$(CARGO) run --locked --quiet -p basalt-extension -- release $(VERSION) $(if $(REGISTRY),--registry $(REGISTRY)) \
		$(if $(ARM64),--programs-arm64 target/aarch64-unknown-linux-gnu/release) \
		$(if $(ASSETS),--assets $(ASSETS)) $(if $(SIGN),--sign $(SIGN))

clean: ## Removes what was built; caches of trees too
	$(CARGO) clean
	rm -rf .cache
