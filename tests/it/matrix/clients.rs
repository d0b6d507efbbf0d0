//! The table: each client, how it is started, which columns it has, and why not the others.

use std::path::{Path, PathBuf};

use crate::stage::programs;

/// A way in which a client speaks HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    H1,
    H2,
    WebSocket,
    Sse,
    Upload,
    Download,
    AsksFirst,
}

impl Column {
    pub(super) const ALL: [Self; 7] = [
        Self::H1,
        Self::H2,
        Self::WebSocket,
        Self::Sse,
        Self::Upload,
        Self::Download,
        Self::AsksFirst,
    ];

    /// As programs are told it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
            Self::Upload => "upload",
            Self::Download => "download",
            Self::AsksFirst => "asks-first",
        }
    }
}

/// What is in a column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell {
    /// It works unchanged.
    Works,
    /// It works, once the code or the command line says this.
    Needs(&'static str),
    /// It cannot, or not through any proxy, and this is why and what to do.
    Cannot(&'static str),
}

impl Cell {
    /// True for what is run.
    pub(super) fn runs(self) -> bool {
        !matches!(self, Self::Cannot(_))
    }
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    H1,
    H2,
}

impl Version {
    pub(super) fn of(http2: bool) -> Self {
        if http2 { Self::H2 } else { Self::H1 }
    }
}

/// What its requests must carry when they arrive.
#[derive(Clone, Copy, Debug)]
pub(super) enum Credential {
    /// `Authorization: Bearer` and the secret.
    Bearer,
    /// The same; the placeholder has the name that the client looks for.
    BearerAs(&'static str),
    /// The secret in a header; the placeholder likewise.
    Header {
        /// The header.
        name: &'static str,
        /// The placeholder's name.
        key: &'static str,
    },
    /// User and secret.
    Basic,
    /// The signature that the client made itself.
    OwnSignature,
}

/// A row.
pub(super) struct Client {
    /// As it stands in host names.
    pub(super) name: &'static str,
    /// As it stands in the document.
    pub(super) title: &'static str,
    /// The version that is pinned, or where it comes from.
    pub(super) version: &'static str,
    /// Program and first arguments; see [`Client::command`].
    pub(super) start: &'static [&'static str],
    /// In the order in which they run.
    pub(super) cells: &'static [(Column, Cell)],
    /// What it asks for instead of the usual paths.
    pub(super) path: Option<&'static str>,
    pub(super) credential: Credential,
    /// True if its first CONNECT carries no token, in any column that it has.
    pub(super) asks_first: bool,
    /// Bytes of its upload and its download.
    pub(super) bytes: u64,
    /// True if it is also run without us, to see that it speaks the same version then.
    pub(super) compared: bool,
}

/// What most have.
const PLAIN: Client = Client {
    name: "",
    title: "",
    version: "",
    start: &[],
    cells: &[],
    path: None,
    credential: Credential::Bearer,
    asks_first: false,
    bytes: 5_000_000,
    compared: true,
};

use Cell::{Cannot, Needs, Works};
use Column::{AsksFirst, Download, H1, H2, Sse, Upload, WebSocket};

const URLLIB3: Cell = Needs(
    "`urllib3.ProxyManager(os.environ[\"HTTPS_PROXY\"], …)` with the token as `proxy_headers`: a plain `PoolManager` knows no proxy",
);
const AIOHTTP: Cell = Needs(
    "`ClientSession(trust_env=True)`: without it aiohttp reads no proxy from the environment",
);
const UNDICI: Cell = Needs(
    "`new EnvHttpProxyAgent()` as dispatcher: the package, unlike Node's own `fetch`, goes past every proxy otherwise",
);
const BUN: Cell = Needs(
    "`new WebSocket(url, { proxy: process.env.HTTPS_PROXY })`: Bun reads the variable for `fetch` alone",
);
const JAVA: Cell = Needs(
    "proxy, authenticator, roots and `jdk.http.auth.tunneling.disabledSchemes=` in the code, from `HTTPS_PROXY` and `SSL_CERT_FILE`, as `tests/clients/java/Client.java` has it: Java reads none of these variables, and no property of it carries a proxy's password",
);
const WS: Cell = Needs(
    "`agent: new HttpsProxyAgent(process.env.HTTPS_PROXY)`: ws makes its own connection and knows no proxy",
);

/// Every client.
pub(super) const CLIENTS: [Client; 30] = [
    Client {
        name: "curl",
        title: "curl",
        version: "system",
        start: &["{sources}/shell/curl"],
        cells: &[
            (H1, Works),
            (H2, Works),
            (
                WebSocket,
                Cannot("curl before 8 has no WebSocket; Debian 12 has 7.88"),
            ),
            (Sse, Works),
            (Upload, Works),
            (Download, Works),
            (
                AsksFirst,
                Needs("`--proxy-anyauth`; without it the token is in the first CONNECT"),
            ),
        ],
        asks_first: true,
        ..PLAIN
    },
    Client {
        name: "wget",
        title: "wget",
        version: "system",
        start: &["{sources}/shell/wget"],
        cells: &[
            (H1, Works),
            (Sse, Works),
            (Upload, Works),
            (Download, Works),
        ],
        compared: false,
        ..PLAIN
    },
    Client {
        name: "git",
        title: "git",
        version: "system",
        start: &["{sources}/shell/git"],
        cells: &[
            (
                Upload,
                Needs(
                    "`-c http.version=HTTP/1.1` for a push of more than `http.postBuffer` with git 2.39 and libcurl 7.88: in chunks over HTTP/2 they now and then wait for each other, with any server",
                ),
            ),
            (Download, Works),
            (H1, Works),
            (H2, Works),
            (AsksFirst, Works),
        ],
        path: Some("/git/{size}.git"),
        credential: Credential::Basic,
        asks_first: true,
        bytes: 210_000_000,
        compared: false,
    },
    Client {
        name: "git-lfs",
        title: "git-lfs",
        version: "system",
        start: &["{sources}/shell/git-lfs"],
        cells: &[(Upload, Works), (Download, Works)],
        path: Some("/git/lfs.git"),
        credential: Credential::Basic,
        asks_first: true,
        compared: false,
        ..PLAIN
    },
    Client {
        name: "requests",
        title: "Python requests",
        version: "2.34.2",
        start: &["{python}", "{sources}/python/requests_client.py"],
        cells: &[
            (H1, Works),
            (Sse, Works),
            (Upload, Works),
            (Download, Works),
        ],
        ..PLAIN
    },
    Client {
        name: "urllib3",
        title: "Python urllib3",
        version: "2.8.0",
        start: &["{python}", "{sources}/python/urllib3_client.py"],
        cells: &[
            (H1, URLLIB3),
            (Sse, URLLIB3),
            (Upload, URLLIB3),
            (Download, URLLIB3),
        ],
        compared: false,
        ..PLAIN
    },
    Client {
        name: "httpx",
        title: "Python httpx",
        version: "0.28.1",
        start: &["{python}", "{sources}/python/httpx_client.py"],
        cells: &[
            (H1, Works),
            (H2, Works),
            (Sse, Works),
            (Upload, Works),
            (Download, Works),
        ],
        ..PLAIN
    },
    Client {
        name: "aiohttp",
        title: "Python aiohttp",
        version: "3.14.5",
        start: &["{python}", "{sources}/python/aiohttp_client.py"],
        cells: &[
            (H1, AIOHTTP),
            (WebSocket, AIOHTTP),
            (Sse, AIOHTTP),
            (Upload, AIOHTTP),
            (Download, AIOHTTP),
        ],
        ..PLAIN
    },
    Client {
        name: "websockets",
        title: "Python websockets",
        version: "15.0.1",
        start: &["{python}", "{sources}/python/websockets_client.py"],
        cells: &[(WebSocket, Works)],
        compared: false,
        ..PLAIN
    },
    Client {
        name: "openai",
        title: "OpenAI SDK, Python",
        version: "3.57.0",
        start: &["{python}", "{sources}/python/openai_client.py"],
        credential: Credential::BearerAs("OPENAI_API_KEY"),
        cells: &[
            (H1, Works),
            (WebSocket, Works),
            (Sse, Works),
            (Upload, Works),
            (Download, Works),
        ],
        ..PLAIN
    },
    Client {
        name: "anthropic",
        title: "Anthropic SDK, Python",
        version: "2.13.0",
        start: &["{python}", "{sources}/python/anthropic_client.py"],
        cells: &[(H1, Works), (Sse, Works), (Upload, Works)],
        credential: Credential::Header {
            name: "x-api-key",
            key: "ANTHROPIC_API_KEY",
        },
        ..PLAIN
    },
    Client {
        name: "boto3",
        title: "boto3 (signs itself, passes as it is)",
        version: "1.44.8",
        start: &["{python}", "{sources}/python/boto3_client.py"],
        cells: &[(H1, Works), (Upload, Works), (Download, Works)],
        credential: Credential::OwnSignature,
        ..PLAIN
    },
    Client {
        name: "grpcio",
        title: "gRPC, C core (Python)",
        version: "1.85.1",
        start: &["{python}", "{sources}/python/grpcio_client.py"],
        cells: &[(H2, Works), (Upload, Works), (Download, Works)],
        compared: false,
        ..PLAIN
    },
    Client {
        name: "node-fetch",
        title: "Node `fetch`",
        version: "Node of the system",
        start: &["node", "{sources}/node/fetch.mjs"],
        cells: &[
            (H1, Works),
            (Sse, Works),
            (Upload, Works),
            (Download, Works),
        ],
        ..PLAIN
    },
    Client {
        name: "node-https",
        title: "Node `https`",
        version: "Node of the system",
        start: &["node", "{sources}/node/https.mjs"],
        cells: &[
            (H1, Works),
            (Sse, Works),
            (Upload, Works),
            (Download, Works),
        ],
        ..PLAIN
    },
    Client {
        name: "undici",
        title: "undici",
        version: "6.29.1",
        start: &["node", "{node}/undici.mjs"],
        cells: &[
            (H1, UNDICI),
            (
                H2,
                Cannot(
                    "undici 6 speaks HTTP/1.1 alone inside a tunnel, whatever `allowH2` says; without a proxy its HTTP/2 is experimental and off",
                ),
            ),
            (WebSocket, UNDICI),
            (Sse, UNDICI),
            (Upload, UNDICI),
            (Download, UNDICI),
        ],
        ..PLAIN
    },
    Client {
        name: "axios",
        title: "axios",
        version: "1.21.1",
        start: &["node", "{node}/axios.mjs"],
        cells: &[
            (H1, Works),
            (Sse, Works),
            (Upload, Works),
            (Download, Works),
        ],
        ..PLAIN
    },
    Client {
        name: "ws",
        title: "ws",
        version: "8.23.0",
        start: &["node", "{node}/ws.mjs"],
        cells: &[(WebSocket, WS)],
        compared: false,
        ..PLAIN
    },
    Client {
        name: "grpc-js",
        title: "gRPC, `@grpc/grpc-js`",
        version: "1.14.7",
        start: &["node", "{node}/grpc-js.mjs"],
        cells: &[(H2, Works), (Upload, Works), (Download, Works)],
        compared: false,
        ..PLAIN
    },
    Client {
        name: "octokit",
        title: "octokit",
        version: "5.0.5",
        start: &["node", "{node}/octokit.mjs"],
        cells: &[(H1, Works), (Upload, Works), (Download, Works)],
        ..PLAIN
    },
    Client {
        name: "deno",
        title: "Deno",
        version: "2.9.8",
        start: &[
            "{clients}/venv/bin/deno",
            "run",
            "--quiet",
            "--no-config",
            "--allow-all",
            "{sources}/node/deno.ts",
        ],
        cells: &[
            (H2, Works),
            (WebSocket, Works),
            (Sse, Works),
            (Upload, Works),
            (Download, Works),
        ],
        ..PLAIN
    },
    Client {
        name: "bun",
        title: "Bun",
        version: "1.4.5",
        start: &[
            "{clients}/node_modules/@oven/bun-linux-x64/bin/bun",
            "{sources}/node/bun.mjs",
        ],
        cells: &[
            (H1, Works),
            (WebSocket, BUN),
            (Sse, Works),
            (Upload, Works),
            (Download, Works),
        ],
        ..PLAIN
    },
    Client {
        name: "go",
        title: "Go `net/http`",
        version: "1.19 or newer",
        start: &["{clients}/go/nethttp"],
        cells: &[
            (H1, Works),
            (H2, Works),
            (Sse, Works),
            (Upload, Works),
            (Download, Works),
        ],
        ..PLAIN
    },
    Client {
        name: "grpc-go",
        title: "gRPC, Go",
        version: "1.56.3",
        start: &["{clients}/go/grpc"],
        cells: &[(H2, Works), (Upload, Works), (Download, Works)],
        compared: false,
        ..PLAIN
    },
    Client {
        name: "java",
        title: "Java `HttpClient`",
        version: "17 or newer",
        start: &["java", "-cp", "{clients}/java", "Client"],
        cells: &[
            (H1, JAVA),
            (H2, JAVA),
            (WebSocket, JAVA),
            (Sse, JAVA),
            (Upload, JAVA),
            (Download, JAVA),
        ],
        asks_first: true,
        compared: false,
        ..PLAIN
    },
    Client {
        name: "reqwest",
        title: "Rust reqwest",
        version: "0.13.5",
        start: &["{clients}/rust/debug/reqwest-client"],
        cells: &[
            (H1, Works),
            (H2, Works),
            (Sse, Works),
            (Upload, Works),
            (Download, Works),
        ],
        ..PLAIN
    },
    Client {
        name: "pip",
        title: "pip",
        version: "that of the Python",
        start: &["{sources}/shell/pip"],
        cells: &[(Download, Works)],
        compared: false,
        ..PLAIN
    },
    Client {
        name: "npm",
        title: "npm",
        version: "system",
        start: &["{sources}/shell/npm"],
        cells: &[(Download, Works)],
        compared: false,
        ..PLAIN
    },
    Client {
        name: "cargo",
        title: "cargo (sparse registry)",
        version: "system",
        start: &["{sources}/shell/cargo"],
        cells: &[(Download, Works)],
        compared: false,
        ..PLAIN
    },
    Client {
        name: "apt",
        title: "apt",
        version: "system",
        start: &["{sources}/shell/apt"],
        cells: &[(
            Download,
            Needs(
                "`-o APT::Sandbox::User=root` as root: otherwise apt downloads as the user `_apt`, who cannot read the roots in the run's private folder",
            ),
        )],
        compared: false,
        ..PLAIN
    },
];

impl Client {
    /// The whole command line: names in braces become paths, then come column, URL and base.
    pub(super) fn command(&self, column: Column, url: &str, base: &str) -> Vec<String> {
        let mut line: Vec<String> = self.start.iter().map(|part| expand(part)).collect();
        line.extend([column.name(), url, base].map(str::to_owned));
        // What the installers are started by.
        line.extend(["{python}", "{cargo}"].map(expand));
        line
    }

    /// The program that is not there, if one is not.
    pub(super) fn missing(&self) -> Option<String> {
        let interpreter = self.start.first().into_iter().map(|part| expand(part));
        let own = (self.name != "curl").then(|| self.name.to_owned());
        interpreter
            .chain(own.filter(|name| {
                ["wget", "git", "git-lfs", "npm", "cargo", "apt-get"].contains(&name.as_str())
            }))
            .find(|program| !exists(program))
    }

    /// The column in which the client takes its own choice of a version.
    pub(super) fn own_choice(&self) -> Column {
        let mut columns = self.cells.iter().map(|(column, _)| *column);
        let first = columns.next().unwrap_or(H1);
        if first == Download || columns.any(|column| column == Download) {
            Download
        } else {
            first
        }
    }

    /// True for a program whose download is a package.
    pub(super) fn is_installer(&self) -> bool {
        ["pip", "npm", "cargo", "apt"].contains(&self.name)
    }
}

fn expand(part: &str) -> String {
    if !part.contains('{') {
        return part.to_owned();
    }
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");
    let clients = programs::folder().to_string_lossy().into_owned();
    part.replace("{sources}", sources)
        .replace("{cargo}", &cargo)
        .replace("{python}", &format!("{clients}/venv/bin/python"))
        .replace("{node}", &format!("{clients}/node"))
        .replace("{clients}", &clients)
}

fn exists(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder: PathBuf| folder.join(program).is_file())
}
