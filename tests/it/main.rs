//! Whole-product tests: the real binary, real clients, over real sockets.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a stage that cannot be set, or a wait that is in vain, fails the test at once and says why"
)]

mod agents;
mod architecture;
mod bad_input;
mod bad_start;
mod cli_snapshots;
mod clients_curl;
mod clients_git;
mod clients_grpc;
mod clients_node;
mod clients_python;
mod clients_socks;
mod completion;
mod crash;
mod declarations;
mod documented_commands;
mod faults;
mod health;
mod keys;
mod management;
mod management_effects;
mod matrix;
mod memory;
mod oauth;
mod people;
mod proposals;
mod root_page;
mod run_command;
mod run_environment;
mod run_summary;
mod run_terminal;
mod server_command;
mod several_accounts;
mod soak;
mod stage;
mod stores;
mod tls;
mod webhooks;
