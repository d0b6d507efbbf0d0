//! The one address rule and who we are there.
//!
//! Address: `--address`, then the server of `--profile`, then `AGENT_VAULT_ADDR`, then the server of the profile that is
//! chosen otherwise, then the saved login, else no server at all: the command works on the local vault in this process.
//! Identity: `AGENT_VAULT_TOKEN`, else the saved login of the profile. A login's token is sent to the address that issued it
//! and to no other.

use std::fmt;

use agent_vault_seal::SecretBytes;
use http::Method;
use serde_json::json;
use url::{Host, Url};

use crate::cli::App;
use crate::client::types::Authenticated;
use crate::client::{ApiError, Call, Client, Reply, Transport};
use crate::config::ServerConfig;
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::home::{Home, OWN_ROOT, Session, read_if_there};
use crate::lock;
use crate::profile::{self, ChosenBy};
use crate::server::Local;

/// Where a server listens unless told otherwise.
pub(crate) const DEFAULT_ADDRESS: &str = "http://127.0.0.1:14321";

/// A server's base URL in one spelling: no trailing slash, default port left out, lower-case host.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address(Url);

impl Address {
    /// Reads a base URL.
    ///
    /// # Errors
    /// Anything but `http://` or `https://` with a host; user info, a query or a fragment.
    pub(crate) fn parse(text: &str) -> Result<Address> {
        let bad = |why: &str| {
            CliError::new(format!("`{text}` is not a server address: {why}"))
                .hint(format!("an address looks like `{DEFAULT_ADDRESS}`"))
        };
        let mut url = Url::parse(text.trim()).map_err(|e| bad(&e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("it must start with http:// or https://"));
        }
        if !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(bad("it must hold only scheme, host, port and path"));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Address(url))
    }

    /// The host, an IPv6 address in brackets, as it stands in a URL.
    pub(crate) fn host(&self) -> &str {
        self.0.host_str().unwrap_or("127.0.0.1")
    }

    /// True for this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        }
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As whom calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A person's saved login.
    Login,
    /// `AGENT_VAULT_TOKEN`.
    Agent,
    /// The person whose data folder it is, without a server.
    Local,
    /// Nobody: public endpoints only.
    Nobody,
}

/// A server, or the local vault, and who we are there.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) identity: Identity,
    /// The server's address; `None` on the local vault.
    pub(crate) address: Option<Address>,
    /// The local vault itself, where there is no server.
    pub(crate) local: Option<Local>,
    home: Home,
}

/// What the address rule says.
pub(crate) enum Place {
    Server(Address),
    Local,
}

/// Applies the address rule.
pub(crate) fn place(app: &App, flag: Option<&str>) -> Result<Place> {
    if let Some(flag) = flag {
        return Address::parse(flag)
            .map(Place::Server)
            .map_err(|e| e.context("--address"));
    }
    let home = profile::home(app)?;
    if home.profile().by != ChosenBy::Flag
        && let Some(text) = app.env.get(&env_vars::ADDR)?
    {
        return Address::parse(text)
            .map(Place::Server)
            .map_err(|e| e.context(env_vars::ADDR.name));
    }
    let chosen = home.profile();
    if chosen.name.is_default() {
        return Ok(match home.session()? {
            Some(session) => Place::Server(session.address),
            None => Place::Local,
        });
    }
    match profile::address(&home, &chosen.name)? {
        Some(address) => Ok(Place::Server(address)),
        None => Err(profile::missing(&home, chosen)),
    }
}

