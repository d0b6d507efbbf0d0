"""The Anthropic SDK, with its key from the environment."""
import sys
from anthropic import Anthropic

column, _, base = sys.argv[1:4]
client = Anthropic(base_url=base, max_retries=0, timeout=60)
messages = [{"role": "user", "content": "hello"}]
if column == "sse":
    with client.messages.stream(model="gate-" + base.removeprefix("https://"), max_tokens=9, messages=messages) as stream:
        for text in stream.text_stream:
            print(text, flush=True)
elif column == "upload":
    client.messages.create(model="stand-in", max_tokens=9, messages=[{"role": "user", "content": "u" * 5_000_000}])
else:
    answer = client.messages.create(model="stand-in", max_tokens=9, messages=messages)
    assert answer.content[0].text == "event 0 event 1 event 2 ", answer
print("done")
