"""httpx, with its HTTP/2."""
import os, sys
import httpx

column, url, _ = sys.argv[1:4]
headers = {"Authorization": "Bearer " + os.environ["DEMO_KEY"]}
with httpx.Client(http2=column != "h1", timeout=60, headers=headers) as client:
    if column == "upload":
        client.post(url, content=b"u" * 5_000_000).raise_for_status()
    elif column == "sse":
        with client.stream("GET", url) as answer:
            for line in answer.iter_lines():
                print(line, flush=True)
    elif column == "download":
        with client.stream("GET", url) as answer:
            print("got", sum(len(part) for part in answer.iter_bytes()))
    else:
        answer = client.get(url)
        answer.raise_for_status()
        assert answer.http_version == ("HTTP/1.1" if column == "h1" else "HTTP/2"), answer.http_version
        print(answer.headers, answer.text)
print("done")
