"""gRPC's C core."""
import os, sys
import grpc

column, _, base = sys.argv[1:4]
same = lambda message: message
codec = dict(request_serializer=same, response_deserializer=same)
service = "/grpc.testing.Echo/"
metadata = (("authorization", "Bearer " + os.environ["DEMO_KEY"]),)
channel = grpc.secure_channel(base.removeprefix("https://") + ":443", grpc.ssl_channel_credentials())
piece = b"p" * 50_000
if column == "upload":
    call = channel.stream_stream(service + "Bidi", **codec)(iter([piece] * 100), metadata=metadata, timeout=60)
    assert sum(len(message) for message in call) == 5_000_000
elif column == "download":
    call = channel.unary_stream(service + "ServerStream", **codec)(piece, metadata=metadata + (("x-count", "100"),), timeout=60)
    print("got", sum(len(message) for message in call))
else:
    assert channel.unary_unary(service + "Unary", **codec)(b"one", metadata=metadata, timeout=60) == b"one"
print("done")
