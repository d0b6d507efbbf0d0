//! The master password: environment, then `--password-stdin`, then a prompt; and what each means for each kind of store.

use std::io::Write;
use std::os::unix::process::CommandExt;

use agent_vault_seal::{MAX_PASSWORD_BYTES, SecretBytes};

use crate::cli::App;
use crate::config::ServerConfig;
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::server::{KeyState, Local, Server, StartError, Unlock};

/// How often a wrong password may be typed.
const ATTEMPTS: u32 = 3;
/// Shortest master password of a new store. One that exists opens with whatever it was made with.
const MIN_PASSWORD_BYTES: usize = 8;

/// How a store will be unlocked.
#[derive(Debug)]
pub(super) enum Plan {
    /// There is no master password, or none is wanted.
    Passwordless { interactive: bool },
    /// One password, tried once.
    Given {
        password: SecretBytes,
        interactive: bool,
    },
    /// Asked for until it fits, a few times.
    Ask,
}

impl Plan {
    /// Decides from what was given and what the store needs.
    ///
    /// # Errors
    /// A password for a store that has none; none for a store that has one, and nobody to ask.
    pub(super) fn make(app: &App, state: KeyState, password_stdin: bool) -> Result<Plan> {
        let given = given(app, password_stdin)?;
        let asking = given.is_none() && app.ui.is_interactive();
        match (state, given) {
            (KeyState::New, Some(password)) if password.is_empty() => Ok(passwordless(app, false)),
            (KeyState::New, Some(password)) => Ok(Plan::Given {
                password: strong_enough(password)?,
                interactive: false,
            }),
            (KeyState::Protected, Some(password)) => Ok(Plan::Given {
                password,
                interactive: false,
            }),
            (KeyState::New, None) if asking => {
                let password = app
                    .ui
                    .ask_new_secret("New master password (empty for none)", "--password-stdin")?;
                if password.is_empty() {
                    return Ok(passwordless(app, true));
                }
                Ok(Plan::Given {
                    password: strong_enough(password)?,
                    interactive: true,
                })
            }
            // Nobody to ask, nothing given: a container or a service that must come up by itself.
            (KeyState::New, None) => Ok(passwordless(app, false)),
            (KeyState::Passwordless, Some(password)) if !password.is_empty() => {
                Err(not_protected())
            }
            (KeyState::Passwordless, _) => Ok(Plan::Passwordless {
                interactive: asking,
            }),
            (KeyState::Protected, None) if asking => Ok(Plan::Ask),
            (KeyState::Protected, None) => Err(needs_password()),
        }
    }

    /// True if a person is at the terminal and gave nothing in advance.
    pub(super) fn is_interactive(&self) -> bool {
        match self {
            Plan::Passwordless { interactive } | Plan::Given { interactive, .. } => *interactive,
            Plan::Ask => true,
        }
    }

