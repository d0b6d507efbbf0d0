//! The child's environment: a pure function of the caller's and of the run.
//!
//! Every variable that says where the proxy is or whom to trust is set here, in every spelling that some runtime reads, or
//! removed; none is inherited.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::env_vars;

/// Everything but unreserved characters, in the user and password of the proxy's URL.
const USERINFO: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The proxy's URL.
const PROXY: &[&str] = &[
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "https_proxy",
    "http_proxy",
    // For WebSocket, what reads the variable of the URL's scheme: aiohttp and all that asks Python's `getproxies`.
    "WSS_PROXY",
    "WS_PROXY",
    "wss_proxy",
    "ws_proxy",
    "OPENCLAW_PROXY_URL",
    // gRPC's C core asks for this one first.
    "grpc_proxy",
];

/// Hosts that are reached directly.
const NO_PROXY: &[&str] = &["NO_PROXY", "no_proxy"];

/// The bundle of roots.
const BUNDLE: &[&str] = &[
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "DENO_CERT",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CARGO_HTTP_CAINFO",
    "npm_config_cafile",
    "HTTPLIB2_CA_CERTS",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "NIX_SSL_CERT_FILE",
    "BUNDLE_SSL_CA_CERT",
];

/// Would lead past the proxy or to other roots, or hold secrets of ours.
const REMOVED: &[&str] = &[
    "ALL_PROXY",
    "all_proxy",
    "GRPC_PROXY",
    "no_grpc_proxy",
    "NPM_CONFIG_PROXY",
    "NPM_CONFIG_HTTP_PROXY",
    "NPM_CONFIG_HTTPS_PROXY",
    "NPM_CONFIG_NOPROXY",
    "NPM_CONFIG_CAFILE",
    "NPM_CONFIG_CA",
    "npm_config_proxy",
    "npm_config_http_proxy",
    "npm_config_https_proxy",
    "npm_config_noproxy",
    "npm_config_ca",
    "CARGO_HTTP_PROXY",
    "PIP_PROXY",
    "SSL_CERT_DIR",
    "AGENT_VAULT_MASTER_PASSWORD",
    "AGENT_VAULT_OWNER_PASSWORD",
    "AGENT_VAULT_UPSTREAM_PROXY",
    "_AGENT_VAULT_DETACHED",
];

/// Never replaced by a placeholder, whatever a vault calls its credentials: the child would not start.
const NEVER_A_KEY: &[&str] = &[
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "TERM", "LANG", "TMPDIR", "IFS",
    "ENV", "BASH_ENV",
];

/// Options of every Node that starts.
const NODE_OPTIONS: &str = "NODE_OPTIONS";

/// What the child is to be told.
pub(super) struct Wiring<'a> {
    pub(super) token: &'a str,
    pub(super) address: &'a str,
    pub(super) vault: &'a str,
    /// Host of the management API; as it stands in a URL: an IPv6 address in brackets.
    pub(super) server_host: &'a str,
    /// The same of the proxy.
    pub(super) proxy_host: &'a str,
    pub(super) proxy_port: u16,
    pub(super) bundle: &'a Path,
    /// A file for `WGETRC`.
    pub(super) wgetrc: &'a Path,
    /// A file for `APT_CONFIG`.
    pub(super) apt_conf: &'a Path,
    /// A file that Node loads first.
    pub(super) node_proxy: &'a Path,
    pub(super) placeholders: &'a BTreeMap<String, String>,
    /// Host patterns of the vault's services.
    pub(super) brokered_hosts: &'a [&'a str],
}

/// A whole environment.
pub(super) struct Environment {
    pub(super) variables: BTreeMap<OsString, OsString>,
    /// Entries of the caller's `NO_PROXY` that were left out because they would lead past the proxy to a brokered host.
    pub(super) bypassing: Vec<String>,
}

/// Makes the child's environment from the caller's.
pub(super) fn build<'a>(
    parent: impl Iterator<Item = (&'a OsStr, &'a OsStr)>,
    wiring: &Wiring<'_>,
) -> Environment {
    let mut variables: BTreeMap<OsString, OsString> =
        parent.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let theirs: Vec<String> = NO_PROXY
        .iter()
        .filter_map(|name| variables.get(OsStr::new(name))?.to_str().map(str::to_owned))
        .collect();
    for name in REMOVED {
        variables.remove(OsStr::new(name));
    }
    let node_options = node_options(variables.get(OsStr::new(NODE_OPTIONS)), wiring.node_proxy);
    let mut set = |name: &str, value: &OsStr| {
        variables.insert(name.into(), value.to_owned());
    };
    for (key, placeholder) in wiring.placeholders {
        if may_stand_in(key) {
            set(key, placeholder.as_ref());
        }
    }
    set(env_vars::TOKEN.name, wiring.token.as_ref());
    set(env_vars::ADDR.name, wiring.address.as_ref());
    set(env_vars::VAULT.name, wiring.vault.as_ref());
    let url = proxy_url(wiring);
    for name in PROXY {
        set(name, url.as_ref());
    }
    let (direct, bypassing) = no_proxy(wiring, &theirs);
    for name in NO_PROXY {
        set(name, direct.as_ref());
    }
    set("NODE_USE_ENV_PROXY", "1".as_ref());
    set("WGETRC", wiring.wgetrc.as_os_str());
    set("APT_CONFIG", wiring.apt_conf.as_os_str());
    set(NODE_OPTIONS, &node_options);
    for name in BUNDLE {
        set(name, wiring.bundle.as_os_str());
    }
    Environment {
        variables,
        bypassing,
    }
}

