//! A mail server on loopback: takes letters and keeps them, as real ones do (RFC 5321), with STARTTLS, a login, and the faults
//! that a test asks for.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use rustls::ServerConfig;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::{TestCa, pki, within};

/// A letter as it came.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Envelope sender.
    pub from: String,
    /// Envelope recipients.
    pub to: Vec<String>,
    /// Head and body.
    pub text: String,
    /// Whether it came inside TLS.
    pub encrypted: bool,
    /// Who was logged in.
    pub user: Option<String>,
}

impl Received {
    /// The text with quoted-printable and base 64 parts undone as far as a test needs: soft line breaks joined, `=3D` and alike read.
    #[must_use]
    pub fn readable(&self) -> String {
        let joined = self.text.replace("=\r\n", "");
        let mut readable = String::with_capacity(joined.len());
        let mut rest = joined.as_str();
        while let Some(at) = rest.find('=') {
            let (before, after) = rest.split_at(at);
            readable.push_str(before);
            let byte = after
                .get(1..3)
                .and_then(|hex| u8::from_str_radix(hex, 16).ok());
            match byte {
                Some(byte) if byte.is_ascii() => {
                    readable.push(char::from(byte));
                    rest = after.get(3..).unwrap_or_default();
                }
                _ => {
                    readable.push('=');
                    rest = after.get(1..).unwrap_or_default();
                }
            }
        }
        readable.push_str(rest);
        readable
    }

    /// The first run of six digits that stands alone.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        self.readable()
            .split(|c: char| !c.is_ascii_alphanumeric())
            .find(|word| word.len() == 6 && word.bytes().all(|b| b.is_ascii_digit()))
            .map(str::to_owned)
    }
}

/// How the server behaves.
#[derive(Debug, Clone, Default)]
pub struct SmtpBehaviour {
    /// Offers STARTTLS, with a certificate of this authority for `localhost` and 127.0.0.1.
    pub starttls: bool,
    /// Speaks TLS from the first byte on.
    pub implicit_tls: bool,
    /// Wants this user and password; offered inside TLS alone where there is TLS.
    pub login: Option<(String, String)>,
    /// Refuses every recipient with these words.
    pub refuse: Option<String>,
    /// Says nothing at all.
    pub silent: bool,
    /// Slips this into the same packet as its answer to STARTTLS, as somebody in between would.
    pub injected: Option<String>,
}