impl Connection {
    /// Connects as whoever the environment says we are.
    ///
    /// # Errors
    /// Bad addresses; a token without an address; not logged in at that address; a local server that nobody is logged in
    /// to; a local vault that cannot be opened.
    pub(crate) async fn open(app: &App, flag: Option<&str>) -> Result<Connection> {
        let home = profile::home(app)?;
        if let Some(token) = app.env.get(&env_vars::TOKEN)? {
            if home.profile().by == ChosenBy::Flag {
                return Err(CliError::usage(format!(
                    "{} is set, and `--profile` names a saved login: only one can be used",
                    env_vars::TOKEN.name
                ))
                .hint(format!(
                    "leave out `--profile`, or unset {}",
                    env_vars::TOKEN.name
                )));
            }
            return Connection::with_token(app, flag, token, home);
        }
        let address = match place(app, flag)? {
            Place::Server(address) => address,
            Place::Local => return Connection::open_local(app, home).await,
        };
        let Some(session) = home.session_at(&address)? else {
            return Err(not_logged_in(&home, &address));
        };
        // Who did not type the profile may have another server in mind.
        if app.ui.is_interactive()
            && !matches!(home.profile().by, ChosenBy::Flag | ChosenBy::Nothing)
        {
            app.ui.note(&format!(
                "profile {} ({address}), from {}",
                home.profile().name,
                home.profile().by.describe()
            ));
        }
        Ok(Connection {
            client: Client::new(http(app, &address)?, Some(session.token)),
            identity: Identity::Login,
            address: Some(address),
            local: None,
            home,
        })
    }

    fn with_token(app: &App, flag: Option<&str>, token: &str, home: Home) -> Result<Connection> {
        let address = match (flag, app.env.get(&env_vars::ADDR)?) {
            (Some(flag), _) => Address::parse(flag).map_err(|e| e.context("--address"))?,
            (None, Some(text)) => {
                Address::parse(text).map_err(|e| e.context(env_vars::ADDR.name))?
            }
            (None, None) => {
                return Err(CliError::new(format!(
                    "{} is set, but no address",
                    env_vars::TOKEN.name
                ))
                .hint(format!(
                    "set {} to the server's address",
                    env_vars::ADDR.name
                )));
            }
        };
        Ok(Connection {
            client: Client::new(
                http(app, &address)?,
                Some(SecretBytes::new(token.as_bytes().to_vec())),
            ),
            identity: Identity::Agent,
            address: Some(address),
            local: None,
            home,
        })
    }

    async fn open_local(app: &App, home: Home) -> Result<Connection> {
        if let Some(server) = lock::running(&home)? {
            return Err(CliError::new(format!(
                "a server runs on {} ({}), and you are not logged in to it",
                home.dir().display(),
                server.address
            ))
            .hint(home.log_in_hint(Some(&server.address)))
            .hint("its first owner is created with `agent-vault auth register`"));
        }
        let config = ServerConfig::for_local(&app.env)?;
        let local = crate::commands::server::open_local(app, &config).await?;
        app.close_at_end(local.opened());
        Ok(Connection {
            client: Client::new(
                Transport::InProcess(local.router.clone()),
                Some(local.token.duplicate()),
            ),
            identity: Identity::Local,
            address: None,
            local: Some(local),
            home,
        })
    }

    /// Connects without saying who we are, for what anyone may ask.
    ///
    /// # Errors
    /// Bad addresses; a local vault that cannot be opened.
    pub(crate) async fn anonymous(app: &App, flag: Option<&str>) -> Result<Connection> {
        let home = profile::home(app)?;
        match place(app, flag)? {
            Place::Server(address) => Connection::nobody(app, address, home),
            Place::Local => match lock::running(&home)? {
                Some(server) => Connection::nobody(app, Address::parse(&server.address)?, home),
                None => Connection::open_local(app, home).await,
            },
        }
    }

    /// Connects to an address as nobody.
    pub(crate) fn nobody(app: &App, address: Address, home: Home) -> Result<Connection> {
        Ok(Connection {
            client: Client::new(http(app, &address)?, None),
            identity: Identity::Nobody,
            address: Some(address),
            local: None,
            home,
        })
    }

    /// The data folder.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// What the `context` file calls this place.
    pub(crate) fn place_name(&self) -> String {
        self.address
            .as_ref()
            .map_or_else(|| String::from("local"), ToString::to_string)
    }

