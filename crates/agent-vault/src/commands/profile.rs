//! `agent-vault profile`: one person's logins at several servers.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use crate::cli::{App, Output, Yes};
use crate::client::Call;
use crate::connect::{Address, Connection};
use crate::error::{CliError, Result};
use crate::home::{Home, Session};
use crate::profile::{self, ChosenBy, Profile, ProfileName};

/// `agent-vault profile`.
#[derive(Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:
  agent-vault auth login --profile work --address https://vault.example
  agent-vault profile use work
  agent-vault vault list --profile default"
)]
pub(crate) struct ProfileArgs {
    #[command(subcommand)]
    command: ProfileCommand,
}

#[derive(Subcommand)]
enum ProfileCommand {
    /// List profiles: their servers, logins and vaults
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show one profile, and why commands use it
    Show {
        /// Name [default: the one that commands use]
        name: Option<ProfileName>,
        #[command(flatten)]
        output: Output,
    },
    /// Choose the profile of commands that name none; `default` is the one without a name
    Use {
        /// Name
        name: ProfileName,
    },
    /// End a profile's logins and forget it
    #[command(alias = "rm")]
    Remove {
        /// Name
        name: ProfileName,
        #[command(flatten)]
        yes: Yes,
    },
}

pub(crate) async fn run(app: &App, args: ProfileArgs) -> Result {
    let home = Home::locate(&app.env)?;
    match args.command {
        ProfileCommand::List { output } => list(app, &home, output),
        ProfileCommand::Show { name, output } => show(app, &home, name, output),
        ProfileCommand::Use { name } => {
            if !profile::exists(&home, &name) {
                return Err(missing(&home, name));
            }
            profile::choose(&home, &name)?;
            app.ui.success(&format!("using profile {name}"))
        }
        ProfileCommand::Remove { name, yes } => remove(app, home, name, yes).await,
    }
}

/// What is known of a profile; a part that cannot be read is said in place of the rest.
struct Known {
    address: Option<Address>,
    login: Option<Session>,
    vault: Option<String>,
    damage: Option<CliError>,
}

impl Known {
    fn of(home: &Home, name: &ProfileName) -> Known {
        let seen = home.clone().seen_by(Profile {
            name: name.clone(),
            by: ChosenBy::Nothing,
        });
        let mut known = Known {
            address: None,
            login: None,
            vault: None,
            damage: None,
        };
        if let Err(e) = known.read(&seen) {
            known.damage = Some(e);
        }
        known
    }

    fn read(&mut self, home: &Home) -> Result {
        self.address = profile::address(home, &home.profile().name)?;
        let current = home.session()?;
        if self.address.is_none() {
            self.address = current.as_ref().map(|login| login.address.clone());
        }
        self.login = match &self.address {
            Some(address) => home.session_at(address)?,
            None => None,
        };
        let place = self
            .address
            .as_ref()
            .map_or_else(|| String::from("local"), ToString::to_string);
        self.vault = home.active_vault(&place)?;
        Ok(())
    }

    fn server(&self) -> String {
        match (&self.address, &self.damage) {
            (Some(address), _) => address.to_string(),
            (None, Some(_)) => String::from("-"),
            (None, None) => String::from("the local vault"),
        }
    }

    fn who(&self) -> String {
        match (&self.damage, &self.login, &self.address) {
            (Some(_), ..) => String::from("unreadable"),
            (None, Some(login), _) => login.email.clone().unwrap_or_else(|| String::from("yes")),
            (None, None, Some(_)) => String::from("not logged in"),
            (None, None, None) => String::from("-"),
        }
    }

    fn json(&self, name: &ProfileName, current: bool) -> Value {
        let email = self.login.as_ref().and_then(|login| login.email.clone());
        json!({
            "name": name.as_str(),
            "address": self.address.as_ref().map(ToString::to_string),
            "logged_in": self.login.is_some(),
            "email": email,
            "vault": self.vault,
            "current": current,
            "error": self.damage.as_ref().map(CliError::message),
        })
    }
}

