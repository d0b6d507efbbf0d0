//! `agent-vault vault credential oauth`: connect a credential by a person's consent or with tokens that one has, and see how it is.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use agent_vault_seal::SecretBytes;
use clap::{ArgGroup, Args, Subcommand};
use http::Method;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::credential::{from_outside, without_line_end};
use super::oauth_providers::{PROVIDERS, named};
use crate::cli::{App, Output, Target};
use crate::client::types::{OAuthConnected, OAuthConnecting, OAuthState};
use crate::client::{ApiPath, Call};
use crate::commands::time;
use crate::connect::Connection;
use crate::error::{CliError, Result};
use crate::ui::clean;

/// Time between two looks at a consent.
const POLL: Duration = Duration::from_secs(1);
/// How long a consent is waited for; it runs out then.
const PATIENCE: Duration = Duration::from_mins(10);
/// The token endpoint that Claude Code's own tokens come from.
const CLAUDE_TOKEN_URL: &str = "https://console.anthropic.com/v1/oauth/token";
/// Claude Code's public client id.
const CLAUDE_CLIENT_ID: &str = "9d1c250a-e61b-44d9-88ed-5944d1962f5e";
/// The key that its tokens get unless another is named.
const CLAUDE_KEY: &str = "ANTHROPIC";

/// `agent-vault vault credential oauth`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(super) struct OAuthArgs {
    #[command(subcommand)]
    command: OAuthCommand,
}

#[derive(Subcommand)]
enum OAuthCommand {
    /// Send a person to a provider, and wait until the credential is connected
    #[command(after_help = "Examples:
  agent-vault vault credential oauth connect --provider github --client-id Iv1.0123 --client-secret-env GITHUB_SECRET --scopes repo
  agent-vault vault credential oauth connect GOOGLE                connects again what is configured already

Register an application at the provider first; its redirect URL is the server's address followed by `/v1/oauth/callback`.")]
    Connect(Box<ConnectArgs>),
    /// Connect a credential with tokens that you have; a refresh token is tried at once
    #[command(after_help = "Examples:
  agent-vault vault credential oauth tokens --claude-code ~/.claude/.credentials.json
  agent-vault vault credential oauth tokens GITHUB --refresh-token-env REFRESH --token-url https://github.com/login/oauth/access_token --client-id Iv1.0123")]
    Tokens(Box<TokensArgs>),
    /// Show whether a credential is connected, and what went wrong last
    Status {
        /// Key
        key: String,
        #[command(flatten)]
        output: Output,
    },
    /// List the providers that are known by name
    Providers {
        #[command(flatten)]
        output: Output,
    },
}

/// Where the client secret comes from; what is stored stays without any of these.
#[derive(Args)]
#[command(group = ArgGroup::new("secret").multiple(false))]
struct SecretArgs {
    /// Read the client secret from a file, one trailing line end removed
    #[arg(long, value_name = "PATH", group = "secret")]
    client_secret_file: Option<PathBuf>,
    /// Take the client secret from an environment variable
    #[arg(long, value_name = "VARIABLE", group = "secret")]
    client_secret_env: Option<String>,
    /// Read the client secret from stdin, one trailing line end removed
    #[arg(long, group = "secret")]
    client_secret_stdin: bool,
    /// Ask for the client secret without showing it
    #[arg(long, group = "secret")]
    ask_client_secret: bool,
    /// There is no client secret: forget a stored one
    #[arg(long, group = "secret")]
    no_client_secret: bool,
}

impl SecretArgs {
    fn read(&self, app: &App) -> Result<Option<Hidden>> {
        const WHAT: &str = "CLIENT_SECRET";
        if self.no_client_secret {
            return Ok(Some(Hidden(SecretBytes::new(Vec::new()))));
        }
        if self.ask_client_secret {
            let instead = "--client-secret-stdin` or `--client-secret-file PATH";
            return Ok(Some(Hidden(app.ui.ask_secret("Client secret", instead)?)));
        }
        if self.client_secret_stdin {
            return Ok(Some(Hidden(without_line_end(app.ui.read_document()?))));
        }
        outside(
            app,
            WHAT,
            self.client_secret_env.as_deref(),
            self.client_secret_file.as_deref(),
        )
    }
}

