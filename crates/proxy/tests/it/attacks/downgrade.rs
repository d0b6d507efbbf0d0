//! HTTP/2 streams whose fields would become something else when written as HTTP/1.1: line ends, spaces and colons within names and
//! values, fields that belong to a connection, pseudo-fields in the wrong number or place, lengths that lie. Each is refused by its
//! stream or its connection, or written anew; the upstream, which keeps every byte, never sees more than one sound request.

use tokio::io::AsyncWriteExt as _;

use super::frames::{
    DATA, END_HEADERS, END_STREAM, Ended, Field, HEADERS, block, frame, h2, outcome,
};
use super::lanes::{H2_LANES, Trap, guarded, serves_on};
use crate::fixture::{Door, Far, Stage, Way};

/// What the upstream gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gets {
    /// Not a byte.
    Nothing,
    /// A message that breaks off, or nothing.
    NothingWhole,
    /// One request, in whose head and body this text does not stand.
    OneWithout(&'static str),
}

use Gets::{Nothing, NothingWhole, OneWithout};

/// The four pseudo-fields of a sound request, with some of them changed, and fields behind them.
struct Case {
    what: &'static str,
    method: Option<&'static str>,
    scheme: Option<&'static str>,
    path: Option<&'static str>,
    authority: Option<&'static str>,
    fields: &'static [Field<'static>],
    body: Option<&'static [u8]>,
    trailers: Option<&'static [Field<'static>]>,
    gets: Gets,
}

const SOUND: Case = Case {
    what: "",
    method: Some("GET"),
    scheme: Some("{scheme}"),
    path: Some("/attack"),
    authority: Some("{to}"),
    fields: &[],
    body: None,
    trailers: None,
    gets: Nothing,
};

const fn with(what: &'static str, fields: &'static [Field<'static>], gets: Gets) -> Case {
    Case {
        what,
        fields,
        gets,
        ..SOUND
    }
}

const fn path(path: &'static str) -> Case {
    Case {
        what: path,
        path: Some(path),
        ..SOUND
    }
}

const fn authority(authority: &'static str) -> Case {
    Case {
        what: authority,
        authority: Some(authority),
        ..SOUND
    }
}

const fn method(method: &'static str) -> Case {
    Case {
        what: method,
        method: Some(method),
        ..SOUND
    }
}

const fn scheme(scheme: &'static str) -> Case {
    Case {
        what: scheme,
        scheme: Some(scheme),
        ..SOUND
    }
}

const fn upload(
    what: &'static str,
    fields: &'static [Field<'static>],
    body: &'static [u8],
    trailers: Option<&'static [Field<'static>]>,
    gets: Gets,
) -> Case {
    Case {
        what,
        method: Some("POST"),
        fields,
        body: Some(body),
        trailers,
        gets,
        ..SOUND
    }
}

const HIDDEN: &[u8] = b"x\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

/// What stands in a field.
const FIELDS: &[Case] = &[
    with("CRLF in a value", &[(b"x", b"a\r\nx-smuggled: 1")], Nothing),
    with("a request in a value", &[(b"x", HIDDEN)], Nothing),
    with("LF in a value", &[(b"x", b"a\nx-smuggled: 1")], Nothing),
    with("CR in a value", &[(b"x", b"a\rb")], Nothing),
    with("NUL in a value", &[(b"x", b"a\0b")], Nothing),
    with("DEL in a value", &[(b"x", b"a\x7fb")], Nothing),
    with("CRLF in a name", &[(b"x: 1\r\nx-smuggled", b"1")], Nothing),
    with("a colon in a name", &[(b"x-smuggled: 1", b"1")], Nothing),
    with("a colon before a name", &[(b":x-smuggled", b"1")], Nothing),
    with("a space in a name", &[(b"x smuggled", b"1")], Nothing),
    with(
        "a space behind a name",
        &[(b"transfer-encoding ", b"chunked")],
        Nothing,
    ),
    with(
        "a tab behind a name",
        &[(b"content-length\t", b"40")],
        Nothing,
    ),
    with("NUL in a name", &[(b"x\0smuggled", b"1")], Nothing),
    with("an upper-case name", &[(b"X-Smuggled", b"1")], Nothing),
    with("a name outside ASCII", &[(b"x\xe9", b"1")], Nothing),
    with("no name", &[(b"", b"1")], Nothing),
    // RFC 9113 section 8.2.2.
    with(
        "transfer-encoding",
        &[(b"transfer-encoding", b"chunked")],
        Nothing,
    ),
    with(
        "transfer-encoding, shouting",
        &[(b"Transfer-Encoding", b"chunked")],
        Nothing,
    ),
    with("connection", &[(b"connection", b"close")], Nothing),
    with(
        "connection names the credential",
        &[(b"connection", b"authorization")],
        Nothing,
    ),
    with("keep-alive", &[(b"keep-alive", b"timeout=9")], Nothing),
    with(
        "proxy-connection",
        &[(b"proxy-connection", b"keep-alive")],
        Nothing,
    ),
    with("upgrade", &[(b"upgrade", b"websocket")], Nothing),
    with("te", &[(b"te", b"gzip")], Nothing),
    with("another host", &[(b"host", b"other.example.test")], Nothing),
    with(
        "two hosts",
        &[(b"host", b"{to}"), (b"host", b"other.example.test")],
        Nothing,
    ),
    with("host with a request", &[(b"host", HIDDEN)], Nothing),
    // Pseudo-fields (RFC 9113 section 8.3).
    with("a second path", &[(b":path", b"/smuggled")], Nothing),
    with(
        "a second authority",
        &[(b":authority", b"other.example.test")],
        Nothing,
    ),
    with("a second method", &[(b":method", b"POST")], Nothing),
    with(
        "a pseudo-field behind a field",
        &[(b"x", b"y"), (b":path", b"/smuggled")],
        Nothing,
    ),
    with(
        "a response's pseudo-field",
        &[(b":status", b"200")],
        Nothing,
    ),
    with(
        "a protocol without CONNECT",
        &[(b":protocol", b"websocket")],
        Nothing,
    ),
];

