use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_util::sync::CancellationToken;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::frame::{Kind, apply_mask, push_frame};
use super::*;
use crate::scrub::{Label, Scrubber, Search, Secret};

const SECRET: &str = "s3cr3t-value";
const PLACEHOLDER: &[u8] = b"__KEY__";

/// Replaces the placeholder by the secret, across pieces of a message.
#[derive(Default)]
struct Replace {
    carry: Vec<u8>,
}

impl TextRewriter for Replace {
    fn feed(&mut self, payload: &[u8], fin: bool, out: &mut Vec<u8>) {
        self.carry.extend_from_slice(payload);
        while let Some(at) = self.carry.windows(7).position(|w| w == PLACEHOLDER) {
            out.extend(self.carry.drain(..at));
            self.carry.drain(..7);
            out.extend_from_slice(SECRET.as_bytes());
        }
        let keep = if fin { 0 } else { 6 };
        let leaves = self.carry.len().saturating_sub(keep);
        out.extend(self.carry.drain(..leaves));
    }
}

fn search() -> Search {
    let secret = Secret {
        value: SECRET.as_bytes(),
        label: Label::new(None, "KEY"),
    };
    Scrubber::new(&[secret]).unwrap().unwrap().search()
}

const TEXT: OpCode = OpCode::Data(Data::Text);
const BINARY: OpCode = OpCode::Data(Data::Binary);
const CONTINUE: OpCode = OpCode::Data(Data::Continue);
const PING: OpCode = OpCode::Control(Control::Ping);
const CLOSE: OpCode = OpCode::Control(Control::Close);

fn frame(opcode: OpCode, fin: bool, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_frame(
        &mut out,
        opcode,
        fin,
        masked.then_some([7, 99, 1, 200]),
        payload,
    );
    out
}

/// One frame: its message's kind, whether it begins or ends the message, its payload.
type Parsed = (Kind, bool, bool, Vec<u8>);

fn parse(masked: bool, mut bytes: &[u8]) -> Vec<Parsed> {
    let mut heads = frame::HeadReader::new(masked);
    let mut frames = Vec::new();
    while let Some(head) = heads.read(&mut bytes).unwrap() {
        let (payload, rest) = bytes.split_at(usize::try_from(head.len).unwrap());
        let mut payload = payload.to_vec();
        if let Some(mask) = head.mask {
            apply_mask(&mut payload, mask, 0);
        }
        bytes = rest;
        frames.push((head.kind, head.first, head.fin, payload));
    }
    assert!(heads.is_empty() && bytes.is_empty());
    frames
}

/// The messages of a direction, control frames taken out.
fn messages(masked: bool, bytes: &[u8]) -> Vec<(Kind, Vec<u8>)> {
    let mut messages = Vec::new();
    let mut current = Vec::new();
    for (kind, _, fin, payload) in parse(masked, bytes) {
        if !kind.is_control() {
            current.extend(payload);
            if fin {
                messages.push((kind, std::mem::take(&mut current)));
            }
        }
    }
    messages
}

fn up(input: &[u8], size: usize) -> Result<Vec<u8>, ProtocolError> {
    let mut machine = ClientToUpstream::new(Some(Box::new(Replace::default())));
    let mut out = Vec::new();
    for chunk in input.chunks(size) {
        machine.feed(chunk, &mut out)?;
    }
    Ok(out)
}

fn down(input: &[u8], size: usize) -> Result<Vec<u8>, ProtocolError> {
    let mut machine = UpstreamToClient::new(Some(&search()));
    let mut out = Vec::new();
    for chunk in input.chunks(size) {
        machine.feed(chunk, &mut out)?;
    }
    Ok(out)
}

#[test]
fn untouched_frames_leave_byte_for_byte() {
    let mut input = frame(TEXT, true, true, b"hello");
    input.extend(frame(TEXT, false, true, b""));
    input.extend(frame(CONTINUE, true, true, b""));
    input.extend(frame(BINARY, false, true, b"__KEY__"));
    input.extend(frame(PING, true, true, b"__KEY__"));
    input.extend(frame(CONTINUE, true, true, &[9; 70_000]));
    input.extend(frame(CLOSE, true, true, &[3, 232]));
    for size in [1, 3, 1000, input.len()] {
        assert_eq!(up(&input, size).unwrap(), input);
    }
}

