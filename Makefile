# Each target is what a person would type; nothing is hidden here.
.DEFAULT_GOAL := help

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
DIST := docker-artifact-$(VERSION)-$(shell uname -s | tr A-Z a-z)-$(shell uname -m)
HOST = $(shell rustc -vV | sed -n 's/^host: //p')

.PHONY: build install test lint demo bench dist dist-demo help

build: ## Build target/release/docker-artifact
	cargo build --release --locked

install: ## Install the plugin for Docker, and the standalone programs
	./install.sh

test: ## Run all tests; what is not installed is named and skipped
	cargo test --locked --no-fail-fast

lint: ## Check format, lints, documentation and shell scripts
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	@if command -v shellcheck >/dev/null; then shellcheck install.sh .ci/run tests/newer-debian tests/real/image/*.sh; else echo 'skipped: shellcheck is not installed'; fi

demo: build ## Get files out of an image made on the spot: no Docker, no network
	cargo run --release --locked --quiet --example demo

bench: build ## Compare with the tools people use instead (ARGS='--quick', '--only CASE', ...)
	python3 benches $(ARGS)

# The target is named although it is this machine's own: without that, the flags would also apply to what runs in the build.
# A static program cannot look for getrandom(2) in its C library at run time, and would need /dev/urandom.
STATIC := -C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"
dist: ## Pack a static binary, which runs in any image, into dist/
	RUSTFLAGS='$(STATIC)' cargo build --release --locked --target $(HOST)
	rm -rf dist
	mkdir -p dist/$(DIST)
	cp target/$(HOST)/release/docker-artifact dist/
	cp dist/docker-artifact install.sh README.md CHANGELOG.md LICENSE dist/$(DIST)/
	tar -czf dist/$(DIST).tar.gz -C dist $(DIST)
	rm -r dist/$(DIST)
	cd dist && sha256sum docker-artifact $(DIST).tar.gz >SHA256SUMS

# The demo of what dist has compiled, as a release build takes minutes.
dist-demo: dist
	RUSTFLAGS='$(STATIC)' cargo run --release --locked --target $(HOST) --quiet --example demo

help: ## Show this
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | while IFS='	' read -r target about; do printf '  %-8s %s\n' "$$target" "$$about"; done