/// A running mail server.
pub struct SmtpServer {
    address: SocketAddr,
    ca: TestCa,
    letters: watch::Receiver<Vec<Received>>,
    heard: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

struct Shared {
    behaviour: SmtpBehaviour,
    tls: Arc<ServerConfig>,
    letters: watch::Sender<Vec<Received>>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl SmtpServer {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub async fn start(behaviour: SmtpBehaviour) -> Self {
        let ca = TestCa::new();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let tls = ca.issue(&names, pki::Validity::CURRENT).server_config(&[]);
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a port on loopback");
        let address = listener.local_addr().expect("its address");
        let (sender, letters) = watch::channel(Vec::new());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new(Shared {
            behaviour,
            tls,
            letters: sender,
            heard: Arc::clone(&heard),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut conversations = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                conversations.spawn(async move {
                    // A client that leaves is the client's affair.
                    let _ = converse(stream, &shared).await;
                });
            }
        });
        Self {
            address,
            ca,
            letters,
            heard,
            _tasks: tasks,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root of its certificate, in PEM.
    #[must_use]
    pub fn root(&self) -> String {
        self.ca.pem()
    }

    /// Every letter so far.
    #[must_use]
    pub fn letters(&self) -> Vec<Received> {
        self.letters.borrow().clone()
    }

    /// Waits until there are `count` letters and returns them.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut letters = self.letters.clone();
        within("letters", async {
            letters
                .wait_for(|letters| letters.len() >= count)
                .await
                .expect("the server runs")
                .clone()
        })
        .await
    }

    /// Every command that was heard, in order.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

async fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let behaviour = &shared.behaviour;
    if behaviour.silent {
        return std::future::pending().await;
    }
    let acceptor = TlsAcceptor::from(Arc::clone(&shared.tls));
    if behaviour.implicit_tls {
        let stream = acceptor.accept(stream).await?;
        let mut link = BufReader::new(stream);
        greet(&mut link).await?;
        talk(&mut link, shared, true).await?;
        return Ok(());
    }
    let mut link = BufReader::new(stream);
    greet(&mut link).await?;
    if talk(&mut link, shared, false).await? == Next::StartTls {
        let stream = acceptor.accept(link.into_inner()).await?;
        talk(&mut BufReader::new(stream), shared, true).await?;
    }
    Ok(())
}

async fn greet(link: &mut BufReader<impl Bytes>) -> io::Result<()> {
    link.get_mut().write_all(b"220 test ESMTP\r\n").await
}

#[derive(PartialEq, Eq)]
enum Next {
    Done,
    StartTls,
}

async fn talk(
    link: &mut BufReader<impl Bytes>,
    shared: &Shared,
    encrypted: bool,
) -> io::Result<Next> {
    let behaviour = &shared.behaviour;
    let mut letter = Received {
        encrypted,
        ..Received::default()
    };
    let mut line = String::new();
    loop {
        line.clear();
        if link.read_line(&mut line).await? == 0 {
            return Ok(Next::Done);
        }
        let command = line.trim_end().to_owned();
        shared
            .heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(command.clone());
        let verb = command
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => {
                let mut features = String::from("250-test\r\n");
                if behaviour.starttls && !encrypted {
                    features.push_str("250-STARTTLS\r\n");
                }
                let offers_login = encrypted || !(behaviour.starttls || behaviour.implicit_tls);
                if behaviour.login.is_some() && offers_login {
                    features.push_str("250-AUTH PLAIN LOGIN\r\n");
                }
                features + "250 8BITMIME\r\n"
            }
            "STARTTLS" if behaviour.starttls && !encrypted => {
                let mut answer = String::from("220 go ahead\r\n");
                if let Some(injected) = &behaviour.injected {
                    answer.push_str(injected);
                }
                link.get_mut().write_all(answer.as_bytes()).await?;
                return Ok(Next::StartTls);
            }
            "AUTH" => match logged_in(&command, behaviour) {
                Some(user) => {
                    letter.user = Some(user);
                    String::from("235 welcome\r\n")
                }
                None => String::from("535 wrong user or password\r\n"),
            },
            "MAIL" if behaviour.login.is_some() && letter.user.is_none() => {
                String::from("530 log in first\r\n")
            }
            "MAIL" => {
                letter.from = bracketed(&command);
                String::from("250 ok\r\n")
            }
            "RCPT" => match &behaviour.refuse {
                Some(words) => format!("550 {words}\r\n"),
                None => {
                    letter.to.push(bracketed(&command));
                    String::from("250 ok\r\n")
                }
            },
            "DATA" => {
                link.get_mut().write_all(b"354 go on\r\n").await?;
                letter.text = data(link).await?;
                let done = std::mem::take(&mut letter);
                letter.encrypted = encrypted;
                letter.user.clone_from(&done.user);
                shared.letters.send_modify(|letters| letters.push(done));
                String::from("250 taken\r\n")
            }
            "QUIT" => {
                link.get_mut().write_all(b"221 bye\r\n").await?;
                return Ok(Next::Done);
            }
            "NOOP" | "RSET" => String::from("250 ok\r\n"),
            _ => String::from("500 what?\r\n"),
        };
        link.get_mut().write_all(answer.as_bytes()).await?;
    }
}

/// `AUTH PLAIN` with an initial response (RFC 4616).
fn logged_in(command: &str, behaviour: &SmtpBehaviour) -> Option<String> {
    let (user, password) = behaviour.login.as_ref()?;
    let initial = command.strip_prefix("AUTH PLAIN ")?;
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(initial)
        .ok()?;
    let expected = format!("\0{user}\0{password}");
    (decoded == expected.as_bytes()).then(|| user.clone())
}

async fn data(link: &mut BufReader<impl Bytes>) -> io::Result<String> {
    let mut text = String::new();
    let mut line = String::new();
    loop {
        line.clear();
        if link.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == ".\r\n" {
            return Ok(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}

fn bracketed(command: &str) -> String {
    command
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map(|(address, _)| address.to_owned())
        .unwrap_or_default()
}