#[derive(Args)]
struct ConnectArgs {
    /// Key; the provider's own name without it
    #[arg(required_unless_present = "provider")]
    key: Option<String>,
    /// A provider that is known by name; see `providers`
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Where a person consents
    #[arg(long, value_name = "URL")]
    authorization_url: Option<String>,
    /// Where tokens come from
    #[arg(long, value_name = "URL")]
    token_url: Option<String>,
    /// The id that the provider gave your application
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    #[command(flatten)]
    secret: SecretArgs,
    /// Scopes, as the provider wants them
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
    /// What stands between scopes, where it is not a space
    #[arg(long, value_name = "TEXT")]
    scope_separator: Option<String>,
    /// Leave PKCE out, for a provider that does not take it
    #[arg(long)]
    no_pkce: bool,
    /// client_secret_post, client_secret_basic or none
    #[arg(long, value_name = "METHOD")]
    token_auth_method: Option<String>,
    /// Print the link and open nothing
    #[arg(long)]
    no_browser: bool,
    /// Print the link and do not wait
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
struct TokensArgs {
    /// Key
    #[arg(required_unless_present = "claude_code")]
    key: Option<String>,
    /// Take the tokens from the credentials file of Claude Code
    #[arg(long, value_name = "PATH", conflicts_with_all = ["access_token_file", "access_token_env", "refresh_token_file", "refresh_token_env"])]
    claude_code: Option<PathBuf>,
    /// Read the access token from a file
    #[arg(long, value_name = "PATH", conflicts_with = "access_token_env")]
    access_token_file: Option<PathBuf>,
    /// Take the access token from an environment variable
    #[arg(long, value_name = "VARIABLE")]
    access_token_env: Option<String>,
    /// Read the refresh token from a file
    #[arg(long, value_name = "PATH", conflicts_with = "refresh_token_env")]
    refresh_token_file: Option<PathBuf>,
    /// Take the refresh token from an environment variable
    #[arg(long, value_name = "VARIABLE")]
    refresh_token_env: Option<String>,
    /// Where tokens come from; without it nothing is refreshed
    #[arg(long, value_name = "URL")]
    token_url: Option<String>,
    /// The id of the client that the tokens were given to
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    #[command(flatten)]
    secret: SecretArgs,
    /// client_secret_post, client_secret_basic or none
    #[arg(long, value_name = "METHOD")]
    token_auth_method: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// A secret on its way into a request's body.
struct Hidden(SecretBytes);

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let text = self.0.expose_str().map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(text)
    }
}

pub(super) async fn run(app: &App, target: &Target, args: OAuthArgs) -> Result {
    match args.command {
        OAuthCommand::Connect(args) => connect(app, target, *args).await,
        OAuthCommand::Tokens(args) => tokens(app, target, *args).await,
        OAuthCommand::Status { key, output } => {
            let (connection, vault) = super::open(app, target).await?;
            status(app, &connection, &vault, &key, output).await
        }
        OAuthCommand::Providers { output } => providers(app, output),
    }
}

#[derive(Serialize)]
struct ConnectBody<'a> {
    vault: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope_separator: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_pkce: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_auth_method: Option<&'a str>,
}

