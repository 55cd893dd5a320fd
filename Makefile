# Four verbs for people: make demo, make test, make bench, make fmt. The others are their steps, make fuzz for those who
# change the grammar of filters or how files of indexes are read, and make expressions for those who change how filters are
# evaluated.
# Rust is assumed; Python 3 and, where it is there, Node are used by the end-to-end tests, which keep
# their packages outside the repository. One cargo profile serves everything: release. Builds name the
# whole workspace, so that the binary and the tests share every compiled dependency.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

CARGO ?= cargo
export CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
BINARY := $(CARGO_TARGET_DIR)/release/elanus
RUST_LOG_FILE := $(CARGO_TARGET_DIR)/test-rust.log
E2E_LOG_FILE := $(CARGO_TARGET_DIR)/test-e2e.log
FUZZ_SECONDS ?= 60
# Where mnist784 and text384 are, each as .npz or .hdf5 (benches/ann/README.md); those that are not there are not measured.
ANN_DATA ?=
ANN_SETS = syn128 syn768 $(foreach set,mnist784 text384,$(if $(wildcard $(ANN_DATA)/$(set).npz $(ANN_DATA)/$(set).hdf5),$(set)))
ANN_INDEXES = FLAT HNSW IVF_FLAT IVF_SQ8 IVF_PQ IVF_RABITQ IVF_RABITQ_FASTSCAN SCANN DISKANN
# What benches/ann/ann.py measures by default: next to every library that can be installed.
ANN ?= --set $(ANN_SETS) --index $(ANN_INDEXES) --rounds 3 --seconds 0.2
step = @printf '\n==> %s\n' '$(1)'

.PHONY: help demo test bench fuzz expressions fmt build lint rust-tests e2e venv nvrtc counts

help: ## what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## see it work on real data
	@'$(BINARY)' demo

test: venv nvrtc lint rust-tests build e2e counts ## format, lints, all tests: what CI runs

bench: venv ## kernels next to lance-linalg, then indexes next to other libraries, on real vectors too with ANN_DATA=FOLDER; about an hour, forty minutes more with those; less with ANN='--set small --peers faiss' (python3 benches/ann/ann.py --help)
	$(call step,cargo bench of the kernels)
	@CARGO_TARGET_DIR='$(CARGO_TARGET_DIR)/kernels' RUSTFLAGS='-C target-cpu=native' \
	    $(CARGO) bench --locked --manifest-path benches/kernels/Cargo.toml
	$(call step,benches/ann/ann.py $(strip $(ANN)))
	@python3 benches/ann/ann.py $(if $(ANN_DATA),--data '$(ANN_DATA)') $(ANN)

fuzz: ## fuzz filters and files of indexes, a minute each, an hour with FUZZ_SECONDS=3600; needs a nightly toolchain and cargo-fuzz; not part of make test
	@$(CARGO) +nightly fuzz --version >/dev/null 2>&1 || { \
	    echo 'needed: rustup toolchain install nightly; cargo install cargo-fuzz --locked'; exit 1; }
	$(call step,cargo fuzz run filter)
	@python3 fuzz/seeds.py fuzz/corpus/filter
	@CARGO_TARGET_DIR='$(CARGO_TARGET_DIR)/fuzz' $(CARGO) +nightly fuzz run --fuzz-dir fuzz filter -- \
	    -dict=fuzz/filter.dict -max_len=4096 -timeout=10 -max_total_time=$(FUZZ_SECONDS)
	$(call step,cargo fuzz run blob)
	@$(CARGO) run --quiet --release --locked --package elanus-index --example blobs -- fuzz/corpus/blob
	@CARGO_TARGET_DIR='$(CARGO_TARGET_DIR)/fuzz' $(CARGO) +nightly fuzz run --fuzz-dir fuzz blob -- \
	    -max_len=65536 -timeout=30 -rss_limit_mb=2048 -malloc_limit_mb=256 -max_total_time=$(FUZZ_SECONDS)

expressions: venv build ## compare 20,000 random filters with milvus-lite, always the same ones (make test: 4,000); ELANUS_EXPRESSIONS=n for n
	$(call step,random filters next to milvus-lite)
	@ELANUS_EXPRESSIONS=$${ELANUS_EXPRESSIONS:-20000} server/tests-e2e/run -q test_milvus_lite.py

fmt: ## format the Rust code
	@$(CARGO) fmt --all

build: ## the binary, in release
	$(call step,cargo build --release: $(BINARY))
	@$(CARGO) build --release --locked --workspace --bin elanus

lint: ## formatting and lints, warnings are errors
	$(call step,cargo fmt --check)
	@$(CARGO) fmt --all --check
	$(call step,cargo clippy)
	@$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

rust-tests: ## unit, integration and SQL tests
	$(call step,cargo test)
	@mkdir -p '$(CARGO_TARGET_DIR)'
	@$(CARGO) test --release --locked --workspace --no-fail-fast 2>&1 | tee '$(RUST_LOG_FILE)'
	@$(CARGO) test --release --locked --package elanus-text --features lingua --lib 2>&1 | tee -a '$(RUST_LOG_FILE)'

e2e: venv build ## pymilvus, langchain-milvus and the Node SDK against the binary
	$(call step,end-to-end tests)
	@server/tests-e2e/run 2>&1 | tee '$(E2E_LOG_FILE)'

# A fresh Debian has python3 without its venv module; as root it is installed, otherwise the command is named.
venv: ## check what the end-to-end tests need from the system
	$(call step,python and node)
	@if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        apt-get update -qq && apt-get install -y -qq python3-venv; \
	    else \
	        echo 'python3 with venv is needed: sudo apt-get install python3-venv'; exit 1; \
	    fi; \
	fi
	@python3 --version
	@if command -v npm >/dev/null; then echo "node $$(node --version)"; \
	    else echo 'no node: the test of the Node SDK is skipped'; fi

nvrtc: ## the compiler of the GPU's kernels, which their tests use; needs no GPU
	$(call step,nvrtc)
	@engine/index/tests/gpu/nvrtc.sh

counts:
	$(call step,counts)
	@awk '/^test result: / { passed += $$4; failed += $$6; ignored += $$8 } \
	    END { printf "rust:       %d passed, %d failed, %d ignored\n", passed, failed, ignored }' '$(RUST_LOG_FILE)'
	@printf 'end to end: %s\n' "$$(tail -n 1 '$(E2E_LOG_FILE)')"