#[test]
fn a_changed_frame_gets_its_new_length_and_another_mask() {
    let input = frame(TEXT, true, true, b"token=__KEY__;");
    let out = up(&input, 5).unwrap();
    assert_eq!(
        parse(true, &out),
        [(Kind::Text, true, true, b"token=s3cr3t-value;".to_vec())]
    );
    assert_ne!(out[2..6], input[2..6]);
}

#[test]
fn a_placeholder_is_found_across_fragments_and_in_long_frames() {
    let mut input = frame(TEXT, false, true, b"a __K");
    input.extend(frame(PING, true, true, b"beat"));
    input.extend(frame(CONTINUE, false, true, b"EY"));
    input.extend(frame(CONTINUE, true, true, b"__ b"));
    let mut long = vec![b'x'; 200_000];
    long.extend_from_slice(PLACEHOLDER);
    input.extend(frame(TEXT, true, true, &long));
    let mut longer = vec![b'x'; 200_000];
    longer.extend_from_slice(SECRET.as_bytes());
    for size in [1, 4096, input.len()] {
        let out = up(&input, size).unwrap();
        assert_eq!(
            messages(true, &out),
            [
                (Kind::Text, b"a s3cr3t-value b".to_vec()),
                (Kind::Text, longer.clone())
            ]
        );
        assert!(parse(true, &out).contains(&(Kind::Beat, true, true, b"beat".to_vec())));
    }
}

#[test]
fn reflected_values_are_replaced_and_frames_keep_their_shape() {
    let mut input = frame(TEXT, false, false, b"you sent s3cr");
    input.extend(frame(PING, true, false, b"s3cr3t-value"));
    input.extend(frame(CONTINUE, false, false, b""));
    input.extend(frame(CONTINUE, false, false, b"3t-va"));
    input.extend(frame(CONTINUE, true, false, b"lue!"));
    input.extend(frame(BINARY, true, false, b"\0s3cr3t-value\xff"));
    input.extend(frame(TEXT, true, false, b"ends in s3"));
    // A message in one frame may change its length.
    input.extend(frame(TEXT, true, false, b"<s3cr3t-value>"));
    input.extend(frame(CLOSE, true, false, b"\x03\xe8s3cr3t-value"));
    for size in [1, 3, input.len()] {
        let out = down(&input, size).unwrap();
        assert_eq!(
            parse(false, &out),
            [
                (Kind::Text, true, false, b"you sent [red".to_vec()),
                (Kind::Beat, true, true, b"[redacted:KE".to_vec()),
                (Kind::Text, false, false, b"".to_vec()),
                (Kind::Text, false, false, b"acted".to_vec()),
                (Kind::Text, false, true, b":KE!".to_vec()),
                (Kind::Binary, true, true, b"\0[redacted:KE\xff".to_vec()),
                (Kind::Text, true, true, b"ends in s3".to_vec()),
                (Kind::Text, true, true, b"<[redacted:KEY]>".to_vec()),
                (Kind::Close, true, true, b"\x03\xe8[redacted:KE".to_vec()),
            ]
        );
    }
}

#[test]
fn frames_behind_a_held_fragment_wait_only_so_long() {
    let mut machine = UpstreamToClient::new(Some(&search()));
    let mut out = Vec::new();
    let fragment = frame(TEXT, false, false, b"x s3");
    let ping = frame(PING, true, false, b"");
    machine.feed(&fragment, &mut out).unwrap();
    machine.feed(&ping, &mut out).unwrap();
    assert_eq!(out, fragment[..4]);
    assert!(machine.release_after().is_some() && !machine.at_boundary());
    machine.release(&mut out);
    assert_eq!(out, [fragment.clone(), ping.clone()].concat());
    assert!(machine.release_after().is_none() && machine.at_boundary());
    // A flood of frames behind the hold is bounded as well.
    out.clear();
    machine
        .feed(&frame(CONTINUE, false, false, b"x s3"), &mut out)
        .unwrap();
    let held = out.len();
    for _ in 0..20_000 {
        machine.feed(&ping, &mut out).unwrap();
    }
    assert!(out.len() > held + 2 * 10_000);
}

