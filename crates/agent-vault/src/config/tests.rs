use std::path::Path;

use super::{LogLevel, Origin, ServerConfig, ServerFlags};
use crate::env::Env;
use crate::home::write_atomically;

fn load(
    flags: &ServerFlags,
    vars: &[(&str, &str)],
    home: &Path,
) -> crate::error::Result<ServerConfig> {
    let env = Env::of(vars, home).with("AGENT_VAULT_HOME", home.to_str().unwrap());
    ServerConfig::load(flags, &env)
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let dir = tempfile::tempdir().unwrap();
    let defaults = load(&ServerFlags::default(), &[], dir.path()).unwrap();
    assert_eq!(
        (defaults.api_port.value, defaults.proxy_port.value),
        (14321, Some(14322))
    );
    assert_eq!(defaults.api_port.origin, Origin::Default);
    write_atomically(
        &dir.path().join("config.toml"),
        b"port = 1000\nlog_level = \"debug\"\nnetwork_allowlist = [\"10.0.0.0/8\", \"::1\"]\n",
        0o600,
    )
    .unwrap();
    let file = load(&ServerFlags::default(), &[], dir.path()).unwrap();
    assert_eq!(
        (
            file.api_port.value,
            file.log_level.value,
            file.network_allowlist.value.len()
        ),
        (1000, LogLevel::Debug, 2)
    );
    let env = load(&ServerFlags::default(), &[("PORT", "2000")], dir.path()).unwrap();
    assert_eq!(
        (env.api_port.value, env.api_port.origin),
        (2000, Origin::Environment("PORT"))
    );
    let own = load(
        &ServerFlags::default(),
        &[("PORT", "2000"), ("AGENT_VAULT_PORT", "2001")],
        dir.path(),
    )
    .unwrap();
    assert_eq!(own.api_port.value, 2001);
    let flags = ServerFlags {
        port: Some("3000".into()),
        ..ServerFlags::default()
    };
    let flag = load(&flags, &[("PORT", "2000")], dir.path()).unwrap();
    assert_eq!(
        (flag.api_port.value, flag.api_port.origin),
        (3000, Origin::Flag("--port"))
    );
}

#[test]
fn malformed_values_name_their_place() {
    let dir = tempfile::tempdir().unwrap();
    for (name, value) in [
        ("PORT", "http"),
        ("AGENT_VAULT_MITM_PORT", "70000"),
        ("AGENT_VAULT_HOST", "my-host"),
        ("AGENT_VAULT_LOG_LEVEL", "loud"),
        ("AGENT_VAULT_MAX_REQUEST_BYTES", "-1"),
        ("AGENT_VAULT_MAX_RESPONSE_BYTES", "-1"),
        ("AGENT_VAULT_ALLOW_PRIVATE_RANGES", "maybe"),
        ("AGENT_VAULT_NETWORK_ALLOWLIST", "10.0.0.0/8,x"),
        ("AGENT_VAULT_UNMATCHED_HOST_POLICY", "maybe"),
        ("AGENT_VAULT_RATELIMIT_PROFILE", "huge"),
        ("AGENT_VAULT_RATELIMIT_AUTH_MAX", "many"),
        ("AGENT_VAULT_RATELIMIT_AUTH_WINDOW", "5 parsecs"),
        ("AGENT_VAULT_LOGS_MAX_AGE_HOURS", "week"),
        ("AGENT_VAULT_ADDR", "vault.example"),
        ("AGENT_VAULT_UPSTREAM_PROXY", "socks5://x:1"),
        // As the API reads them, so that the start refuses nothing that `--print-config` shows.
        ("AGENT_VAULT_RATELIMIT_PROFILE", "fast"),
        ("AGENT_VAULT_RATELIMIT_PROXY_RATE", "0.5"),
        ("AGENT_VAULT_RATELIMIT_AUTH_WINDOW", "48h"),
        ("AGENT_VAULT_RATELIMIT_AUTH_WINDOW", "300"),
        ("AGENT_VAULT_DATABASE_URL", "postgres://x"),
    ] {
        let error = load(&ServerFlags::default(), &[(name, value)], dir.path()).unwrap_err();
        assert!(error.message().contains(name), "{name}: {error}");
    }
    write_atomically(&dir.path().join("config.toml"), b"prot = 1\n", 0o600).unwrap();
    let error = load(&ServerFlags::default(), &[], dir.path()).unwrap_err();
    assert!(error.message().contains("config.toml") && error.message().contains("prot"));
}