    /// Sends a call; a login that has expired is renewed once, where a person can type the password.
    ///
    /// # Errors
    /// As the server words it.
    pub(crate) async fn send(&self, app: &App, call: Call<'_>) -> Result<Reply> {
        self.try_send(app, call).await.map_err(|e| self.explain(e))
    }

    /// Like [`Connection::send`], for callers that look at the status.
    pub(crate) async fn try_send(
        &self,
        app: &App,
        call: Call<'_>,
    ) -> std::result::Result<Reply, ApiError> {
        match self.client.send(&call).await {
            Err(e)
                if e.status == 401
                    && self.identity == Identity::Login
                    && app.ui.is_interactive() =>
            {
                app.ui.note(&format!("{}; log in again", e.message()));
                self.log_in_again(app).await.map_err(ApiError::transport)?;
                self.client.send(&call).await
            }
            result => result,
        }
    }

    /// Words a refusal for whoever we are.
    pub(crate) fn explain(&self, error: ApiError) -> CliError {
        if error.status == 401 && self.identity == Identity::Agent {
            return CliError::new(format!(
                "the server rejected {}: {}",
                env_vars::TOKEN.name,
                error.message()
            ))
            .hint("the token may have expired, been rotated or been revoked; ask for a new one");
        }
        if error.status == 403 && self.identity == Identity::Agent {
            return CliError::from(error).hint(format!(
                "this acts as the holder of {}; unset it to act as yourself",
                env_vars::TOKEN.name
            ));
        }
        if error.status == 401
            && let Some(address) = &self.address
        {
            return CliError::new(format!("{} at {address}", error.message()))
                .hint(self.home.log_in_hint(Some(&address.to_string())));
        }
        let refusal = CliError::from(error);
        match &self.address {
            Some(address)
                if self.identity == Identity::Login
                    && self.home.profile().by != ChosenBy::Nothing =>
            {
                refusal.hint(format!(
                    "this was {address}, of profile {}",
                    self.home.profile().name
                ))
            }
            _ => refusal,
        }
    }

    async fn log_in_again(&self, app: &App) -> Result {
        let session = match &self.address {
            Some(address) => self.home.session_at(address)?,
            None => None,
        };
        let Some(mut session) = session else {
            return Err(CliError::new("the saved login is gone").hint(self.home.log_in_hint(None)));
        };
        let email = match &session.email {
            Some(email) => email.clone(),
            None => app.ui.ask("E-mail", "agent-vault auth login --email")?,
        };
        let password = app.ui.ask_secret(
            &format!("Password for {email}"),
            "agent-vault auth login --password-stdin",
        )?;
        let label = session.device_label.as_deref();
        let reply = match log_in(&self.client, &email, &password, None, label).await {
            Err(e) if e.is_code("second_factor_required") => {
                let code = app.ui.ask(
                    "Code of the authenticator app",
                    "agent-vault auth login --totp",
                )?;
                log_in(&self.client, &email, &password, Some(&code), label).await
            }
            result => result,
        };
        let reply = reply.map_err(|e| {
            if e.status == 401 {
                CliError::new(e.message().to_owned())
            } else {
                e.into()
            }
        })?;
        let token = logged_in(&reply)?;
        self.client.set_token(token.duplicate());
        session.token = token;
        session.email = Some(email);
        self.home.renew_session(&session)
    }

    /// Remembers the token that takes the place of this login's.
    pub(crate) fn renew_login(&self, token: SecretBytes) -> Result {
        let Some(address) = &self.address else {
            return Ok(());
        };
        match self.home.session_at(address)? {
            Some(mut session) => {
                session.token = token;
                self.home.renew_session(&session)
            }
            None => Ok(()),
        }
    }

    /// Remembers a login.
    pub(crate) fn save_login(
        &self,
        token: SecretBytes,
        email: &str,
        device_label: Option<String>,
    ) -> Result {
        let Some(address) = self.address.clone() else {
            return Ok(());
        };
        self.home.save_session(&Session {
            token,
            address,
            email: Some(email.to_owned()),
            device_label,
        })
    }
}

