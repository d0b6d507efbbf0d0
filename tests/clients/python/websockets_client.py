"""websockets: takes proxy and roots from the environment."""
import asyncio, os, sys
from websockets.asyncio.client import connect

column, url, _ = sys.argv[1:4]


async def main():
    headers = {"Authorization": "Bearer " + os.environ["DEMO_KEY"]}
    async with connect(url, additional_headers=headers) as socket:
        for text in ("one", "two"):
            await socket.send(text)
            assert await socket.recv() == text


asyncio.run(main())
print("done")
