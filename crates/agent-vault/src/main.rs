//! The `agent-vault` executable: server, client and agent wrapper in one.

mod backup;
mod cli;
mod client;
mod commands;
mod complete;
mod config;
mod confine;
mod connect;
mod diagnose;
mod env;
mod env_vars;
mod error;
mod home;
mod lock;
mod profile;
mod run;
mod server;
mod signals;
mod ui;
mod vault_choice;
mod when;
mod yaml;

#[cfg(test)]
mod tests;

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed. Secrets pass through buffers of hyper, h2 and rustls, which nobody else wipes; docs/security.md has
/// what that costs and what it cannot do.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = complete::answer(&args) {
        return ExitCode::from(code);
    }
    let env = env::Env::from_process();
    let ui = ui::Ui::from_process();
    ExitCode::from(cli::main(args, env, ui))
}