/// The caller's options for Node, and ours after them. A path is quoted as Node reads it.
fn node_options(theirs: Option<&OsString>, node_proxy: &Path) -> OsString {
    let mut options = theirs.cloned().unwrap_or_default();
    if !options.is_empty() {
        options.push(" ");
    }
    let mut quoted = Vec::new();
    for byte in node_proxy.as_os_str().as_bytes() {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    options.push("--require \"");
    options.push(OsStr::from_bytes(&quoted));
    options.push("\"");
    options
}

fn may_stand_in(key: &str) -> bool {
    !(NEVER_A_KEY.contains(&key)
        || key.starts_with("LD_")
        || key.starts_with("DYLD_")
        || key.contains(['=', '\0']))
}

fn proxy_url(wiring: &Wiring<'_>) -> String {
    format!(
        "http://{}:{}@{}:{}",
        utf8_percent_encode(wiring.token, USERINFO),
        utf8_percent_encode(wiring.vault, USERINFO),
        wiring.proxy_host,
        wiring.proxy_port
    )
}

/// Ours first, then the caller's own entries, without those that would take a brokered host past the proxy; of the caller's
/// it is told which.
fn no_proxy(wiring: &Wiring<'_>, theirs: &[String]) -> (String, Vec<String>) {
    let [host, server] =
        [wiring.proxy_host, wiring.server_host].map(|host| host.trim_matches(['[', ']']));
    let mut seen = BTreeSet::new();
    let mut entries: Vec<&str> = Vec::new();
    let mut bypassing = Vec::new();
    let all = ["localhost", "127.0.0.1", host, server]
        .into_iter()
        .map(|e| (e, true))
        .chain(
            theirs
                .iter()
                .flat_map(|t| t.split([',', ' ']))
                .map(|e| (e.trim(), false)),
        );
    for (entry, ours) in all {
        if entry.is_empty() || !seen.insert(entry) {
            continue;
        }
        if !wiring
            .brokered_hosts
            .iter()
            .any(|pattern| covers(entry, pattern))
        {
            entries.push(entry);
        } else if !ours {
            bypassing.push(entry.to_owned());
        }
    }
    (entries.join(","), bypassing)
}

/// True if a `NO_PROXY` entry takes some host of a service's pattern past the proxy.
fn covers(entry: &str, pattern: &str) -> bool {
    let host_of = |text: &str| {
        let text = text.split('/').next().unwrap_or(text);
        let text = match text.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => text,
        };
        text.trim_start_matches('*')
            .trim_start_matches('.')
            .to_ascii_lowercase()
    };
    if entry == "*" {
        return true;
    }
    let (entry, host) = (host_of(entry), host_of(pattern));
    if entry.is_empty() || host.is_empty() {
        return false;
    }
    let inside = |inner: &str, outer: &str| {
        inner == outer
            || inner
                .strip_suffix(outer)
                .is_some_and(|rest| rest.ends_with('.'))
    };
    // Also the other way round for `*.x.example` and an entry `a.x.example`.
    inside(&host, &entry) || (pattern.starts_with('*') && inside(&entry, &host))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::{OsStr, OsString};
    use std::path::Path;

    use super::{BUNDLE, Environment, PROXY, REMOVED, Wiring, build, covers};

    fn made(parent: &[(&str, &str)]) -> Environment {
        let placeholders = BTreeMap::from([
            (
                String::from("OPENAI_API_KEY"),
                String::from("sk-proj-stand-in"),
            ),
            (String::from("PATH"), String::from("nonsense")),
            (String::from("HTTPS_PROXY"), String::from("nonsense")),
        ]);
        build(
            parent.iter().map(|(k, v)| (OsStr::new(*k), OsStr::new(*v))),
            &Wiring {
                token: "av_sess_t/x",
                address: "http://vault.example:14321",
                vault: "work",
                server_host: "vault.example",
                proxy_host: "vault.example",
                proxy_port: 14322,
                bundle: Path::new("/b/ca.pem"),
                wgetrc: Path::new("/b/wgetrc"),
                apt_conf: Path::new("/b/apt.conf"),
                node_proxy: Path::new("/b c/\"node\".cjs"),
                placeholders: &placeholders,
                brokered_hosts: &["api.openai.com", "*.corp.example"],
            },
        )
    }

    fn get(environment: &Environment, name: &str) -> Option<String> {
        environment
            .variables
            .get(OsStr::new(name))
            .map(|v| v.to_string_lossy().into_owned())
    }

    #[test]
    fn w25_w26_every_spelling_is_set_and_none_inherited() {
        let mut parent: Vec<(&str, &str)> = vec![
            ("PATH", "/bin"),
            ("KEEP", "me"),
            ("OPENAI_API_KEY", "sk-real"),
        ];
        for name in PROXY.iter().chain(BUNDLE).chain(REMOVED) {
            parent.push((name, "inherited"));
        }
        let child = made(&parent);
        let url = "http://av_sess_t%2Fx:work@vault.example:14322";
        for name in PROXY {
            assert_eq!(get(&child, name).as_deref(), Some(url), "{name}");
        }
        for name in BUNDLE {
            assert_eq!(get(&child, name).as_deref(), Some("/b/ca.pem"), "{name}");
        }
        for name in REMOVED {
            assert_eq!(get(&child, name), None, "{name}");
        }
        assert_eq!(get(&child, "NODE_USE_ENV_PROXY").as_deref(), Some("1"));
        assert_eq!(
            get(&child, "AGENT_VAULT_ADDR").as_deref(),
            Some("http://vault.example:14321")
        );
        assert_eq!(
            get(&child, "OPENAI_API_KEY").as_deref(),
            Some("sk-proj-stand-in")
        );
        assert_eq!(
            (
                get(&child, "PATH").as_deref(),
                get(&child, "KEEP").as_deref()
            ),
            (Some("/bin"), Some("me"))
        );
        assert!(
            child
                .variables
                .values()
                .all(|v| v != &OsString::from("inherited"))
        );
    }

    #[test]
    fn w27_the_callers_no_proxy_is_merged_but_not_to_bypass() {
        let child = made(&[
            ("NO_PROXY", "intranet.example, localhost,.openai.com"),
            ("no_proxy", "db.example,*"),
        ]);
        assert_eq!(
            get(&child, "NO_PROXY").as_deref(),
            Some("localhost,127.0.0.1,vault.example,intranet.example,db.example")
        );
        assert_eq!(get(&child, "no_proxy"), get(&child, "NO_PROXY"));
        assert_eq!(child.bypassing, [".openai.com", "*"]);
        assert_eq!(
            get(&made(&[]), "NO_PROXY").as_deref(),
            Some("localhost,127.0.0.1,vault.example")
        );
    }

    #[test]
    fn a_brokered_host_on_this_machine_goes_through_the_proxy() {
        let placeholders = BTreeMap::new();
        let child = build(
            std::iter::empty(),
            &Wiring {
                token: "t",
                address: "http://127.0.0.1:1",
                vault: "work",
                server_host: "127.0.0.1",
                proxy_host: "127.0.0.1",
                proxy_port: 2,
                bundle: Path::new("/b"),
                wgetrc: Path::new("/w"),
                apt_conf: Path::new("/a"),
                node_proxy: Path::new("/n"),
                placeholders: &placeholders,
                brokered_hosts: &["localhost:8443"],
            },
        );
        assert_eq!(get(&child, "NO_PROXY").as_deref(), Some("127.0.0.1"));
        assert!(child.bypassing.is_empty());
    }

    #[test]
    fn the_callers_node_options_stay() {
        let ours = r#"--require "/b c/\"node\".cjs""#;
        assert_eq!(get(&made(&[]), "NODE_OPTIONS").as_deref(), Some(ours));
        let child = made(&[
            ("NODE_OPTIONS", "--max-old-space-size=99"),
            ("WGETRC", "/mine"),
        ]);
        let both = format!("--max-old-space-size=99 {ours}");
        assert_eq!(get(&child, "NODE_OPTIONS"), Some(both));
        assert_eq!(get(&child, "WGETRC").as_deref(), Some("/b/wgetrc"));
    }

    #[test]
    fn which_entries_bypass() {
        for (entry, pattern, bypasses) in [
            ("api.openai.com", "api.openai.com", true),
            ("openai.com", "api.openai.com/v1/*", true),
            (".openai.com", "api.openai.com:8443", true),
            ("penai.com", "api.openai.com", false),
            ("x.openai.com", "api.openai.com", false),
            ("a.corp.example", "*.corp.example", true),
            ("corp.example:443", "*.corp.example", true),
            ("10.0.0.0/8", "api.openai.com", false),
            ("*", "api.openai.com", true),
            ("", "api.openai.com", false),
        ] {
            assert_eq!(covers(entry, pattern), bypasses, "{entry} {pattern}");
        }
    }
}