/// A login for another server is not sent to this one.
fn not_logged_in(home: &Home, address: &Address) -> CliError {
    let other = match home.session() {
        Ok(Some(other)) => format!(
            "; the saved login is for {} and is sent nowhere else",
            other.address
        ),
        _ => String::new(),
    };
    CliError::new(format!("not logged in at {address}{other}"))
        .hint(home.log_in_hint(Some(&address.to_string())))
}

/// Exchanges a password, and a second factor where there is one, for a session token.
pub(crate) async fn log_in(
    client: &Client,
    email: &str,
    password: &SecretBytes,
    factor: Option<&str>,
    device_label: Option<&str>,
) -> std::result::Result<Reply, ApiError> {
    let password = password
        .expose_str()
        .map_err(|_| ApiError::transport(CliError::new("the password is not valid UTF-8")))?;
    let mut body = json!({"email": email, "password": password, "device_label": device_label.unwrap_or("cli")});
    if let (Some(factor), Some(object)) = (factor, body.as_object_mut()) {
        object.insert(String::from("totp_code"), json!(factor));
    }
    client
        .send(&Call::new(Method::POST, "/v1/auth/login").json(&body))
        .await
}

/// The session token in the answer to a login.
pub(crate) fn logged_in(reply: &Reply) -> Result<SecretBytes> {
    let answer: Authenticated = reply.json()?;
    match answer.token {
        Some(token) => Ok(SecretBytes::new(token.into_bytes())),
        None => Err(CliError::new(
            "the server accepted the login but sent no token",
        )),
    }
}

/// Calls to the server whose address `run` gave us go direct: the proxy in our environment is that server's own.
fn http(app: &App, address: &Address) -> Result<Transport> {
    let own = app
        .env
        .get(&env_vars::ADDR)?
        .and_then(|text| Address::parse(text).ok());
    let direct = own.as_ref().is_some_and(|own| own.host() == address.host());
    transport(app, &Home::locate(&app.env)?, address, direct)
}

/// A transport that trusts, besides the system's roots, those that [`env_vars::CA`] names and, on this machine, that of the
/// server of `home`.
///
/// # Errors
/// The file that was named cannot be read, or holds no certificate.
pub(crate) fn transport(
    app: &App,
    home: &Home,
    address: &Address,
    direct: bool,
) -> Result<Transport> {
    let mut roots = Vec::new();
    if address.is_https() {
        if let Some(file) = app.env.get(&env_vars::CA)? {
            let path = app.env.cwd().join(file);
            let bad = |why: &dyn fmt::Display| {
                CliError::new(format!("{}: {}: {why}", env_vars::CA.name, path.display()))
            };
            let pem = read_if_there(&path)?.ok_or_else(|| bad(&"there is no such file"))?;
            let found = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| bad(&e))?;
            if found.is_empty() {
                return Err(bad(&"there is no certificate in it"));
            }
            roots.extend(found);
        }
        // Whoever can write there can read everything anyway.
        if address.is_loopback()
            && let Ok(Some(pem)) = read_if_there(&home.path(OWN_ROOT))
            && let Ok(found) = reqwest::Certificate::from_pem_bundle(&pem)
        {
            roots.extend(found);
        }
    }
    Transport::http(address, direct, roots)
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn addresses_have_one_spelling() {
        for (text, shown) in [
            ("http://127.0.0.1:14321/", "http://127.0.0.1:14321"),
            ("HTTPS://Vault.Example:443//", "https://vault.example"),
            ("http://[::1]:14321", "http://[::1]:14321"),
            ("https://x.example/av/", "https://x.example/av"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown);
        }
        for bad in [
            "",
            "127.0.0.1:14321",
            "ftp://x",
            "http://",
            "http://u:p@x",
            "http://x/?q",
            "http://x/#f",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Address::parse("http://[::1]:1").unwrap().host(), "[::1]");
        assert!(Address::parse("http://localhost:1").unwrap().is_loopback());
        assert!(!Address::parse("http://10.0.0.1:1").unwrap().is_loopback());
    }
}
