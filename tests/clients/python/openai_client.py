"""The OpenAI SDK, with its key from the environment."""
import io, sys
from openai import OpenAI

column, _, base = sys.argv[1:4]
client = OpenAI(base_url=base + "/v1", max_retries=0, timeout=60)
if column == "websocket":
    # The SDK's own message is whatever comes back: the upstream echoes it.
    with client.realtime.connect(model="stand-in") as connection:
        connection.send_raw('{"type":"response.done"}')
        assert b"response.done" in connection.recv_bytes()
elif column == "sse":
    model = "gate-" + base.removeprefix("https://")
    stream = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}], stream=True)
    for chunk in stream:
        print(chunk.choices[0].delta.content or "", flush=True)
elif column == "upload":
    client.files.create(file=("f.bin", io.BytesIO(b"u" * 5_000_000)), purpose="user_data")
elif column == "download":
    print("got", len(client.files.content("file-1").read()))
else:
    answer = client.responses.create(model="stand-in", input="hello")
    assert answer.output_text == "event 0 event 1 event 2 ", answer
print("done")
