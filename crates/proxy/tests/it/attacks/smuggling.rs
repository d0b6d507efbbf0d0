//! Request smuggling: one message that two readers would take for different ones. What has two readings is refused, and what has
//! one is written anew, so that no upstream ever gets two requests out of one, nor a byte of a hidden one.

use agent_vault_testing::Canary;
use tokio::io::AsyncWriteExt as _;

use super::lanes::{
    Arrived, H1_LANES, Trap, converse, credentials, far, guarded, raw, serves_on, statuses, target,
};
use crate::fixture::{Door, Stage, Way};

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Refused with a status, and the connection ends: nothing of it leaves, and no credential.
    Refused,
    /// Refused, but it is clear where it ends: the connection serves the next one.
    Spurned,
    /// Its head was sound and left; the body was not, so the upstream sees it break off.
    Cut,
    /// One message with this body; what follows on the connection is the next one.
    Taken(&'static str),
    /// One message with this body, after which the connection ends (RFC 9112 section 6.1).
    Last(&'static str),
}

use Fate::{Cut, Last, Refused, Spurned, Taken};

/// What is hidden behind each message. It must never be acted upon.
const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

struct Bench {
    stage: Stage,
    secret: Canary,
    trap: Trap,
    door: Door,
    way: Way,
}

impl Bench {
    async fn all() -> Vec<Self> {
        let mut benches = Vec::new();
        for (door, way) in H1_LANES {
            let trap = Trap::start(far(way));
            let (stage, secret) = guarded(&trap.upstream).await;
            benches.push(Self {
                stage,
                secret,
                trap,
                door,
                way,
            });
        }
        benches
    }

    /// Sends one message and a sound request behind it, both with `number` in their paths, and returns what is answered. In
    /// `message`, `{at}` stands for the target, `{to}` for the authority, `{own}` for what the way needs.
    async fn send(&self, number: usize, message: &str, fate: Fate) -> String {
        let (way, authority) = (self.way, self.trap.authority());
        let own = credentials(&self.stage, way);
        let mut bytes = message
            .replace(
                "{at}",
                &target(way, &authority, &format!("/attack-{number}-")),
            )
            .replace("{to}", &authority)
            .replace("{own}", &own)
            .into_bytes();
        let mut stream = raw(&self.stage, self.door, way, &authority).await;
        if fate == Cut {
            // Whoever waits for more is told that there is none.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.flush().await;
            let _ = stream.shutdown().await;
            return converse(&mut stream, b"").await;
        }
        let next = target(way, &authority, &format!("/next-{number}-"));
        bytes.extend(
            format!("GET {next} HTTP/1.1\r\nHost: {authority}\r\n{own}Connection: close\r\n\r\n")
                .bytes(),
        );
        converse(&mut stream, &bytes).await
    }

    /// Checks what became of a message.
    fn check(&self, what: &str, number: usize, fate: Fate, answers: &str, all: &[Arrived]) {
        self.secret.assert_absent(what, answers);
        let of = |name: &str| {
            let path = format!(" /{name}-{number}-");
            all.iter()
                .filter(move |one| one.head.contains(&path))
                .collect::<Vec<_>>()
        };
        let (attack, next) = (of("attack"), of("next"));
        let what = format!("{what}\n{attack:?}\n{next:?}\n{answers}");
        let statuses = statuses(answers);
        let refused = |status: &u16| (400..=431).contains(status);
        match fate {
            Refused => {
                assert!(attack.is_empty() && next.is_empty(), "{what}");
                assert!(statuses.len() <= 1, "{what}");
                assert!(statuses.iter().all(refused), "{what}");
            }
            Spurned => {
                assert!(attack.is_empty() && next.len() == 1, "{what}");
                assert!(statuses.len() == 2 && refused(&statuses[0]), "{what}");
            }
            Cut => {
                assert!(attack.iter().all(|one| !one.whole), "{what}");
                assert!(attack.len() <= 1, "{what}");
                assert!(!statuses.contains(&200), "{what}");
            }
            Taken(body) | Last(body) => {
                assert_eq!(attack.len(), 1, "{what}");
                assert_eq!(String::from_utf8_lossy(&attack[0].body), body, "{what}");
                assert_eq!(next.len(), usize::from(matches!(fate, Taken(_))), "{what}");
                for one in attack.into_iter().chain(next) {
                    let injected = format!("authorization: bearer {}\r\n", self.secret.expose());
                    let head = one.head.to_ascii_lowercase();
                    assert!(one.whole, "{what}");
                    assert_eq!(head.matches("authorization:").count(), 1, "{what}");
                    assert!(head.contains(&injected), "{what}");
                }
            }
        }
    }
}

/// A POST with these fields and this body.
fn post(fields: &str, body: &str) -> String {
    format!("POST {{at}} HTTP/1.1\r\nHost: {{to}}\r\n{{own}}{fields}\r\n\r\n{body}")
}

async fn run(family: &str, cases: &[(String, Fate)]) {
    for bench in Bench::all().await {
        let mut answered = Vec::new();
        for (number, (message, fate)) in cases.iter().enumerate() {
            answered.push(bench.send(number, message, *fate).await);
        }
        serves_on(&bench.stage, bench.way, &bench.trap.upstream).await;
        let (wire, arrived) = bench.trap.take();
        assert!(!wire.contains("GET /smuggled"), "{wire}");
        for (number, ((message, fate), answers)) in cases.iter().zip(answered).enumerate() {
            let shown: String = message.chars().take(160).collect();
            let what = format!("{family} on {:?} by {:?}: {shown:?}", bench.way, bench.door);
            bench.check(&what, number, *fate, &answers, &arrived);
        }
    }
}

/// Lengths that one reader takes for a number and another does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_in_disguise() {
    let mut cases: Vec<(String, Fate)> = [
        ("Content-Length: 3", Taken("abc")),
        ("content-length:3", Taken("abc")),
        ("Content-Length: \t 3 \t", Taken("abc")),
        ("Content-Length: 003", Taken("abc")),
        // Said twice alike it is said once (RFC 9110 section 8.6).
        ("Content-Length: 3\r\nContent-Length: 3", Taken("abc")),
        ("Content-Length: 3\r\nContent-Length: 40", Refused),
        ("Content-Length: 40\r\nContent-Length: 3", Refused),
        ("Content-Length: 3\r\nContent-Length: 03 ", Taken("abc")),
        ("Content-Length: 3, 3", Refused),
        ("Content-Length: 3,40", Refused),
        ("Content-Length: 3;40", Refused),
        ("Content-Length: 3 40", Refused),
        ("Content-Length: +3", Refused),
        ("Content-Length: -3", Refused),
        ("Content-Length: 0x3", Refused),
        ("Content-Length: 3h", Refused),
        ("Content-Length: 3.0", Refused),
        ("Content-Length: 3e0", Refused),
        ("Content-Length: 1_0", Refused),
        ("Content-Length: \"3\"", Refused),
        ("Content-Length: '3'", Refused),
        ("Content-Length: \u{ff13}", Refused),
        ("Content-Length: 3\u{a0}", Refused),
        ("Content-Length: 3\u{b}", Refused),
        ("Content-Length: \u{c}3", Refused),
        ("Content-Length: 3\0", Refused),
        ("Content-Length:", Refused),
        ("Content-Length: ,3", Refused),
        ("Content-Length: 18446744073709551616", Refused),
        ("Content-Length: 18446744073709551615", Refused),
        (
            "Content-Length: 99999999999999999999999999999999999",
            Refused,
        ),
        ("Content-Length : 3", Refused),
        ("Content-Length\t: 3", Refused),
        ("Content-Length\u{b}: 3", Refused),
        (" Content-Length: 3", Refused),
        ("X: y\r\n Content-Length: 3", Refused),
        ("Content-Length:\r\n 3", Refused),
        ("Content-\r\n Length: 3", Refused),
        ("Content-Length", Refused),
        (": 3", Refused),
        ("Content-Length\0: 3", Refused),
    ]
    .into_iter()
    .map(|(fields, fate)| (post(fields, "abc"), fate))
    .collect();
    // What only looks like the field is not it, and no part of a body follows.
    for fields in [
        "Content_Length: 40",
        "X-Content-Length: 40",
        "Content.Length: 40",
    ] {
        cases.push((post(fields, ""), Taken("")));
    }
    run("length", &cases).await;
}