    /// Opens something with the key.
    pub(super) async fn open<T, F>(&self, app: &App, open: impl Fn(Unlock) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, StartError>>,
    {
        self.open_keeping(app, open).await.map(|(opened, _)| opened)
    }

    /// Like [`Plan::open`], and hands back the password that fitted.
    pub(super) async fn open_keeping<T, F>(
        &self,
        app: &App,
        open: impl Fn(Unlock) -> F,
    ) -> Result<(T, Option<SecretBytes>)>
    where
        F: Future<Output = std::result::Result<T, StartError>>,
    {
        match self {
            Plan::Passwordless { .. } => {
                let opened = open(Unlock::Passwordless).await.map_err(|e| e.error)?;
                Ok((opened, None))
            }
            Plan::Given { password, .. } => {
                let opened = open(Unlock::Password(password.duplicate()))
                    .await
                    .map_err(|e| e.error)?;
                Ok((opened, Some(password.duplicate())))
            }
            Plan::Ask => {
                for left in (0..ATTEMPTS).rev() {
                    let password = app
                        .ui
                        .ask_secret("Master password", env_vars::MASTER_PASSWORD.name)?;
                    match open(Unlock::Password(password.duplicate())).await {
                        Ok(opened) => return Ok((opened, Some(password))),
                        Err(e) if e.wrong_password && left > 0 => {
                            app.ui.warn(&format!("{}; {left} more", e.error.message()));
                        }
                        Err(e) => return Err(e.error),
                    }
                }
                Err(CliError::new("wrong master password"))
            }
        }
    }
}

fn given(app: &App, password_stdin: bool) -> Result<Option<SecretBytes>> {
    let password = if let Some(password) = app.env.get(&env_vars::MASTER_PASSWORD)? {
        SecretBytes::new(password.as_bytes().to_vec())
    } else if password_stdin {
        app.ui.read_secret_line()?
    } else {
        return Ok(None);
    };
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(CliError::new(format!(
            "the master password is longer than {MAX_PASSWORD_BYTES} bytes"
        )));
    }
    Ok(Some(password))
}

/// Whoever takes a copy of the database can try passwords for as long as they like, so a new one has a least length and is more
/// than one character again and again.
pub(crate) fn strong_enough(password: SecretBytes) -> Result<SecretBytes> {
    let bytes = password.expose();
    let varied = bytes.windows(2).any(|pair| pair.first() != pair.last());
    if bytes.len() >= MIN_PASSWORD_BYTES && varied {
        return Ok(password);
    }
    Err(CliError::new(format!(
        "a new master password or passphrase has at least {MIN_PASSWORD_BYTES} characters, not all the same"
    ))
    .hint("four or more random words are easy to keep; a password manager's are better"))
}

fn passwordless(app: &App, interactive: bool) -> Plan {
    app.ui.note("no master password: the data key lies in the data folder; whoever can read that folder can read the credentials");
    Plan::Passwordless { interactive }
}

fn not_protected() -> CliError {
    CliError::new("a master password was given, but this store was made without one, so nothing would be protected by it")
        .hint("protect it with `agent-vault master-password set`")
        .hint(format!("or leave the password out ({} or --password-stdin)", env_vars::MASTER_PASSWORD.name))
}

fn needs_password() -> CliError {
    CliError::new("this store is protected by a master password, and stdin is not a terminal").hint(
        format!(
            "give it by {} or --password-stdin",
            env_vars::MASTER_PASSWORD.name
        ),
    )
}

/// Opens the local vault for a command that has no server. A new one is made without a master password and without a
/// question, so that the first command just works.
pub(crate) async fn open_local(app: &App, config: &ServerConfig) -> Result<Local> {
    let state = Server::inspect(config).await.map_err(|e| e.error)?;
    let plan = match (state.key, given(app, false)?) {
        (KeyState::New, None) => {
            app.ui.note(&format!(
                "making a local vault in {}",
                config.data_dir.value.display()
            ));
            Plan::Passwordless { interactive: false }
        }
        (KeyState::New, Some(password)) => Plan::Given {
            password: strong_enough(password)?,
            interactive: false,
        },
        (KeyState::Protected, Some(password)) => Plan::Given {
            password,
            interactive: false,
        },
        (KeyState::Passwordless, None) => Plan::Passwordless { interactive: false },
        (KeyState::Passwordless, Some(_)) => return Err(not_protected()),
        (KeyState::Protected, None) if app.ui.is_interactive() => Plan::Ask,
        (KeyState::Protected, None) => {
            return Err(
                CliError::new("the local vault is protected by a master password")
                    .hint(format!("give it by {}", env_vars::MASTER_PASSWORD.name)),
            );
        }
    };
    plan.open(app, |key| Local::open(config, key)).await
}