/// A message that is collected is let go when its rest does not come, and keeps its length then.
#[test]
fn a_message_that_trickles_is_not_waited_for() {
    let search = search();
    let mut machine = UpstreamToClient::new(Some(&search));
    let mut out = Vec::new();
    let input = frame(TEXT, true, false, b"a s3cr3t-value b s3cr3t-value c");
    let (start, rest) = input.split_at(18);
    machine.feed(start, &mut out).unwrap();
    assert!(out.is_empty() && machine.at_boundary() && !machine.is_complete());
    assert_eq!(machine.release_after(), Some(Duration::from_millis(200)));
    machine.release(&mut out);
    assert!(!machine.at_boundary());
    assert_eq!(out[2..], *b"a [redacted:KE b");
    machine.feed(rest, &mut out).unwrap();
    assert_eq!(
        parse(false, &out),
        [(
            Kind::Text,
            true,
            true,
            b"a [redacted:KE b [redacted:KE c".to_vec()
        )]
    );
    assert_eq!(search.found(), 2);
    // One that is long goes out as it comes.
    let long = frame(TEXT, true, false, &vec![b'x'; 64 * 1024 + 1]);
    out.clear();
    machine.feed(&long[..100], &mut out).unwrap();
    assert_eq!(out, long[..100]);
}

#[test]
fn broken_frames_are_refused() {
    let unmasked = frame(TEXT, true, false, b"x");
    let masked = frame(TEXT, true, true, b"x");
    let with_first = |first: u8| {
        let mut frame = masked.clone();
        frame[0] = first;
        frame
    };
    for (input, error) in [
        (unmasked, ProtocolError::Mask),
        (with_first(0xc1), ProtocolError::ReservedBits),
        (with_first(0x91), ProtocolError::ReservedBits),
        (with_first(0x83), ProtocolError::Opcode),
        (with_first(0x8b), ProtocolError::Opcode),
        (with_first(0x80), ProtocolError::Continuation),
        (with_first(0x09), ProtocolError::Control),
        (frame(PING, true, true, &[0; 126]), ProtocolError::Control),
        (
            [frame(TEXT, false, true, b"a"), masked.clone()].concat(),
            ProtocolError::Continuation,
        ),
        (
            vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            ProtocolError::Length,
        ),
    ] {
        assert_eq!(up(&input, 2).unwrap_err(), error);
    }
    assert_eq!(down(&masked, 9).unwrap_err(), ProtocolError::Mask);
}

fn pieces() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    let piece = prop_oneof![
        Just(b"__KEY__".to_vec()),
        Just(b"__KE".to_vec()),
        Just(b"Y__".to_vec()),
        Just(b"s3cr3t-value".to_vec()),
        Just(b"s3cr3t-".to_vec()),
        Just(b"value".to_vec()),
        prop::collection::vec(prop::sample::select(b"sKE_ xy".to_vec()), 0..6),
    ];
    prop::collection::vec((any::<bool>(), piece), 1..12)
}