/// Transfer codings that one reader takes for chunks and another does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codings_in_disguise() {
    let chunks = "3\r\nabc\r\n0\r\n\r\n";
    let mut cases: Vec<(String, Fate)> = Vec::new();
    for (fields, fate) in [
        ("Transfer-Encoding: chunked", Taken("abc")),
        ("transfer-encoding:CHUNKED", Taken("abc")),
        ("Transfer-Encoding: \t chunked \t", Taken("abc")),
        ("Transfer-Encoding: chunked, chunked", Refused),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            Refused,
        ),
        (
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            Refused,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            Refused,
        ),
        ("Transfer-Encoding: identity", Refused),
        ("Transfer-Encoding: identity, chunked", Refused),
        ("Transfer-Encoding: chunked, identity", Refused),
        ("Transfer-Encoding: gzip, chunked", Refused),
        ("Transfer-Encoding: gzip", Refused),
        ("Transfer-Encoding: chunked;q=1", Refused),
        ("Transfer-Encoding: chunked; a=b", Refused),
        ("Transfer-Encoding: \"chunked\"", Refused),
        ("Transfer-Encoding: 'chunked'", Refused),
        ("Transfer-Encoding: xchunked", Refused),
        ("Transfer-Encoding: chunkedx", Refused),
        ("Transfer-Encoding: chunk", Refused),
        ("Transfer-Encoding: chunked,", Refused),
        ("Transfer-Encoding: ,chunked", Refused),
        ("Transfer-Encoding: chunked\u{b}", Refused),
        ("Transfer-Encoding: \u{b}chunked", Refused),
        ("Transfer-Encoding: \u{c}chunked", Refused),
        ("Transfer-Encoding: \u{a0}chunked", Refused),
        ("Transfer-Encoding: chunked\0", Refused),
        ("Transfer-Encoding: \u{ff43}hunked", Refused),
        ("Transfer-Encoding:", Refused),
        ("Transfer-Encoding:\r\n chunked", Refused),
        ("Transfer-Encoding : chunked", Refused),
        ("Transfer-Encoding\t: chunked", Refused),
        ("Transfer-Encoding\u{b}: chunked", Refused),
        ("Transfer-Encoding\0: chunked", Refused),
        (" Transfer-Encoding: chunked", Refused),
        ("X: y\r\n Transfer-Encoding: chunked", Refused),
        ("X: y\rTransfer-Encoding: chunked", Refused),
        ("Transfer-\r\n Encoding: chunked", Refused),
        ("X\nTransfer-Encoding: chunked", Refused),
    ] {
        cases.push((post(fields, chunks), fate));
        // The same beside a length that hides a request from whoever does not see the chunks.
        let both = match fate {
            Taken(body) => Last(body),
            fate => fate,
        };
        let hidden = format!("{chunks}{HIDDEN}");
        let length = format!("Content-Length: {}", hidden.len());
        for fields in [
            format!("{length}\r\n{fields}"),
            format!("{fields}\r\n{length}"),
        ] {
            // A length behind a coding that is no list of fields any more is refused as well.
            cases.push((post(&fields, &hidden), both));
        }
    }
    for (head, fate) in [
        // No chunks before HTTP/1.1.
        ("POST {at} HTTP/1.0", Refused),
        ("GET {at} HTTP/1.1", Taken("abc")),
        ("DELETE {at} HTTP/1.1", Taken("abc")),
        ("HEAD {at} HTTP/1.1", Taken("abc")),
    ] {
        let message =
            format!("{head}\r\nHost: {{to}}\r\n{{own}}Transfer-Encoding: chunked\r\n\r\n{chunks}");
        cases.push((message, fate));
    }
    for fields in ["Transfer_Encoding: chunked", "X-Transfer-Encoding: chunked"] {
        cases.push((post(fields, ""), Taken("")));
    }
    run("coding", &cases).await;
}

