//! `agent-vault auth`: log in and out, register, see and end logins.

mod accept_invite;
mod codes;
mod device;
mod login;
mod logout;
mod register;
mod sessions;

use clap::{Args, Subcommand};

use crate::cli::{AddressArg, App};
use crate::connect::{Address, Connection, DEFAULT_ADDRESS, Place, place};
use crate::env_vars;
use crate::error::Result;
use crate::home::Home;
use crate::lock;
use crate::profile;

/// `agent-vault auth`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct AuthArgs {
    #[command(flatten)]
    address: AddressArg,
    #[command(subcommand)]
    command: AuthCommand,
}

#[derive(Subcommand)]
enum AuthCommand {
    /// Log in to a server and remember it
    #[command(
        after_help = "Example: agent-vault auth login --address https://vault.example --email me@example.com"
    )]
    Login(login::LoginArgs),
    /// Create an account; the first one owns the server
    #[command(
        after_help = "Example: echo \"$PASSWORD\" | agent-vault auth register --email me@example.com --password-stdin"
    )]
    Register(register::RegisterArgs),
    /// Confirm your address with the code that came by mail, and log in
    Verify(codes::VerifyArgs),
    /// Have another code sent that confirms your address
    Resend(codes::AskArgs),
    /// Have a code sent that sets a new password
    ForgotPassword(codes::AskArgs),
    /// Set a new password with a code, and log in; every other login ends
    #[command(
        after_help = "Example: echo \"$PASSWORD\" | agent-vault auth reset-password --email me@example.com --code 123456 --password-stdin"
    )]
    ResetPassword(codes::ResetArgs),
    /// Accept an invitation
    AcceptInvite(accept_invite::AcceptArgs),
    /// Approve or deny a device that waits for a login
    Device(device::DeviceArgs),
    /// End the saved login
    Logout,
    /// List and end your logins
    Sessions(sessions::SessionsArgs),
}

pub(crate) async fn run(app: &App, args: AuthArgs) -> Result {
    let address = args.address.address.as_deref();
    match args.command {
        AuthCommand::Login(args) => login::run(app, address, args).await,
        AuthCommand::Register(args) => register::run(app, address, args).await,
        AuthCommand::Verify(args) => codes::verify(app, address, args).await,
        AuthCommand::Resend(args) => codes::resend(app, address, args).await,
        AuthCommand::ForgotPassword(args) => codes::forgot(app, address, args).await,
        AuthCommand::ResetPassword(args) => codes::reset(app, address, args).await,
        AuthCommand::AcceptInvite(args) => accept_invite::run(app, address, args).await,
        AuthCommand::Device(args) => device::run(app, address, args).await,
        AuthCommand::Logout => logout::run(app, address).await,
        AuthCommand::Sessions(args) => sessions::run(app, address, args).await,
    }
}

/// A connection as nobody to the server that the address rule names; where it names none, to the server that runs on
/// this data folder, else to the default address.
fn connect(app: &App, address: Option<&str>) -> Result<Connection> {
    let home = profile::home(app)?;
    let address = match place(app, address) {
        Ok(Place::Server(address)) => address,
        Ok(Place::Local) => here(&home)?,
        // A saved login that cannot be read is about to be replaced.
        Err(_) if home.profile().name.is_default() && home.session().is_err() => here(&home)?,
        // A profile that is about to be made: its server is the one of the environment.
        Err(e) => match app.env.get(&env_vars::ADDR)? {
            Some(text) if !profile::exists(&home, &home.profile().name) => {
                Address::parse(text).map_err(|e| e.context(env_vars::ADDR.name))?
            }
            _ => return Err(e),
        },
    };
    if !address.is_https() && !address.is_loopback() {
        app.ui.warn(&format!(
            "{address} is plain HTTP: the password and the login cross the network in clear; the server takes https:// as well"
        ));
    }
    Connection::nobody(app, address, home)
}

/// The server that runs on this data folder, else the default address.
fn here(home: &Home) -> Result<Address> {
    let running = lock::running(home)?;
    match running.and_then(|running| Address::parse(&running.address).ok()) {
        Some(address) => Ok(address),
        None => Address::parse(DEFAULT_ADDRESS),
    }
}

/// The e-mail from the flag or a question; with `--password-stdin` the flag is needed, as stdin holds the password.
fn email(app: &App, flag: Option<String>, password_stdin: bool) -> Result<String> {
    let email = match flag {
        Some(email) => email,
        None if password_stdin => {
            return Err(crate::error::CliError::usage(
                "`--password-stdin` needs `--email`",
            ));
        }
        None => app.ui.ask("E-mail", "--email")?,
    };
    let plausible = email
        .split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    if plausible && !email.contains(char::is_whitespace) {
        Ok(email)
    } else {
        Err(crate::error::CliError::new(format!(
            "`{email}` is not an e-mail address"
        )))
    }
}

/// What this login is called: the flag, else the host's name, else `cli`.
fn device_label(flag: Option<String>) -> String {
    flag.unwrap_or_else(|| {
        let name = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        if name.is_empty() {
            String::from("cli")
        } else {
            name
        }
    })
}
