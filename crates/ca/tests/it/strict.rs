//! Verifiers of other makers. Each is skipped, loudly, where the program is not installed.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use agent_vault_ca::LeafIssuer;
use rustls::{ServerConnection, StreamOwned};

use crate::{issuer_at, leaf, real_now};

const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "my_bucket.s3.example.com"];

fn installed(program: &str) -> bool {
    let found = Command::new(program)
        .arg(if program == "openssl" || program == "go" {
            "version"
        } else {
            "--version"
        })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        println!("SKIPPED: `{program}` is not installed");
    }
    found
}

fn write(path: &Path, content: &[u8]) {
    std::fs::File::create(path)
        .unwrap()
        .write_all(content)
        .unwrap();
}

fn succeeded(output: &Output, what: &str) {
    assert!(
        output.status.success(),
        "{what}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn openssl() {
    if !installed("openssl") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let now = real_now();
    let issuer = issuer_at(now);
    let root = directory.path().join("root.pem");
    write(&root, issuer.root().cert_pem().as_bytes());
    for host in HOSTS {
        let der = directory.path().join("leaf.der");
        let pem = directory.path().join("leaf.pem");
        write(&der, &leaf(&issuer, host, now.as_second()));
        let converted = Command::new("openssl")
            .args(["x509", "-inform", "DER", "-in"])
            .arg(&der)
            .arg("-out")
            .arg(&pem)
            .output()
            .unwrap();
        succeeded(&converted, host);
        let name_check = if host.parse::<std::net::IpAddr>().is_ok() {
            "-verify_ip"
        } else {
            "-verify_hostname"
        };
        let verified = Command::new("openssl")
            .args([
                "verify",
                "-x509_strict",
                "-check_ss_sig",
                "-purpose",
                "sslserver",
                name_check,
                host,
                "-CAfile",
            ])
            .arg(&root)
            .arg(&pem)
            .output()
            .unwrap();
        succeeded(&verified, host);
    }
}

/// Serves one byte over TLS to one client after another, until `client` has run.
fn served(issuer: &LeafIssuer, host: &str, client: impl FnOnce(u16, &Path) -> Output) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root.pem");
    write(&root, issuer.root().cert_pem().as_bytes());
    let config = issuer.server_config(host, real_now()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let connection = ServerConnection::new(config).unwrap();
            let mut stream = StreamOwned::new(connection, socket);
            // A client that refuses shows in its own exit code; here it is only the end of the connection.
            let mut byte = [0];
            if stream.read_exact(&mut byte).is_ok() {
                let _ = stream.write_all(b"y");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        let output = client(port, &root);
        // A client that failed before it connected would leave the server waiting.
        #[expect(clippy::disallowed_methods, reason = "a knock on our own listener")]
        drop(std::net::TcpStream::connect(("127.0.0.1", port)));
        output
    })
}

#[test]
fn python_strict() {
    if !installed("python3") {
        return;
    }
    const SCRIPT: &str = "
import socket, ssl, sys
port, root, host = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=root)
context.verify_flags |= ssl.VERIFY_X509_STRICT | getattr(ssl, 'VERIFY_X509_PARTIAL_CHAIN', 0)
assert context.check_hostname and context.verify_mode == ssl.CERT_REQUIRED
with socket.create_connection(('127.0.0.1', port), 10) as plain:
    with context.wrap_socket(plain, server_hostname=host) as tls:
        tls.sendall(b'x')
        assert tls.recv(1) == b'y'
";
    let issuer = issuer_at(real_now());
    for host in HOSTS {
        let output = served(&issuer, host, |port, root| {
            Command::new("python3")
                .args(["-c", SCRIPT, &port.to_string()])
                .arg(root)
                .arg(host)
                .output()
                .unwrap()
        });
        succeeded(&output, host);
    }
}

#[test]
fn node() {
    if !installed("node") {
        return;
    }
    const SCRIPT: &str = "
const [port, root, host] = process.argv.slice(1);
const options = { host: '127.0.0.1', port, ca: require('fs').readFileSync(root), ALPNProtocols: ['h2', 'http/1.1'] };
if (!/^[0-9.]+$/.test(host)) options.servername = host;
const socket = require('tls').connect(options, () => {
  if (!socket.authorized || socket.alpnProtocol !== 'h2') throw new Error('not authorized');
  socket.end('x');
});
socket.on('data', (data) => process.exit(String(data) === 'y' ? 0 : 1));
";
    let issuer = issuer_at(real_now());
    for host in HOSTS {
        let output = served(&issuer, host, |port, root| {
            Command::new("node")
                .args(["-e", SCRIPT, &port.to_string()])
                .arg(root)
                .arg(host)
                .output()
                .unwrap()
        });
        succeeded(&output, host);
    }
}

#[test]
fn go() {
    if !installed("go") {
        return;
    }
    const PROGRAM: &str = r#"
package main

import (
	"crypto/x509"
	"fmt"
	"os"
)

func main() {
	pem, _ := os.ReadFile(os.Args[1])
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		fmt.Println("no root")
		os.Exit(1)
	}
	for i := 2; i+1 < len(os.Args); i += 2 {
		der, _ := os.ReadFile(os.Args[i])
		leaf, err := x509.ParseCertificate(der)
		if err == nil {
			_, err = leaf.Verify(x509.VerifyOptions{DNSName: os.Args[i+1], Roots: roots})
		}
		if err != nil {
			fmt.Println(os.Args[i+1], err)
			os.Exit(1)
		}
	}
}
"#;
    let directory = tempfile::tempdir().unwrap();
    let now = real_now();
    let issuer = issuer_at(now);
    let root = directory.path().join("root.pem");
    let program = directory.path().join("main.go");
    write(&root, issuer.root().cert_pem().as_bytes());
    write(&program, PROGRAM.as_bytes());
    let mut command = Command::new("go");
    command
        .current_dir(directory.path())
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off");
    command.arg("run").arg(&program).arg(&root);
    for (index, host) in HOSTS.iter().enumerate() {
        let der = directory.path().join(format!("leaf{index}.der"));
        write(&der, &leaf(&issuer, host, now.as_second()));
        command.arg(&der).arg(host);
    }
    succeeded(&command.output().unwrap(), "go");
}
