//! gRPC's own C core, by Python: all four kinds of call through the CONNECT proxy, with our roots.

use std::sync::{Arc, Mutex, Weak};

use http::Version;

use crate::stage::{Slot, Stage, programs};

fn stage() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, Stage::bearer)
}

const SCRIPT: &str = r#"
import os, queue, sys, grpc
same = lambda message: message
channel = grpc.secure_channel(sys.argv[1], grpc.ssl_channel_credentials())
metadata = (("authorization", "Bearer " + os.environ["DEMO_KEY"]),)
args = dict(metadata=metadata, timeout=20)
serializers = dict(request_serializer=same, response_deserializer=same)
service = "/grpc.testing.Echo/"

def tell(call):
    print(call.code(), call.initial_metadata(), call.trailing_metadata())
    assert ("x-echo-trailer", "kept") in [tuple(pair) for pair in call.trailing_metadata()]

answer, call = channel.unary_unary(service + "Unary", **serializers).with_call(b"one", **args)
assert answer == b"one"
tell(call)

call = channel.unary_stream(service + "ServerStream", **serializers)(b"three", metadata=metadata + (("x-count", "50"),), timeout=20)
assert list(call) == [b"three"] * 50
tell(call)

parts = [bytes([65 + n]) * 20000 for n in range(20)]
answer, call = channel.stream_unary(service + "ClientStream", **serializers).with_call(iter(parts), **args)
assert answer == b"".join(parts)
tell(call)

# Both directions at once: each message is sent only when the one before has come back.
outgoing = queue.SimpleQueue()
call = channel.stream_stream(service + "Bidi", **serializers)(iter(outgoing.get, None), **args)
for n in range(10):
    message = b"ping %d" % n
    outgoing.put(message)
    assert next(call) == message
outgoing.put(None)
assert list(call) == []
tell(call)

try:
    channel.unary_unary(service + "Unary", **serializers)(b"x", metadata=metadata + (("x-grpc-status", "5"),), timeout=20)
    raise SystemExit("a call that must fail did not")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.NOT_FOUND, error
    assert error.details() == "as asked", error
print("done")
"#;

#[test]
fn all_four_kinds_of_call() {
    let stage = stage();
    let outcome = stage
        .client(&[
            &programs::python(),
            "-c",
            SCRIPT,
            &stage.upstream.authority(),
        ])
        .succeed();
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
    for call in ["Unary", "ServerStream", "ClientStream", "Bidi"] {
        let request = stage.saw_bearer(&format!("/grpc.testing.Echo/{call}"));
        assert_eq!(request.version, Version::HTTP_2, "{call}");
        assert_eq!(request.header("te"), Some("trailers"), "{call}");
    }
    stage.sweep(&outcome);
}

#[test]
fn a_refusal_of_ours_is_a_grpc_status() {
    let stage = stage();
    stage.add_service_named(
        "off",
        &stage.upstream.authority(),
        &[
            "--auth-type",
            "passthrough",
            "--path",
            "/grpc.testing.Off/*",
            "--disabled",
        ],
    );
    let outcome = stage
        .client(&[
            &programs::python(),
            "-c",
            r#"
import sys, grpc
channel = grpc.secure_channel(sys.argv[1], grpc.ssl_channel_credentials())
same = lambda message: message
try:
    channel.unary_unary("/grpc.testing.Off/Call", request_serializer=same, response_deserializer=same)(b"x", timeout=20)
except grpc.RpcError as error:
    print(error.code(), error.details())
"#,
            &stage.upstream.authority(),
        ])
        .succeed();
    assert!(outcome.stdout.contains("PERMISSION_DENIED"), "{outcome:?}");
    stage.sweep(&outcome);
}