/// What stands in a pseudo-field.
const PSEUDO_FIELDS: &[Case] = &[
    path(""),
    path("attack"),
    path("*"),
    path("/a b"),
    path("/a HTTP/1.1\r\nHost: x\r\n\r\nGET /smuggled"),
    path("/a\r\nx-smuggled: 1"),
    path("/a\nb"),
    path("/a\rb"),
    path("/a\tb"),
    path("/a\0b"),
    path("/a\u{7f}b"),
    // No fragment is ever sent (RFC 9110 section 4.2.5); what is matched is what is left.
    Case {
        what: "a fragment",
        path: Some("/a#smuggled"),
        gets: OneWithout("smuggled"),
        ..SOUND
    },
    path("/\u{e9}"),
    path("http://other.example.test/"),
    path("https://other.example.test/smuggled"),
    path("other.example.test:443"),
    path("@other.example.test/"),
    path(":8080/"),
    authority(""),
    authority("other.example.test"),
    authority("other.example.test:443"),
    authority("{to}@other.example.test"),
    authority("u:p@{to}"),
    authority("@{to}"),
    authority("{to}/smuggled"),
    authority("{to}?x"),
    authority("{to}#x"),
    authority("{to}\\@other.example.test"),
    authority("{to}\r\nx-smuggled: 1"),
    authority("{to} x"),
    authority("{to}\0"),
    authority("{to},other.example.test"),
    method(""),
    method("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\nGET"),
    method("GET "),
    method(" GET"),
    method("GE\tT"),
    method("GET\r\n"),
    method("G\0T"),
    method("CONNECT"),
    scheme("ftp"),
    scheme("{other}"),
    scheme("{scheme}://other.example.test/?"),
    scheme("{scheme} "),
    scheme("{scheme}\r\nx-smuggled: 1"),
    scheme(""),
    scheme("file"),
    Case {
        what: "no method",
        method: None,
        ..SOUND
    },
    Case {
        what: "no scheme",
        scheme: None,
        ..SOUND
    },
    Case {
        what: "no path",
        path: None,
        ..SOUND
    },
    Case {
        what: "neither authority nor host",
        authority: None,
        ..SOUND
    },
];

/// Lengths that lie, and what stands behind a body.
const BODIES: &[Case] = &[
    upload(
        "too long",
        &[(b"content-length", b"3")],
        b"abcdef",
        None,
        NothingWhole,
    ),
    upload(
        "too short",
        &[(b"content-length", b"30")],
        b"abc",
        None,
        NothingWhole,
    ),
    upload(
        "none where one is announced",
        &[(b"content-length", b"30")],
        b"",
        None,
        NothingWhole,
    ),
    upload(
        "a body where none is announced",
        &[(b"content-length", b"0")],
        HIDDEN,
        None,
        NothingWhole,
    ),
    upload(
        "two lengths",
        &[(b"content-length", b"3"), (b"content-length", b"4")],
        b"abc",
        None,
        NothingWhole,
    ),
    upload(
        "a list of lengths",
        &[(b"content-length", b"3, 3")],
        b"abc",
        None,
        NothingWhole,
    ),
    upload(
        "a signed length",
        &[(b"content-length", b"+3")],
        b"abc",
        None,
        NothingWhole,
    ),
    upload(
        "a length in hexadecimal",
        &[(b"content-length", b"0x3")],
        b"abc",
        None,
        NothingWhole,
    ),
    upload(
        "a length with a space",
        &[(b"content-length", b"3 ")],
        b"abc",
        None,
        NothingWhole,
    ),
    upload(
        "a huge length",
        &[(b"content-length", b"18446744073709551616")],
        b"abc",
        None,
        NothingWhole,
    ),
    upload(
        "an empty length",
        &[(b"content-length", b"")],
        b"abc",
        None,
        NothingWhole,
    ),
    // Without a length it leaves in chunks, so what looks like the end of a chunk is not one.
    upload(
        "chunks within",
        &[],
        b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        None,
        OneWithout("zzz"),
    ),
    upload(
        "a pseudo-field in the trailers",
        &[(b"trailer", b"x")],
        b"abc",
        Some(&[(b":path", b"/smuggled")]),
        OneWithout("smuggled"),
    ),
    upload(
        "CRLF in a trailer",
        &[(b"trailer", b"x")],
        b"abc",
        Some(&[(b"x", b"a\r\nx-smuggled: 1")]),
        NothingWhole,
    ),
    upload(
        "transfer-encoding in the trailers",
        &[(b"trailer", b"transfer-encoding")],
        b"abc",
        Some(&[(b"transfer-encoding", b"chunked")]),
        NothingWhole,
    ),
    upload(
        "a length in the trailers",
        &[(b"trailer", b"content-length")],
        b"abc",
        Some(&[(b"content-length", b"40")]),
        OneWithout("content-length: 40"),
    ),
    upload(
        "a credential in the trailers",
        &[(b"trailer", b"authorization")],
        b"abc",
        Some(&[(b"authorization", b"of-the-agent")]),
        OneWithout("of-the-agent"),
    ),
    upload(
        "a host in the trailers",
        &[(b"trailer", b"host")],
        b"abc",
        Some(&[(b"host", b"other.example.test")]),
        OneWithout("other.example.test"),
    ),
];

