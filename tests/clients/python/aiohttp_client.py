"""aiohttp: it reads the proxy's address from the environment only with trust_env."""
import asyncio, os, sys
import aiohttp

column, url, _ = sys.argv[1:4]
headers = {"Authorization": "Bearer " + os.environ["DEMO_KEY"]}


async def main():
    async with aiohttp.ClientSession(trust_env=True, headers=headers, raise_for_status=True) as session:
        if column == "websocket":
            async with session.ws_connect(url) as socket:
                for text in ("one", "two"):
                    await socket.send_str(text)
                    assert (await socket.receive_str()) == text
        elif column == "upload":
            async with session.post(url, data=b"u" * 5_000_000) as answer:
                await answer.read()
        elif column == "sse":
            async with session.get(url) as answer:
                async for line in answer.content:
                    print(line.decode(), end="", flush=True)
        elif column == "download":
            async with session.get(url) as answer:
                print("got", sum([len(part) async for part in answer.content.iter_chunked(65536)]))
        else:
            async with session.get(url) as answer:
                print(answer.headers, await answer.text())


asyncio.run(main())
print("done")