/// Starts this program anew, in this process, with the master password on stdin instead of in the environment, where
/// `/proc/<pid>/environ` would show it for as long as the server lives.
pub(super) fn take_password_out_of_environment(app: &App) -> Result {
    let Some(password) = app.env.get(&env_vars::MASTER_PASSWORD)? else {
        return Ok(());
    };
    let restart = || -> std::io::Result<std::io::Error> {
        let (reader, mut writer) = std::io::pipe()?;
        // Far below what a pipe holds, so that this cannot block.
        if password.len() > 2048 || password.contains('\n') {
            return Ok(std::io::Error::other(
                "the password is too long or holds a line end",
            ));
        }
        writer.write_all(password.as_bytes())?;
        writer.write_all(b"\n")?;
        drop(writer);
        let mut args: Vec<_> = std::env::args_os().skip(1).collect();
        if !args.iter().any(|a| a == "--password-stdin") {
            args.push("--password-stdin".into());
        }
        Ok(std::process::Command::new(std::env::current_exe()?)
            .args(args)
            .env_remove(env_vars::MASTER_PASSWORD.name)
            .stdin(reader)
            .exec())
    };
    // `exec` returns only when it fails.
    let why = match restart() {
        Ok(e) | Err(e) => e,
    };
    app.ui.warn(&format!(
        "{} stays visible in this process's environment: {why}",
        env_vars::MASTER_PASSWORD.name
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Plan;
    use crate::cli::App;
    use crate::env::Env;
    use crate::server::KeyState;
    use crate::ui::Ui;

    fn app(vars: &[(&str, &str)], stdin: &str) -> App {
        App::new(Env::of(vars, Path::new("/")), Ui::captured(stdin).0)
    }

    const SET: &[(&str, &str)] = &[("AGENT_VAULT_MASTER_PASSWORD", "secret")];

    #[test]
    fn w7_headless_first_start_needs_nothing() {
        let plan = Plan::make(&app(&[], ""), KeyState::New, false).unwrap();
        assert!(matches!(plan, Plan::Passwordless { interactive: false }));
        let empty = Plan::make(
            &app(&[("AGENT_VAULT_MASTER_PASSWORD", "")], ""),
            KeyState::New,
            false,
        )
        .unwrap();
        assert!(matches!(empty, Plan::Passwordless { .. }));
        let line = Plan::make(&app(&[], "\n"), KeyState::New, true).unwrap();
        assert!(matches!(line, Plan::Passwordless { .. }));
    }

    #[test]
    fn m6_a_new_password_is_no_trifle() {
        for weak in ["1", "secret7", "aaaaaaaaaaaa"] {
            let line = format!("{weak}\n");
            let given = app(&[], &line);
            assert!(Plan::make(&given, KeyState::New, true).is_err(), "{weak}");
            // What was made with it still opens.
            let given = app(&[], &line);
            assert!(Plan::make(&given, KeyState::Protected, true).is_ok());
        }
        let given = app(&[], "eight888\n");
        assert!(Plan::make(&given, KeyState::New, true).is_ok());
    }

    #[test]
    fn w23_a_password_that_protects_nothing_is_an_error() {
        assert!(Plan::make(&app(SET, ""), KeyState::Passwordless, false).is_err());
        assert!(Plan::make(&app(&[], "secret\n"), KeyState::Passwordless, true).is_err());
        assert!(Plan::make(&app(&[], "\n"), KeyState::Passwordless, true).is_ok());
    }

    #[test]
    fn the_environment_comes_before_stdin_and_the_prompt() {
        let plan = Plan::make(&app(SET, "other\n"), KeyState::Protected, true).unwrap();
        assert!(matches!(plan, Plan::Given { password, .. } if password.expose() == b"secret"));
        let plan = Plan::make(&app(&[], "other\n"), KeyState::Protected, true).unwrap();
        assert!(matches!(plan, Plan::Given { password, .. } if password.expose() == b"other"));
        assert!(Plan::make(&app(&[], ""), KeyState::Protected, false).is_err());
    }
}