async fn connect(app: &App, target: &Target, args: ConnectArgs) -> Result {
    let preset = match args.provider.as_deref() {
        None => None,
        Some(id) => Some(named(id).ok_or_else(|| {
            CliError::usage(format!("no provider is called `{}`", clean(id)))
                .hint("see `agent-vault vault credential oauth providers`")
        })?),
    };
    let key = match (&args.key, preset) {
        (Some(key), _) => key.clone(),
        (None, Some(preset)) => preset.key.to_owned(),
        (None, None) => return Err(CliError::usage("no KEY was named")),
    };
    let secret = args.secret.read(app)?;
    let (connection, vault) = super::open(app, target).await?;
    if connection.local.is_some() {
        return Err(CliError::new(
            "a person comes back from a provider to a server, and this is the local vault without one",
        )
        .hint("start one with `agent-vault server` and log in, or give tokens: `agent-vault vault credential oauth tokens`"));
    }
    let body = ConnectBody {
        vault: &vault,
        key: &key,
        authorization_url: args
            .authorization_url
            .as_deref()
            .or(preset.map(|preset| preset.authorization_url)),
        token_url: args
            .token_url
            .as_deref()
            .or(preset.map(|preset| preset.token_url)),
        client_id: args.client_id.as_deref(),
        client_secret: secret,
        scopes: args.scopes.as_deref(),
        scope_separator: args.scope_separator.as_deref(),
        disable_pkce: args.no_pkce.then_some(true),
        token_auth_method: args
            .token_auth_method
            .as_deref()
            .or(preset.map(|preset| preset.token_auth_method)),
    };
    let call = Call::new(Method::POST, "/v1/credentials/oauth/connect").json(&body);
    let reply = connection.send(app, call).await.map_err(with_flag)?;
    let started: OAuthConnecting = reply.json()?;
    let link = clean(&started.start_url);
    if args.no_wait {
        if args.output.json {
            return app.ui.line(reply.text().trim_end());
        }
        app.ui.line(&link)?;
        app.ui.note(&format!(
            "once it is done: `agent-vault vault credential oauth status {key} --vault {vault}`"
        ));
        return Ok(());
    }
    app.ui.progress(&format!("Open {link} and consent"));
    if !args.no_browser && app.ui.is_interactive() {
        open_browser(app, &link);
    }
    let path = ApiPath::new("/v1/credentials/oauth/status")
        .query("vault", &vault)
        .query("key", &key)
        .query("consent", &started.consent);
    let waiting = async {
        loop {
            tokio::time::sleep(POLL).await;
            let reply = connection.send(app, Call::get(path.clone())).await?;
            let state: OAuthState = reply.json()?;
            let consent = state.consent.unwrap_or_default();
            match consent.status.as_str() {
                "done" => return Ok(reply),
                "pending" | "used" => {}
                _ => {
                    let why = consent.error.unwrap_or_default();
                    return Err(
                        CliError::new(format!("{key} was not connected: {}", clean(&why)))
                            .hint("run the command again for a new link"),
                    );
                }
            }
        }
    };
    let reply = match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(done) => done?,
        Err(_) => {
            return Err(CliError::new("nobody consented in time")
                .hint("run the command again for a new link"));
        }
    };
    if args.output.json {
        return app.ui.line(reply.text().trim_end());
    }
    app.ui
        .success(&format!("connected {key} in vault \"{vault}\""))
}

/// The server names a field of its own; a person types a flag.
fn with_flag(error: CliError) -> CliError {
    match error.message().split_once(':') {
        Some(("authorization_url" | "token_url", _)) => error.hint(
            "name a provider with `--provider`, or give `--authorization-url` and `--token-url`",
        ),
        Some(("client_id", _)) => error.hint("give it with `--client-id`"),
        _ => error,
    }
}

/// Opens the link in a browser, if there is one. Nobody depends on it: the link is printed.
fn open_browser(app: &App, link: &str) {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let started = tokio::process::Command::new(program)
        .arg(link)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if started.is_err() {
        app.ui.note("no browser could be started from here");
    }
}

#[derive(Serialize)]
struct TokensBody<'a> {
    vault: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_auth_method: Option<&'a str>,
}

async fn tokens(app: &App, target: &Target, args: TokensArgs) -> Result {
    let claude = args.claude_code.is_some();
    let key = match (&args.key, claude) {
        (Some(key), _) => key.clone(),
        (None, true) => CLAUDE_KEY.to_owned(),
        (None, false) => return Err(CliError::usage("no KEY was named")),
    };
    let (access, refresh) = match &args.claude_code {
        Some(path) => claude_tokens(app, path)?,
        None => (
            outside(
                app,
                "ACCESS_TOKEN",
                args.access_token_env.as_deref(),
                args.access_token_file.as_deref(),
            )?,
            outside(
                app,
                "REFRESH_TOKEN",
                args.refresh_token_env.as_deref(),
                args.refresh_token_file.as_deref(),
            )?,
        ),
    };
    let secret = args.secret.read(app)?;
    let (access, refresh) = match (access, refresh) {
        (None, None) => {
            let instead = "--access-token-file PATH`, `--refresh-token-file PATH` or the same with `-env VARIABLE";
            (
                Some(Hidden(app.ui.ask_secret("Access token", instead)?)),
                None,
            )
        }
        given => given,
    };
    let (connection, vault) = super::open(app, target).await?;
    let body = TokensBody {
        vault: &vault,
        key: &key,
        access_token: access,
        refresh_token: refresh,
        token_url: args
            .token_url
            .as_deref()
            .or(claude.then_some(CLAUDE_TOKEN_URL)),
        client_id: args
            .client_id
            .as_deref()
            .or(claude.then_some(CLAUDE_CLIENT_ID)),
        client_secret: secret,
        token_auth_method: args
            .token_auth_method
            .as_deref()
            .or(claude.then_some("none")),
    };
    let call = Call::new(Method::POST, "/v1/credentials/oauth/tokens").json(&body);
    let reply = connection.send(app, call).await?;
    if args.output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let done: OAuthConnected = reply.json()?;
    let until = done
        .expires_at
        .as_deref()
        .map(|end| format!(", until {}", time(end)))
        .unwrap_or_default();
    app.ui.success(&format!(
        "connected {key} in vault \"{vault}\"{until}{}",
        if done.refreshable {
            "; the next token is fetched by itself"
        } else {
            "; nothing is refreshed"
        }
    ))
}

