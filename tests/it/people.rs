//! People with the real binary: codes and invitations through a real mail conversation, a device that is let in from elsewhere.

use agent_vault_testing::Home;
use agent_vault_testing::smtp::{SmtpBehaviour, SmtpServer};

use crate::stage::instance::{EMAIL, Instance, PASSWORD};
use crate::stage::process::{Outcome, Run};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

trait Shows {
    /// Whether the result on stdout has all of `parts`.
    fn shows(&self, parts: &[&str]);
}

impl Shows for Outcome {
    fn shows(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.stdout.contains(part), "no {part:?} in {self:?}");
        }
    }
}

/// An instance whose mail goes to `mail`, and whose owner is registered.
fn mailing(mail: &SmtpServer) -> Instance {
    let root = mail.root();
    let instance = Instance::builder()
        .upstream_ca(&root)
        .env("AGENT_VAULT_SMTP_HOST", "127.0.0.1")
        .env("AGENT_VAULT_SMTP_PORT", &mail.address().port().to_string())
        .env("AGENT_VAULT_SMTP_FROM", "vault@example.com")
        .env("AGENT_VAULT_SMTP_USERNAME", "vault")
        .env("AGENT_VAULT_SMTP_PASSWORD", "mail password")
        .env("AGENT_VAULT_SMTP_TLS_MODE", "required")
        .start();
    instance.register();
    instance
}

#[test]
fn codes_and_invitations_by_mail() {
    let runtime = runtime();
    let mail = runtime.block_on(SmtpServer::start(SmtpBehaviour {
        starttls: true,
        login: Some(("vault".to_owned(), "mail password".to_owned())),
        ..SmtpBehaviour::default()
    }));
    let instance = mailing(&mail);
    let address = instance.address();
    instance
        .person(&["owner", "email", "test"])
        .succeed()
        .shows(&[EMAIL]);
    let letters = runtime.block_on(mail.wait_for(1));
    assert!(letters[0].encrypted, "{letters:?}");

    // Registration: a code, then in.
    let second = Home::new();
    let av = |arguments: &[&str]| {
        Run::agent_vault(&second)
            .args(arguments)
            .args(&["--address", &address])
    };
    av(&[
        "auth",
        "register",
        "--email",
        "ada@example.com",
        "--password-stdin",
    ])
    .stdin("long enough\n")
    .succeed()
    .shows(&["auth verify"]);
    let letters = runtime.block_on(mail.wait_for(2));
    assert_eq!(letters[1].to, ["ada@example.com"]);
    let code = letters[1].code().expect("a code");
    av(&[
        "auth",
        "verify",
        "--email",
        "ada@example.com",
        "--code",
        &code,
    ])
    .succeed();
    av(&["account", "whoami"])
        .succeed()
        .shows(&["ada@example.com", "member"]);

    // A forgotten password.
    av(&["auth", "forgot-password", "--email", "ada@example.com"]).succeed();
    let letters = runtime.block_on(mail.wait_for(3));
    let code = letters[2].code().expect("a code");
    av(&[
        "auth",
        "reset-password",
        "--email",
        "ada@example.com",
        "--code",
        &code,
        "--password-stdin",
    ])
    .stdin("another password\n")
    .succeed();

    // An invitation into a vault.
    instance.person(&["vault", "create", "work"]).succeed();
    instance
        .person(&["user", "invite", "bob@example.com", "--vault", "work:admin"])
        .succeed();
    let letters = runtime.block_on(mail.wait_for(4));
    let text = letters[3].readable();
    let link = text
        .split(|c: char| c.is_whitespace() || c == '"' || c == '<')
        .find(|word| word.starts_with(&format!("{address}/invite/av_uinv_")))
        .unwrap_or_else(|| panic!("no link in {text}"));
    let third = Home::new();
    Run::agent_vault(&third)
        .args(&["auth", "accept-invite", link, "--password-stdin"])
        .stdin("of bob himself\n")
        .succeed();
    instance
        .person(&["vault", "user", "list", "--vault", "work"])
        .succeed()
        .shows(&["bob@example.com", "admin"]);
    // Neither codes nor the link are in the server's log.
    let log = instance.log();
    assert!(!log.contains(&code) && !log.contains("av_uinv_"), "{log}");
}

#[test]
fn a_device_is_let_in_from_another_machine() {
    let instance = Instance::builder().start();
    instance.register();
    let address = instance.address();
    let far = Home::new();
    let waiting = Run::agent_vault(&far)
        .args(&["auth", "login", "--device", "--device-label", "far box"])
        .args(&["--address", &address])
        .spawn();
    let code = waiting.stderr.wait_for("a code", |text| {
        text.split_whitespace()
            .find(|word| word.len() == 9 && word.as_bytes().get(4) == Some(&b'-'))
            .map(str::to_owned)
    });
    instance
        .person(&["auth", "device", "approve", &code, "--yes"])
        .succeed();
    let done = waiting.finish();
    assert_eq!(done.shell_code(), 0, "{done:?}");
    Run::agent_vault(&far)
        .args(&["account", "whoami"])
        .succeed()
        .shows(&[EMAIL]);
    instance
        .person(&["auth", "sessions", "list"])
        .succeed()
        .shows(&["far box"]);
}

#[test]
fn w7_an_owner_by_flags_and_a_password_file() {
    let file = Home::new();
    let path = file.write("password", format!("{PASSWORD}\n"));
    let path = path.to_string_lossy().into_owned();
    let instance = Instance::builder()
        .flag("--owner-email")
        .flag(EMAIL)
        .flag("--owner-password-file")
        .flag(&path)
        .start();
    instance
        .person(&[
            "auth",
            "login",
            "--email",
            EMAIL,
            "--password-stdin",
            "--address",
        ])
        .args(&[&instance.address()])
        .stdin(format!("{PASSWORD}\n"))
        .succeed();
}