fn list(app: &App, home: &Home, output: Output) -> Result {
    let chosen = profile::chosen(app, home);
    let is_current = |name: &ProfileName| chosen.as_ref().is_ok_and(|c| c.name == *name);
    let found: Vec<_> = profile::all(home)?
        .into_iter()
        .map(|name| (Known::of(home, &name), name))
        .collect();
    if output.json {
        let rows: Vec<_> = found
            .iter()
            .map(|(known, name)| known.json(name, is_current(name)))
            .collect();
        app.ui.line(&json!({"profiles": rows}).to_string())?;
    } else {
        let rows = found
            .iter()
            .map(|(known, name)| {
                vec![
                    name.to_string(),
                    known.server(),
                    known.who(),
                    known.vault.clone().unwrap_or_else(|| String::from("-")),
                    String::from(if is_current(name) { "✓" } else { "" }),
                ]
            })
            .collect();
        let headers = ["NAME", "SERVER", "LOGIN", "VAULT", "CURRENT"];
        app.ui.table(&headers, rows, "no profiles")?;
    }
    for (known, _) in &found {
        if let Some(damage) = &known.damage {
            app.ui.warn(damage.message());
        }
    }
    match chosen {
        Ok(chosen) if !profile::exists(home, &chosen.name) => {
            app.ui.warn(profile::missing(home, &chosen).message());
        }
        Ok(_) => {}
        Err(e) => app.ui.warn(e.message()),
    }
    Ok(())
}

fn show(app: &App, home: &Home, name: Option<ProfileName>, output: Output) -> Result {
    let chosen = profile::chosen(app, home);
    let (name, current) = match (name, chosen) {
        (None, chosen) => {
            let chosen = chosen?;
            (chosen.name, Some(chosen.by))
        }
        (Some(name), Ok(chosen)) if chosen.name == name => (name, Some(chosen.by)),
        (Some(name), _) => (name, None),
    };
    if !profile::exists(home, &name) {
        return Err(missing(home, name));
    }
    let known = Known::of(home, &name);
    if let Some(damage) = known.damage {
        return Err(damage);
    }
    let folder = profile::folder(home, &name);
    if output.json {
        let mut value = known.json(&name, current.is_some());
        if let Some(object) = value.as_object_mut() {
            object.remove("error");
            object.insert(String::from("folder"), json!(folder));
            object.insert(
                String::from("chosen_by"),
                json!(current.map(ChosenBy::describe)),
            );
        }
        return app.ui.line(&value.to_string());
    }
    app.ui.field("Profile", name.as_str())?;
    app.ui.field("Server", &known.server())?;
    app.ui.field("Login", &known.who())?;
    app.ui.field(
        "Vault",
        known
            .vault
            .as_deref()
            .unwrap_or("none chosen; `agent-vault vault use` chooses one"),
    )?;
    app.ui.field("Folder", &folder.display().to_string())?;
    app.ui.field(
        "Used",
        current.map_or("not now", |by| match by {
            ChosenBy::Nothing => "yes: no other is chosen",
            ChosenBy::Flag => "yes: by --profile",
            ChosenBy::Environment => "yes: by AGENT_VAULT_PROFILE",
            ChosenBy::Used => "yes: by `agent-vault profile use`",
        }),
    )
}

async fn remove(app: &App, home: Home, name: ProfileName, yes: Yes) -> Result {
    if name.is_default() {
        return Err(CliError::usage("the profile `default` stays")
            .hint("its login ends with `agent-vault auth logout --profile default`"));
    }
    if !profile::exists(&home, &name) {
        return Err(missing(&home, name));
    }
    let known = Known::of(&home, &name);
    app.ui.confirm(
        &format!(
            "Remove profile {name} ({}), and end its logins?",
            known.server()
        ),
        yes.yes,
    )?;
    let seen = home.clone().seen_by(Profile {
        name: name.clone(),
        by: ChosenBy::Flag,
    });
    for login in seen.sessions() {
        let address = login.address.clone();
        let connection = Connection::nobody(app, address.clone(), seen.clone())?;
        let call = Call::new(Method::POST, "/v1/auth/logout").token(&login.token);
        if let Err(e) = connection.client.send(&call).await {
            app.ui.warn(&format!(
                "{address} was not told: {}; the login there ends by itself or with `auth sessions revoke`",
                e.message()
            ));
        }
    }
    profile::remove(&home, &name)?;
    app.ui.success(&format!("removed profile {name}"))
}

fn missing(home: &Home, name: ProfileName) -> CliError {
    profile::missing(
        home,
        &Profile {
            name,
            by: ChosenBy::Flag,
        },
    )
}