async fn run(cases: &[Case]) {
    for (door, way) in H2_LANES {
        let far = if way == Way::H2 { Far::H1 } else { Far::Plain };
        let trap = Trap::start(far);
        let (stage, secret) = guarded(&trap.upstream).await;
        let mut ends = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            ends.push(attack(&stage, door, way, &trap.authority(), number, case).await);
        }
        serves_on(&stage, way, &trap.upstream).await;
        let (_, all) = trap.take();
        for (number, (case, ended)) in cases.iter().zip(ends).enumerate() {
            let mark = format!("x-number: {number}\r\n");
            let arrived: Vec<_> = all.iter().filter(|one| one.head.contains(&mark)).collect();
            let what = format!(
                "{:?} on {way:?} by {door:?}: {ended:?} {arrived:?}",
                case.what
            );
            match case.gets {
                Nothing => {
                    assert!(arrived.is_empty(), "{what}");
                    assert_ne!(ended, Ended::Answered(200), "{what}");
                }
                NothingWhole => {
                    assert!(arrived.iter().all(|one| !one.whole), "{what}");
                    assert_ne!(ended, Ended::Answered(200), "{what}");
                }
                OneWithout(text) => {
                    assert_eq!(ended, Ended::Answered(200), "{what}");
                    assert!(arrived.len() == 1 && arrived[0].whole, "{what}");
                    let body = String::from_utf8_lossy(&arrived[0].body);
                    let seen = format!("{}{body}", arrived[0].head).to_lowercase();
                    assert!(!seen.contains(text), "{what}");
                    assert!(seen.contains(secret.expose()), "{what}");
                }
            }
        }
        // Nothing of what was hidden is a line of its own anywhere.
        for one in &all {
            for line in one.head.split("\r\n") {
                let hidden = ["GET /smuggled", "x-smuggled"];
                assert!(
                    !hidden.iter().any(|start| line.starts_with(start)),
                    "{line}"
                );
            }
        }
    }
}

async fn attack(
    stage: &Stage,
    door: Door,
    way: Way,
    to: &str,
    number: usize,
    case: &Case,
) -> Ended {
    let (scheme, other) = if way == Way::H2 {
        ("https", "http")
    } else {
        ("http", "https")
    };
    let filled = |text: &str| {
        text.replace("{to}", to)
            .replace("{scheme}", scheme)
            .replace("{other}", other)
            .into_bytes()
    };
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = [
        (":method", case.method),
        (":scheme", case.scheme),
        (":path", case.path),
        (":authority", case.authority),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.as_bytes().to_vec(), filled(value?))))
    .collect();
    let number = (b"x-number".to_vec(), number.to_string().into_bytes());
    for (name, value) in case.fields {
        let value = std::str::from_utf8(value).map_or_else(|_| value.to_vec(), filled);
        fields.push((name.to_vec(), value));
    }
    fields.push(number);
    let fields: Vec<Field<'_>> = fields.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    let mut bytes = Vec::new();
    let head_flags = END_HEADERS | if case.body.is_none() { END_STREAM } else { 0 };
    bytes.extend(frame(HEADERS, head_flags, 1, &block(&fields)));
    if let Some(body) = case.body {
        let flags = if case.trailers.is_none() {
            END_STREAM
        } else {
            0
        };
        bytes.extend(frame(DATA, flags, 1, body));
    }
    if let Some(trailers) = case.trailers {
        bytes.extend(frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &block(trailers),
        ));
    }
    let mut stream = h2(stage, door, way, to).await;
    stream.write_all(&bytes).await.unwrap();
    stream.flush().await.unwrap();
    outcome(&mut stream, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_would_become_others() {
    run(FIELDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pseudo_fields_that_would_become_others() {
    run(PSEUDO_FIELDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_and_trailers_that_lie() {
    run(BODIES).await;
}