fn fragments(masked: bool, pieces: &[(bool, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut within = false;
    for (n, (fin, payload)) in pieces.iter().enumerate() {
        let fin = *fin || n + 1 == pieces.len();
        let opcode = if within { CONTINUE } else { TEXT };
        out.extend(frame(opcode, fin, masked, payload));
        out.extend(frame(PING, true, masked, b""));
        within = !fin;
    }
    out
}

proptest! {
    #[test]
    fn cuts_do_not_matter_to_the_upstream(pieces in pieces(), size in 1_usize..40) {
        let input = fragments(true, &pieces);
        let expected: Vec<_> = messages(true, &input)
            .into_iter()
            .map(|(kind, text)| {
                let text = String::from_utf8(text).unwrap();
                (kind, text.replace("__KEY__", SECRET).into_bytes())
            })
            .collect();
        let out = up(&input, size).unwrap();
        prop_assert_eq!(messages(true, &out), expected);
    }

    #[test]
    fn cuts_do_not_matter_to_the_agent(pieces in pieces(), size in 1_usize..40) {
        let input = fragments(false, &pieces);
        let out = down(&input, size).unwrap();
        prop_assert_eq!(&out, &down(&input, input.len()).unwrap());
        // Each frame in its place, and each message whole: of the same length, or with the label instead of the value.
        let shape = |bytes: &[u8]| -> Vec<_> {
            parse(false, bytes).into_iter().map(|f| (f.0, f.1, f.2)).collect()
        };
        prop_assert_eq!(shape(&out), shape(&input));
        for ((_, now), (_, before)) in messages(false, &out).iter().zip(messages(false, &input)) {
            let now = std::str::from_utf8(now).unwrap();
            let before = std::str::from_utf8(&before).unwrap();
            prop_assert!(!now.contains(SECRET));
            let free = before.replace(SECRET, "[redacted:KEY]");
            prop_assert!(now == free || now.len() == before.len(), "{} {}", now, before);
        }
    }

    #[test]
    fn hostile_bytes_do_no_harm(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz_frames(&data);
    }

    #[test]
    fn masking_is_the_same_in_parts(data in prop::collection::vec(any::<u8>(), 0..40), at in 0_usize..40) {
        let mask = [1, 2, 3, 4];
        let mut whole = data.clone();
        apply_mask(&mut whole, mask, 0);
        let at = at.min(data.len());
        let (mut head, mut tail) = (data[..at].to_vec(), data[at..].to_vec());
        apply_mask(&mut head, mask, 0);
        apply_mask(&mut tail, mask, at as u64);
        head.extend(tail);
        prop_assert_eq!(head, whole);
    }
}

struct Wired {
    agent: DuplexStream,
    server: DuplexStream,
    shutdown: CancellationToken,
    relay: tokio::task::JoinHandle<RelaySummary>,
}

fn wire(framed: bool) -> Wired {
    let (agent, client) = duplex(4096);
    let (upstream, server) = duplex(4096);
    let shutdown = CancellationToken::new();
    let mut options = RelayOptions::new(shutdown.clone());
    if framed {
        options.rewriter = Some(Box::new(Replace::default()));
        options.search = Some(search());
    }
    #[expect(clippy::disallowed_methods, reason = "the test awaits the task")]
    let relay = tokio::spawn(relay(client, upstream, options));
    Wired {
        agent,
        server,
        shutdown,
        relay,
    }
}

async fn read_exact(io: &mut DuplexStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    io.read_exact(&mut bytes).await.unwrap();
    bytes
}

async fn read_end(io: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    io.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test(start_paused = true)]
async fn an_echo_server_sees_the_value_and_the_agent_does_not() {
    let mut wired = wire(true);
    let mut sent = frame(TEXT, false, true, b"auth __K");
    sent.extend(frame(CONTINUE, true, true, b"EY__"));
    wired.agent.write_all(&sent).await.unwrap();
    // Header, mask and the text that cannot begin a placeholder; then the rest.
    let mut seen = Vec::new();
    while messages_of(&seen).is_none() {
        seen.extend(read_exact(&mut wired.server, 1).await);
    }
    assert_eq!(messages_of(&seen).unwrap(), b"auth s3cr3t-value");
    wired
        .server
        .write_all(&frame(TEXT, true, false, b"auth s3cr3t-value"))
        .await
        .unwrap();
    assert_eq!(
        read_exact(&mut wired.agent, 21).await,
        frame(TEXT, true, false, b"auth [redacted:KEY]")
    );
    // C11: the server's closing reply still arrives.
    wired
        .agent
        .write_all(&frame(CLOSE, true, true, &[3, 232]))
        .await
        .unwrap();
    assert_eq!(
        parse(true, &read_exact(&mut wired.server, 8).await)[0].0,
        Kind::Close
    );
    wired
        .server
        .write_all(
            &[
                frame(TEXT, true, false, b"bye"),
                frame(CLOSE, true, false, &[3, 232]),
            ]
            .concat(),
        )
        .await
        .unwrap();
    assert_eq!(read_end(&mut wired.agent).await.len(), 5 + 4);
    assert_eq!(read_end(&mut wired.server).await, b"");
    let summary = wired.relay.await.unwrap();
    assert_eq!(summary.reason, CloseReason::Closed);
    assert_eq!(summary.to_client, 21 + 5 + 4);
    assert_eq!(summary.to_upstream, seen.len() as u64 + 8);
}

/// The text of the first message, once it is whole.
fn messages_of(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut heads = frame::HeadReader::new(true);
    let mut text = Vec::new();
    while let Ok(Some(head)) = heads.read(&mut bytes) {
        let (payload, rest) = bytes.split_at_checked(usize::try_from(head.len).unwrap())?;
        let mut payload = payload.to_vec();
        apply_mask(&mut payload, head.mask.unwrap(), 0);
        text.extend(payload);
        bytes = rest;
        if head.fin {
            return Some(text);
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn without_rules_bytes_pass_and_half_close_is_kept() {
    let mut wired = wire(false);
    wired.agent.write_all(b"not frames \xff").await.unwrap();
    wired.agent.shutdown().await.unwrap();
    assert_eq!(read_end(&mut wired.server).await, b"not frames \xff");
    wired.server.write_all(b"late answer").await.unwrap();
    drop(wired.server);
    assert_eq!(read_end(&mut wired.agent).await, b"late answer");
    let summary = wired.relay.await.unwrap();
    assert_eq!(
        summary,
        RelaySummary {
            reason: CloseReason::Ended,
            to_upstream: 12,
            to_client: 11
        }
    );
}

#[tokio::test(start_paused = true)]
async fn one_speaking_side_keeps_the_socket_and_silence_ends_it() {
    let mut wired = wire(true);
    for _ in 0..5 {
        tokio::time::sleep(RelayOptions::IDLE - Duration::from_secs(1)).await;
        wired
            .server
            .write_all(&frame(TEXT, true, false, b"tick"))
            .await
            .unwrap();
        read_exact(&mut wired.agent, 6).await;
    }
    let quiet = tokio::time::Instant::now();
    assert_eq!(
        read_end(&mut wired.agent).await,
        frame(CLOSE, true, false, &[3, 233])
    );
    assert!(quiet.elapsed() >= RelayOptions::IDLE - Duration::from_millis(1));
    let told = parse(true, &read_end(&mut wired.server).await);
    assert_eq!(told, [(Kind::Close, true, true, vec![3, 233])]);
    assert_eq!(wired.relay.await.unwrap().reason, CloseReason::Idle);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_the_close_is_dropped() {
    let mut wired = wire(true);
    wired
        .agent
        .write_all(&frame(CLOSE, true, true, &[]))
        .await
        .unwrap();
    assert_eq!(read_exact(&mut wired.server, 6).await.len(), 6);
    assert_eq!(read_end(&mut wired.agent).await, b"");
    assert_eq!(wired.relay.await.unwrap().reason, CloseReason::CloseTimeout);
}

#[tokio::test(start_paused = true)]
async fn revocation_ends_the_relay_at_once() {
    let mut wired = wire(true);
    wired.shutdown.cancel();
    assert_eq!(
        read_end(&mut wired.agent).await,
        frame(CLOSE, true, false, &[3, 233])
    );
    assert_eq!(wired.relay.await.unwrap().reason, CloseReason::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn a_protocol_error_is_told_to_both() {
    let mut wired = wire(true);
    wired
        .agent
        .write_all(&frame(TEXT, true, true, b"ok"))
        .await
        .unwrap();
    wired
        .agent
        .write_all(&frame(TEXT, true, false, b"bad"))
        .await
        .unwrap();
    assert_eq!(
        read_end(&mut wired.agent).await,
        frame(CLOSE, true, false, &[3, 234])
    );
    let seen = parse(true, &read_end(&mut wired.server).await);
    assert_eq!(seen[0].3, b"ok");
    assert_eq!(seen[1].3, [3, 234]);
    let reason = CloseReason::Protocol {
        from: Side::Client,
        error: ProtocolError::Mask,
    };
    assert_eq!(wired.relay.await.unwrap().reason, reason);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_vanishes_ends_the_relay() {
    let mut wired = wire(true);
    drop(wired.agent);
    wired
        .server
        .write_all(&frame(TEXT, true, false, b"anyone?"))
        .await
        .unwrap();
    let summary = wired.relay.await.unwrap();
    assert!(matches!(
        summary.reason,
        CloseReason::Failed {
            side: Side::Client,
            ..
        }
    ));
}
