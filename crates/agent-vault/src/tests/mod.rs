//! Commands against a fake of the management API: what goes out, what is shown, and the exit code.

mod agents;
mod auth;
mod credentials;
mod fake;
mod in_process;
mod logs;
mod named_commands;
mod people;
mod places;
mod profiles;
mod run;
mod services;
mod skill;

use std::path::Path;

use crate::cli::{App, run_line};
use crate::env::Env;
use crate::ui::{Captured, Ui};

/// One command line in a folder of its own.
pub(crate) struct Shell {
    dir: tempfile::TempDir,
    vars: Vec<(String, String)>,
}

/// What a command line did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Shell {
    pub(crate) fn new() -> Shell {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let vars = vec![
            ("HOME".into(), home.display().to_string()),
            ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
        ];
        Shell { dir, vars }
    }

    /// A shell in which somebody is logged in at `address`.
    pub(crate) fn logged_in(address: &str) -> Shell {
        let shell = Shell::new();
        let session =
            serde_json::json!({"token": "av_sess_me", "address": address, "email": "me@x.example"});
        std::fs::create_dir_all(shell.home()).unwrap();
        crate::home::write_atomically(
            &shell.home().join("session.json"),
            session.to_string().as_bytes(),
            0o600,
        )
        .unwrap();
        shell
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Shell {
        self.vars.push((name.into(), value.into()));
        self
    }

    pub(crate) fn home(&self) -> std::path::PathBuf {
        self.dir.path().join("home/.agent-vault")
    }

    pub(crate) fn cwd(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, name: &str, text: &str) {
        crate::home::write_atomically(&self.dir.path().join(name), text.as_bytes(), 0o600).unwrap();
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Done {
        self.run_with(args, "").await
    }

    pub(crate) async fn run_with(&self, args: &[&str], stdin: &str) -> Done {
        let vars: Vec<_> = self
            .vars
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        let (ui, out, err): (Ui, Captured, Captured) = Ui::captured(stdin);
        let app = App::new(Env::of(&vars, self.dir.path()), ui);
        let code = run_line(args, &app).await;
        Done {
            code,
            out: out.text(),
            err: err.text(),
        }
    }
}
