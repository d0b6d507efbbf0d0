//! Every environment variable that this program reads, declared once with its documentation.

use std::fmt::Write as _;

/// One environment variable.
#[derive(Debug)]
pub(crate) struct Variable {
    /// The name in the environment.
    pub(crate) name: &'static str,
    /// Who reads it: `server`, `client`, `both`.
    pub(crate) read_by: &'static str,
    /// What it means and its default, one line.
    pub(crate) doc: &'static str,
}

macro_rules! variables {
    ($($ident:ident = $name:literal, $read_by:literal, $doc:literal;)*) => {
        $(
            #[doc = $doc]
            pub(crate) static $ident: Variable = Variable { name: $name, read_by: $read_by, doc: $doc };
        )*
        /// All declared variables, in the order of the reference table.
        pub(crate) static ALL: &[&Variable] = &[$(&$ident),*];
    };
}

variables! {
    ADDR = "AGENT_VAULT_ADDR", "both", "Client: address of the server. Server: its public base URL (default `http://<host>:<port>`).";
    TOKEN = "AGENT_VAULT_TOKEN", "client", "Agent token or vault-scoped token; used instead of the saved login.";
    PROFILE = "AGENT_VAULT_PROFILE", "client", "Profile whose saved login and vault are used (default: that of `profile use`, else `default`).";
    VAULT = "AGENT_VAULT_VAULT", "client", "Name of the vault to use.";
    HOME = "AGENT_VAULT_HOME", "both", "Data folder (default `~/.agent-vault`).";
    ISOLATION = "AGENT_VAULT_ISOLATION", "client", "Run mode; this version knows `host`.";
    MASTER_PASSWORD = "AGENT_VAULT_MASTER_PASSWORD", "both", "Master password that unlocks the stored credentials.";
    NEW_MASTER_PASSWORD = "AGENT_VAULT_NEW_MASTER_PASSWORD", "client", "New master password for `master-password set` and `change`.";
    BACKUP_PASSPHRASE = "AGENT_VAULT_BACKUP_PASSPHRASE", "client", "Passphrase for `backup` and `restore`.";
    PORT = "AGENT_VAULT_PORT", "server", "Port of the management API (default 14321).";
    GENERIC_PORT = "PORT", "server", "Port of the management API where a hosting platform assigns one; `AGENT_VAULT_PORT` wins.";
    HOST = "AGENT_VAULT_HOST", "server", "Address that both listeners bind (default 127.0.0.1).";
    PROXY_PORT = "AGENT_VAULT_MITM_PORT", "server", "Port of the proxy (default 14322, 0 switches it off).";
    DATABASE_URL = "AGENT_VAULT_DATABASE_URL", "server", "Reserved for PostgreSQL; this version stores in SQLite and refuses it.";
    LOG_LEVEL = "AGENT_VAULT_LOG_LEVEL", "server", "`info` (default) or `debug`.";
    LOG_FORMAT = "AGENT_VAULT_LOG_FORMAT", "server", "`text` (default) or `json`.";
    MAX_REQUEST_BYTES = "AGENT_VAULT_MAX_REQUEST_BYTES", "server", "Largest request body through the proxy, 0 = no limit (default).";
    MAX_RESPONSE_BYTES = "AGENT_VAULT_MAX_RESPONSE_BYTES", "server", "Largest response body through the proxy, 0 = no limit (default).";
    LOG_PATHS = "AGENT_VAULT_LOG_PATHS", "server", "`false` leaves the path out of request log rows (default true).";
    ALLOW_PRIVATE_RANGES = "AGENT_VAULT_ALLOW_PRIVATE_RANGES", "server", "`true` lets the proxy reach private addresses (default false).";
    NETWORK_ALLOWLIST = "AGENT_VAULT_NETWORK_ALLOWLIST", "server", "Comma-separated addresses or CIDRs that the proxy may reach although they are private.";
    UNMATCHED_HOST_POLICY = "AGENT_VAULT_UNMATCHED_HOST_POLICY", "server", "What vaults without a setting of their own do with hosts that no service matches: `passthrough` (default) or `deny`.";
    TRUSTED_PROXIES = "AGENT_VAULT_TRUSTED_PROXIES", "server", "Comma-separated CIDRs whose `X-Forwarded-For` counts.";
    PROXY_PROTOCOL_FROM = "AGENT_VAULT_PROXY_PROTOCOL_FROM", "server", "Comma-separated CIDRs of load balancers whose connections to the proxy port begin with a PROXY protocol header (v1 or v2); it is required of them and refused from others.";
    DEV_MODE = "AGENT_VAULT_DEV_MODE", "server", "`true` allows services on internal host names such as `localhost` (default false).";
    ALLOW_REMOTE_SETUP = "AGENT_VAULT_ALLOW_REMOTE_SETUP", "server", "`true` lets the first owner register from another machine (default false).";
    OWNER_EMAIL = "AGENT_VAULT_OWNER_EMAIL", "server", "With `AGENT_VAULT_OWNER_PASSWORD`: creates this owner at the first start.";
    OWNER_PASSWORD = "AGENT_VAULT_OWNER_PASSWORD", "server", "Password of the owner that `AGENT_VAULT_OWNER_EMAIL` names.";
    OWNER_PASSWORD_FILE = "AGENT_VAULT_OWNER_PASSWORD_FILE", "server", "File with that password, instead of the variable.";
    UPSTREAM_PROXY = "AGENT_VAULT_UPSTREAM_PROXY", "server", "`http://[user:password@]host:port` of a proxy that outbound connections go through.";
    UPSTREAM_NO_PROXY = "AGENT_VAULT_UPSTREAM_NO_PROXY", "server", "Comma-separated hosts, suffixes or CIDRs that are reached without the upstream proxy.";
    UPSTREAM_CA = "AGENT_VAULT_UPSTREAM_CA", "server", "PEM file with roots to trust for upstreams besides the system's.";
    TLS = "AGENT_VAULT_TLS", "server", "`optional` (default): both ports take TLS and plain HTTP; `required`: TLS alone.";
    TLS_CERT = "AGENT_VAULT_TLS_CERT", "server", "PEM file with the certificate chain that both ports show (default: one of Agent Vault's own CA); read again when it changes.";
    TLS_KEY = "AGENT_VAULT_TLS_KEY", "server", "PEM file with the private key of `AGENT_VAULT_TLS_CERT`.";
    CA = "AGENT_VAULT_CA", "client", "PEM file with roots to trust for an `https://` server address besides the system's.";
    RATELIMIT_PROFILE = "AGENT_VAULT_RATELIMIT_PROFILE", "server", "`default`, `strict`, `loose` or `off`; beats the stored profile.";
    RATELIMIT_LOCK = "AGENT_VAULT_RATELIMIT_LOCK", "server", "`true` leaves out the stored rate limits; they cannot be changed then (default false).";
    RATELIMIT_KNOB = "AGENT_VAULT_RATELIMIT_<TIER>_<KNOB>", "server", "One limit, before what is stored: `AUTH_MAX`, `AUTH_WINDOW` (as `5m`, at most 24h), `PROXY_`, `AUTHED_` or `GLOBAL_` with `RATE` per second or `BURST`, `PROXY_` or `GLOBAL_CONCURRENCY`, `VERIFY_FAIL_MAX`; whole numbers, 0 = as the profile says.";
    LOGS_MAX_AGE_HOURS = "AGENT_VAULT_LOGS_MAX_AGE_HOURS", "server", "Age at which request log rows are deleted, 0 = never (default 168).";
    LOGS_MAX_ROWS = "AGENT_VAULT_LOGS_MAX_ROWS_PER_VAULT", "server", "Request log rows kept per vault, 0 = all (default 10000).";
    AUDIT_MAX_AGE_DAYS = "AGENT_VAULT_AUDIT_MAX_AGE_DAYS", "server", "Age at which audit records are cut off, 0 = never (default); the rest of the chain still verifies.";
    LOGS_RETENTION_LOCK = "AGENT_VAULT_LOGS_RETENTION_LOCK", "server", "`true` ignores the stored retention setting.";
    SMTP_HOST = "AGENT_VAULT_SMTP_HOST", "server", "Mail server; mail is on where this and `AGENT_VAULT_SMTP_FROM` are set.";
    SMTP_PORT = "AGENT_VAULT_SMTP_PORT", "server", "Its port (default 587); on 465 TLS begins with the first byte, else by STARTTLS.";
    SMTP_USERNAME = "AGENT_VAULT_SMTP_USERNAME", "server", "User name at the mail server; sent inside TLS only.";
    SMTP_PASSWORD = "AGENT_VAULT_SMTP_PASSWORD", "server", "Password at the mail server.";
    SMTP_PASSWORD_FILE = "AGENT_VAULT_SMTP_PASSWORD_FILE", "server", "File with that password, instead of the variable.";
    SMTP_FROM = "AGENT_VAULT_SMTP_FROM", "server", "Address that mail is from.";
    SMTP_FROM_NAME = "AGENT_VAULT_SMTP_FROM_NAME", "server", "Name beside that address (default `Agent Vault`).";
    SMTP_TLS_MODE = "AGENT_VAULT_SMTP_TLS_MODE", "server", "`opportunistic` (default): TLS where the mail server offers it; `required`; `none`.";
    SMTP_TLS_SKIP_VERIFY = "AGENT_VAULT_SMTP_TLS_SKIP_VERIFY", "server", "`true` takes any certificate of the mail server (default false).";
    INFISICAL_URL = "INFISICAL_URL", "server", "Address of an Infisical that vaults may take their credentials from, with the variables of one login method; private addresses as `AGENT_VAULT_NETWORK_ALLOWLIST` says.";
    INFISICAL_UNIVERSAL_ID = "INFISICAL_UNIVERSAL_AUTH_CLIENT_ID", "server", "Login method universal: client id of the machine identity.";
    INFISICAL_UNIVERSAL_SECRET = "INFISICAL_UNIVERSAL_AUTH_CLIENT_SECRET", "server", "Its client secret.";
    INFISICAL_UNIVERSAL_SECRET_FILE = "INFISICAL_UNIVERSAL_AUTH_CLIENT_SECRET_FILE", "server", "File with that secret, instead of the variable.";
    INFISICAL_KUBERNETES_ID = "INFISICAL_KUBERNETES_IDENTITY_ID", "server", "Login method kubernetes: the machine identity.";
    INFISICAL_KUBERNETES_TOKEN = "INFISICAL_KUBERNETES_SERVICE_ACCOUNT_TOKEN_PATH", "server", "File with the service account's token (default: the pod's own).";
    INFISICAL_AWS_ID = "INFISICAL_AWS_IAM_AUTH_IDENTITY_ID", "server", "Login method aws-iam: not in this version, which refuses it.";
    INFISICAL_GCP_ID = "INFISICAL_GCP_AUTH_IDENTITY_ID", "server", "Login method gcp-iam: the machine identity; without a key file that would be gcp-id-token, which this version refuses.";
    INFISICAL_GCP_KEY = "INFISICAL_GCP_IAM_SERVICE_ACCOUNT_KEY_FILE_PATH", "server", "JSON key file of the Google service account.";
    INFISICAL_LDAP_ID = "INFISICAL_LDAP_AUTH_IDENTITY_ID", "server", "Login method ldap: the machine identity.";
    INFISICAL_LDAP_USERNAME = "INFISICAL_LDAP_AUTH_USERNAME", "server", "Its user name.";
    INFISICAL_LDAP_PASSWORD = "INFISICAL_LDAP_AUTH_PASSWORD", "server", "Its password.";
    INFISICAL_LDAP_PASSWORD_FILE = "INFISICAL_LDAP_AUTH_PASSWORD_FILE", "server", "File with that password, instead of the variable.";
    METRICS_TOKEN = "AGENT_VAULT_METRICS_TOKEN", "server", "A token of your own choice, at least 16 characters, that reads `/metrics` and nothing else.";
    FLY_APP_NAME = "FLY_APP_NAME", "server", "Set by Fly.io: the base URL is then `https://<name>.fly.dev` unless `AGENT_VAULT_ADDR` is set.";
    DETACHED = "_AGENT_VAULT_DETACHED", "server", "Internal mark of the background process that `server --detach` starts.";
    COMPLETE = "_AGENT_VAULT_COMPLETE", "client", "Internal: set by the completion script of the shell that it names.";
    NO_COLOR = "NO_COLOR", "both", "Any value switches colours off.";
}

/// The reference table as Markdown, as checked in under `docs/`.
pub(crate) fn markdown() -> String {
    let mut out = String::from("| Variable | Read by | Meaning |\n|---|---|---|\n");
    for v in ALL {
        let _ = writeln!(out, "| `{}` | {} | {} |", v.name, v.read_by, v.doc);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ALL, markdown};

    #[test]
    fn names_are_unique_and_documented() {
        let names: BTreeSet<_> = ALL.iter().map(|v| v.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(
            ALL.iter()
                .all(|v| v.doc.ends_with('.') || v.doc.ends_with(')'))
        );
        assert_eq!(markdown().lines().count(), ALL.len() + 2);
    }
}
