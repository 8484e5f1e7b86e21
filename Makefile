# Each target is what a person would type; nothing is hidden here.
.DEFAULT_GOAL := help

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
# Go's names, which Docker's users know; a machine of another kind keeps its own.
OS := $(shell uname -s | tr A-Z a-z)
ARCH := $(shell uname -m | sed 's/^x86_64$$/amd64/; s/^aarch64$$/arm64/')
RAW := docker-artifact-$(OS)-$(ARCH)
DIST := docker-artifact-$(VERSION)-$(OS)-$(ARCH)
SHA256SUM := $(shell command -v sha256sum || echo shasum -a 256)

.PHONY: build install test lint demo bench pictures dist packages sbom sums dist-demo help

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
	@if command -v shellcheck >/dev/null; then shellcheck install.sh .ci/run packaging/arm64 packaging/packages packaging/shell-files tests/newer-debian tests/packages tests/real/image/*.sh; else echo 'skipped: shellcheck is not installed'; fi

demo: build ## Get files out of an image made on the spot: no Docker, no network
	cargo run --release --locked --quiet --example demo

bench: build ## Compare with the tools people use instead (ARGS='--quick', '--only CASE', ...)
	python3 benches $(ARGS)

pictures: build ## Make the README's picture of a terminal, from a real run
	python3 docs/pictures/terminal.py target/release/docker-artifact docs/terminal.svg

# The target is named although it is this machine's own: without that, the flags would also apply to what runs in the build.
# A static program cannot look for getrandom(2) in its C library at run time, and would need /dev/urandom. macOS has no static programs.
STATIC := $(if $(filter linux,$(OS)),-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom")
dist: ## Pack a static binary, which runs in any image, into dist/
	RUSTFLAGS='$(STATIC)' cargo build --release --locked --target $(HOST)
	rm -rf dist
	mkdir -p dist/$(DIST)
	cp target/$(HOST)/release/docker-artifact dist/$(RAW)
	packaging/shell-files dist/$(RAW) dist/$(DIST)
	cp target/$(HOST)/release/docker-artifact install.sh README.md CHANGELOG.md LICENSE dist/$(DIST)/
	tar -czf dist/$(DIST).tar.gz -C dist $(DIST)
	rm -r dist/$(DIST)
	cp install.sh dist/
	ln dist/$(RAW) dist/docker-artifact
	$(MAKE) --no-print-directory sums

packages: dist ## Pack a .deb and an .rpm into dist/ as well
	packaging/shell-files dist/$(RAW) target/shell-files
	packaging/packages dist/$(RAW) $(ARCH) target/shell-files dist
	$(MAKE) --no-print-directory sums

# In CycloneDX's form, for Linux, by a program that is compiled once.
CYCLONEDX := 0.5.9
sbom: ## Write a list of all that is compiled in into dist/
	cargo install --quiet --locked --root target/tools --version $(CYCLONEDX) cargo-cyclonedx
	target/tools/bin/cargo-cyclonedx cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --override-filename docker-artifact
	mkdir -p dist
	mv docker-artifact.json dist/docker-artifact-$(VERSION).cdx.json
	$(MAKE) --no-print-directory sums

# Of everything in dist/ that a release has: all but the name that this machine uses.
sums:
	cd dist && $(SHA256SUM) $$(ls | grep -vxE 'docker-artifact|SHA256SUMS.*') >SHA256SUMS

# The demo of what dist has compiled, as a release build takes minutes.
dist-demo: dist
	RUSTFLAGS='$(STATIC)' cargo run --release --locked --target $(HOST) --quiet --example demo

help: ## Show this
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | while IFS='	' read -r target about; do printf '  %-8s %s\n' "$$target" "$$about"; done