/// Chunks whose sizes, extensions, ends and trailers have two readings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_in_disguise() {
    let long = "e".repeat(20_000);
    let cases: Vec<(String, Fate)> = [
        ("3;a=b\r\nabc\r\n0\r\n\r\n".to_owned(), Taken("abc")),
        ("3 \t;a=\"b\"\r\nabc\r\n0;z\r\n\r\n".to_owned(), Taken("abc")),
        ("03\r\nabc\r\n000\r\n\r\n".to_owned(), Taken("abc")),
        (
            "00000000000000000000000000000003\r\nabc\r\n0\r\n\r\n".to_owned(),
            Taken("abc"),
        ),
        // 16 KiB of extensions are hyper's bound.
        (format!("3;{long}\r\nabc\r\n0\r\n\r\n"), Cut),
        (
            format!("1;{0}\r\na\r\n1;{0}\r\nb\r\n0\r\n\r\n", &long[..9_000]),
            Cut,
        ),
        // A line feed within an extension: some end the line there.
        (format!("3;a\nabc\r\n0\r\n\r\n{HIDDEN}"), Cut),
        ("3;a\rb\r\nabc\r\n0\r\n\r\n".to_owned(), Cut),
        ("3\nabc\r\n0\r\n\r\n".to_owned(), Cut),
        ("3\rabc\r\n0\r\n\r\n".to_owned(), Cut),
        ("3\r\nabc\n0\r\n\r\n".to_owned(), Cut),
        ("3\r\nabc0\r\n\r\n".to_owned(), Cut),
        ("3\r\nabcd\r\n0\r\n\r\n".to_owned(), Cut),
        ("3\r\nabc\r\n0\n\r\n".to_owned(), Cut),
        ("3\r\nabc\r\n0\r\n\n".to_owned(), Cut),
        ("0x3\r\nabc\r\n0\r\n\r\n".to_owned(), Cut),
        ("+3\r\nabc\r\n0\r\n\r\n".to_owned(), Cut),
        ("-3\r\nabc\r\n0\r\n\r\n".to_owned(), Cut),
        (" 3\r\nabc\r\n0\r\n\r\n".to_owned(), Cut),
        ("3 3\r\nabc\r\n0\r\n\r\n".to_owned(), Cut),
        ("3_\r\nabc\r\n0\r\n\r\n".to_owned(), Cut),
        ("\r\n3\r\nabc\r\n0\r\n\r\n".to_owned(), Cut),
        (";a\r\nabc\r\n0\r\n\r\n".to_owned(), Cut),
        // 64 bits and one more.
        (
            "10000000000000003\r\nabc\r\n0\r\n\r\n".to_owned(),
            Cut,
        ),
        ("ffffffffffffffff\r\nabc\r\n0\r\n\r\n".to_owned(), Cut),
        ("3\r\nabc\r\n".to_owned(), Cut),
        ("3\r\nabc\r\n0\r\n".to_owned(), Cut),
        // Trailers.
        ("3\r\nabc\r\n0\r\nX: y\r\n\r\n".to_owned(), Taken("abc")),
        (
            "3\r\nabc\r\n0\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\nHost: evil.example\r\n\r\n"
                .to_owned(),
            Taken("abc"),
        ),
        ("3\r\nabc\r\n0\r\nX: \0\r\n\r\n".to_owned(), Cut),
        ("3\r\nabc\r\n0\r\nX : y\r\n\r\n".to_owned(), Cut),
        ("3\r\nabc\r\n0\r\nX\r\n\r\n".to_owned(), Cut),
        ("3\r\nabc\r\n0\r\nX: a\rb\r\n\r\n".to_owned(), Cut),
    ]
    .into_iter()
    .map(|(body, fate)| (post("Transfer-Encoding: chunked", &body), fate))
    .collect();
    run("chunk", &cases).await;
}