async fn status(
    app: &App,
    connection: &Connection,
    vault: &str,
    key: &str,
    output: Output,
) -> Result {
    let path = ApiPath::new("/v1/credentials/oauth/status")
        .query("vault", vault)
        .query("key", key);
    let reply = connection.send(app, Call::get(path)).await?;
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let state: OAuthState = reply.json()?;
    app.ui
        .field("Connected", if state.connected { "yes" } else { "no" })?;
    if let Some(at) = &state.connected_at {
        app.ui.field("Since", &time(at))?;
    }
    if let Some(end) = &state.expires_at {
        app.ui.field("Token ends", &time(end))?;
    }
    if let Some(error) = &state.last_error {
        app.ui.field("Last error", &clean(error))?;
    }
    Ok(())
}

fn providers(app: &App, output: Output) -> Result {
    if output.json {
        let list: Vec<Value> = PROVIDERS
            .iter()
            .map(|provider| {
                json!({
                    "id": provider.id,
                    "key": provider.key,
                    "authorization_url": provider.authorization_url,
                    "token_url": provider.token_url,
                    "token_auth_method": provider.token_auth_method,
                })
            })
            .collect();
        return app.ui.line(&json!({ "providers": list }).to_string());
    }
    let rows = PROVIDERS
        .iter()
        .map(|provider| {
            vec![
                provider.id.to_owned(),
                provider.key.to_owned(),
                provider.authorization_url.to_owned(),
            ]
        })
        .collect();
    app.ui.table(&["NAME", "KEY", "CONSENT"], rows, "")
}

/// A secret from a variable or a file, if either was named.
fn outside(
    app: &App,
    what: &str,
    variable: Option<&str>,
    path: Option<&Path>,
) -> Result<Option<Hidden>> {
    if variable.is_none() && path.is_none() {
        return Ok(None);
    }
    let mut values = from_outside(app, what, variable, path)?;
    Ok(values.0.pop().map(|(_, value)| Hidden(value)))
}

/// What matters of Claude Code's credentials file.
#[derive(Deserialize)]
struct ClaudeFile {
    #[serde(rename = "claudeAiOauth")]
    oauth: ClaudeTokens,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaudeTokens {
    access_token: String,
    #[serde(default)]
    refresh_token: Option<String>,
}

fn claude_tokens(app: &App, path: &Path) -> Result<(Option<Hidden>, Option<Hidden>)> {
    let mut values = from_outside(app, CLAUDE_KEY, None, Some(path))?;
    let text = values.0.pop().map(|(_, value)| value);
    let text = text.unwrap_or_else(|| SecretBytes::new(Vec::new()));
    // What serde says may quote the file.
    let file: ClaudeFile = serde_json::from_slice(text.expose()).map_err(|_| {
        CliError::new(format!(
            "{} is no credentials file of Claude Code",
            path.display()
        ))
        .hint("it has an object `claudeAiOauth` with `accessToken` and `refreshToken`; Claude Code writes it when you log in")
    })?;
    let hidden = |text: String| Hidden(SecretBytes::from(text));
    Ok((
        Some(hidden(file.oauth.access_token)),
        file.oauth.refresh_token.map(hidden),
    ))
}
