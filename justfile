# The commands that CI runs, by name. `just` lists them.

default:
    @just --list

# Everything CI checks, with what it needs installed by package name.
test:
    ./scripts/test

# Set up and run the main job on this machine: see README.
quickstart:
    ./scripts/quickstart

fmt:
    cargo fmt --all

lint:
    cargo fmt --all -- --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Rust tests alone; a word narrows them.
unit *words:
    cargo test --workspace --locked -- {{ words }}

# Supply chain: bans, licences and sources are checked offline.
deny:
    cargo deny check bans licenses sources

# The binary beside a bare relay on the same stack.
bench *args:
    ./scripts/bench {{ args }}

# Instructions that a request costs, compared with what is checked in; `--update` writes them.
instructions *args:
    ./scripts/test-instructions {{ args }}

# Regenerate what is checked in and compared by tests.
regenerate:
    UPDATE=1 cargo test --workspace --locked -- document reference

# The management port from outside: its description as every role, and its pages in a browser.
management *args:
    ./scripts/test-management {{ args }}
