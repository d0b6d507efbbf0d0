"""urllib3: takes no proxy from the environment by itself; this is what its users write (PoolManager would go past it)."""
import os, ssl, sys
from urllib.parse import unquote
from urllib.request import getproxies
import urllib3

column, url, _ = sys.argv[1:4]
proxy = urllib3.util.parse_url(getproxies()["https"])
http = urllib3.ProxyManager(
    f"http://{proxy.host}:{proxy.port}",
    proxy_headers=urllib3.make_headers(proxy_basic_auth=unquote(proxy.auth)),
    ssl_context=ssl.create_default_context(),
)
headers = {"Authorization": "Bearer " + os.environ["DEMO_KEY"]}
if column == "upload":
    answer = http.request("POST", url, body=b"u" * 5_000_000, headers=headers, timeout=60)
    assert answer.status == 200, answer.status
elif column == "download":
    answer = http.request("GET", url, headers=headers, preload_content=False, timeout=60)
    print("got", sum(len(part) for part in answer.stream(65536)))
elif column == "sse":
    answer = http.request("GET", url, headers=headers, preload_content=False, timeout=60)
    for part in answer.read_chunked():
        print(part.decode(), flush=True)
else:
    answer = http.request("GET", url, headers=headers, timeout=60)
    assert answer.status == 200, answer.status
    print(answer.headers, answer.data.decode())
print("done")
