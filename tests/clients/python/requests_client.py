"""requests: HTTP/1.1."""
import os, sys
import requests

column, url, _ = sys.argv[1:4]
headers = {"Authorization": "Bearer " + os.environ["DEMO_KEY"]}
if column == "upload":
    answer = requests.post(url, data=b"u" * 5_000_000, headers=headers, timeout=60)
    answer.raise_for_status()
elif column == "sse":
    with requests.get(url, headers=headers, stream=True, timeout=60) as answer:
        for line in answer.iter_lines(chunk_size=1):
            print(line.decode(), flush=True)
elif column == "download":
    with requests.get(url, headers=headers, stream=True, timeout=60) as answer:
        print("got", sum(len(part) for part in answer.iter_content(65536)))
else:
    answer = requests.get(url, headers=headers, timeout=60)
    answer.raise_for_status()
    print(answer.headers, answer.text)
print("done")