/// Lines that end in one byte, and request lines in all shapes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_in_disguise() {
    let with_line = |line: &str| format!("{line}\r\nHost: {{to}}\r\n{{own}}\r\n");
    let mut cases: Vec<(String, Fate)> = [
        ("GET {at} HTTP/1.1", Taken("")),
        // Empty lines before a request line are skipped (RFC 9112 section 2.2).
        ("\r\n\r\nGET {at} HTTP/1.1", Taken("")),
        (" GET {at} HTTP/1.1", Refused),
        ("GET {at}", Refused),
        ("GET {at} HTTP/0.9", Refused),
        ("GET {at} HTTP/1.2", Refused),
        ("GET {at} HTTP/2.0", Refused),
        ("GET {at} http/1.1", Refused),
        ("GET {at} HTTP/1.1 ", Refused),
        ("GET {at} HTTP/1.1\u{b}", Refused),
        ("GET {at} HTTP/1.1 HTTP/1.1", Refused),
        ("GET\t{at}\tHTTP/1.1", Refused),
        ("GET {at}?a b HTTP/1.1", Refused),
        ("GET {at}\u{b} HTTP/1.1", Refused),
        ("GET {at}\0 HTTP/1.1", Refused),
        ("GET {at}\u{7f} HTTP/1.1", Refused),
        ("GET {at}\r HTTP/1.1", Refused),
        ("GET {at}?\u{e9} HTTP/1.1", Spurned),
        ("GE\0T {at} HTTP/1.1", Refused),
        ("GE(T {at} HTTP/1.1", Refused),
        ("GET{at} HTTP/1.1", Refused),
        (" {at} HTTP/1.1", Refused),
    ]
    .into_iter()
    .map(|(line, fate)| (with_line(line), fate))
    .collect();
    // A line that ends in LF alone ends (RFC 9112 section 2.2 lets a server say so); what leaves is written anew, so there is no
    // second reading of it. A CR alone is no line end, and refused.
    cases.extend([
        (
            "GET {at} HTTP/1.1\nHost: {to}\r\n{own}\r\n".to_owned(),
            Taken(""),
        ),
        (
            post("X: y\nTransfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"),
            Taken("abc"),
        ),
        (post("X: y\nContent-Length: 3", "abc"), Taken("abc")),
        (post("X: y\rContent-Length: 3", "abc"), Refused),
        (post("X: \r y", ""), Refused),
        (post("X: y\0", ""), Refused),
        (post("X: y\u{1}", ""), Refused),
        (post("X: y\u{7f}", ""), Refused),
        (post("X\u{e9}: y", ""), Refused),
        (post("X(: y", ""), Refused),
        (post("X@: y", ""), Refused),
    ]);
    run("line", &cases).await;
}

/// Attacks as they were published or caught, kept as the bytes that they are; the folder says what becomes of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn captures() {
    let captures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let mut cases = Vec::new();
    for (folder, fate) in [
        ("refused", Refused),
        ("spurned", Spurned),
        ("cut", Cut),
        ("last", Last("abc")),
        ("taken", Taken("abc")),
    ] {
        for file in std::fs::read_dir(captures.join(folder)).unwrap() {
            // Bytes that are no text stand for themselves in the cases above.
            cases.push((std::fs::read_to_string(file.unwrap().path()).unwrap(), fate));
        }
    }
    assert!(cases.len() > 20, "{} captures", cases.len());
    run("capture", &cases).await;
}
