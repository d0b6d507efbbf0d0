//! What `agent-vault version` says of the build: the compiler, and for releases the commit and its day.
//!
//! `AGENT_VAULT_COMMIT` and `AGENT_VAULT_BUILD_DATE` win, for builds from a source archive. Development builds ask for no commit, since
//! each commit would then build them anew.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| String::from("rustc"));
    tell("AGENT_VAULT_RUSTC", output(&compiler, &["--version"]));
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    for (name, question) in [
        ("AGENT_VAULT_COMMIT", ["rev-parse", "--short=12", "HEAD"]),
        ("AGENT_VAULT_BUILD_DATE", ["log", "-1", "--format=%cs"]),
    ] {
        println!("cargo::rerun-if-env-changed={name}");
        let given = std::env::var(name).ok().filter(|value| !value.is_empty());
        let known = given.or_else(|| release.then(|| output("git", &question)).flatten());
        tell(name, known);
    }
    if release
        && let Some(log) = output("git", &["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
}

fn tell(name: &str, value: Option<String>) {
    let value = value.unwrap_or_else(|| String::from("unknown"));
    println!("cargo::rustc-env={name}={value}");
}

/// The first line of what a program prints; nothing when there is none.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let done = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(done.stdout).ok()?;
    let line = text.lines().next()?.trim();
    (done.status.success() && !line.is_empty()).then(|| line.to_owned())
}