#[test]
fn knobs_and_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let config = load(
        &ServerFlags::default(),
        &[
            ("AGENT_VAULT_RATELIMIT_AUTH_WINDOW", "1h30m"),
            ("AGENT_VAULT_RATELIMIT_PROXY_RATE", "25"),
            (
                "AGENT_VAULT_UPSTREAM_PROXY",
                "http://u:hunter2@proxy.corp:3128",
            ),
        ],
        dir.path(),
    )
    .unwrap();
    let limits = config.rate_limits.limits.effective(None).limits;
    assert_eq!(limits.auth.unwrap().window.as_secs(), 5400);
    assert_eq!(limits.proxy.rate.unwrap().0.get(), 25);
    let line = (
        "ratelimit",
        "25".to_owned(),
        "AGENT_VAULT_RATELIMIT_PROXY_RATE".to_owned(),
    );
    assert!(config.lines().contains(&line), "{:?}", config.lines());
    // Nobody named a profile, so a stored one counts.
    assert_eq!(config.rate_limits.limits.env.profile, None);
    let shown = format!("{config:?}{:?}", config.lines());
    assert!(!shown.contains("hunter2"));
    let proxy = config.upstream_proxy.value.unwrap();
    assert_eq!(proxy.expose_credentials(), Some(("u", "hunter2")));
    assert_eq!(proxy.authority(), "proxy.corp:3128");
}

#[test]
fn ipv6_hosts_come_with_and_without_brackets() {
    let dir = tempfile::tempdir().unwrap();
    for text in ["::1", "[::1]"] {
        let flags = ServerFlags {
            host: Some(text.into()),
            ..ServerFlags::default()
        };
        assert!(load(&flags, &[], dir.path()).unwrap().host.value.is_ipv6());
    }
}

#[test]
fn a_certificate_and_its_key_go_together() {
    let dir = tempfile::tempdir().unwrap();
    let load = |vars: &[(&str, &str)]| load(&ServerFlags::default(), vars, dir.path());
    let both = load(&[("AGENT_VAULT_TLS_CERT", "a"), ("AGENT_VAULT_TLS_KEY", "/b")]).unwrap();
    assert_eq!(both.tls_cert.value, Some(dir.path().join("a")));
    assert_eq!(both.tls_key.value.as_deref(), Some(Path::new("/b")));
    for (alone, other) in [
        ("AGENT_VAULT_TLS_CERT", "AGENT_VAULT_TLS_KEY"),
        ("AGENT_VAULT_TLS_KEY", "AGENT_VAULT_TLS_CERT"),
    ] {
        let error = load(&[(alone, "a")]).unwrap_err();
        assert!(error.message().contains(alone), "{error}");
        assert!(error.hints().join("").contains(other));
    }
    let error = load(&[("AGENT_VAULT_TLS", "on")]).unwrap_err();
    assert!(
        error
            .message()
            .contains("`on` is neither `optional` nor `required`")
    );
    // A local vault is on this machine only, whatever the server's settings are.
    let env = Env::of(&[("AGENT_VAULT_TLS", "required")], dir.path())
        .with("AGENT_VAULT_HOME", dir.path().to_str().unwrap());
    let local = ServerConfig::for_local(&env).unwrap();
    assert_eq!(local.tls.value, super::TlsMode::Optional);
}

#[test]
fn mail_is_whole_or_an_error_and_its_password_is_shown_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    write_atomically(&dir.path().join("pw"), b"hunter3\nmore\n", 0o600).unwrap();
    let host = ("AGENT_VAULT_SMTP_HOST", "mail.example");
    let from = ("AGENT_VAULT_SMTP_FROM", "vault@x.example");
    let user = ("AGENT_VAULT_SMTP_USERNAME", "u");
    let file = ("AGENT_VAULT_SMTP_PASSWORD_FILE", "pw");
    let config = load(
        &ServerFlags::default(),
        &[host, from, user, file],
        dir.path(),
    )
    .unwrap();
    assert_eq!(config.smtp.port.value, 587);
    assert_eq!(config.smtp.from_name.value, "Agent Vault");
    let password = config.smtp.password.as_ref().unwrap();
    assert_eq!(password.expose(), b"hunter3");
    let shown = format!("{config:?}{:?}", config.lines());
    assert!(shown.contains("mail.example") && !shown.contains("hunter3"));
    let none = load(&ServerFlags::default(), &[], dir.path()).unwrap();
    assert!(none.smtp.host.value.is_none());
    for (variables, named) in [
        (vec![host], "AGENT_VAULT_SMTP_FROM"),
        (vec![from], "AGENT_VAULT_SMTP_HOST"),
        (vec![host, from, user], "AGENT_VAULT_SMTP_PASSWORD"),
        (
            vec![host, from, ("AGENT_VAULT_SMTP_TLS_MODE", "maybe")],
            "AGENT_VAULT_SMTP_TLS_MODE",
        ),
        (
            vec![host, from, ("AGENT_VAULT_SMTP_PORT", "0x1")],
            "AGENT_VAULT_SMTP_PORT",
        ),
        (
            vec![
                host,
                from,
                user,
                file,
                ("AGENT_VAULT_SMTP_PASSWORD", "other"),
            ],
            "both set",
        ),
        (
            vec![
                host,
                from,
                user,
                ("AGENT_VAULT_SMTP_PASSWORD_FILE", "nowhere"),
            ],
            "nowhere",
        ),
    ] {
        let error = load(&ServerFlags::default(), &variables, dir.path()).unwrap_err();
        assert!(error.message().contains(named), "{}", error.message());
    }
}
