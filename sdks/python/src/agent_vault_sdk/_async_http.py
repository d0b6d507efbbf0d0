"""Sends calls; the event loop goes on meanwhile."""

from __future__ import annotations

import builtins
from contextlib import asynccontextmanager
from typing import Any, AsyncGenerator, AsyncIterator, TypeVar

import anyio
import httpx

from . import _wire
from ._calls import Call
from ._errors import AgentVaultError, NetworkError
from ._stream import Lines, Stream

T = TypeVar("T")


class AsyncConnection:
    """A pool of connections to one server. Nothing of it shows the token. Cancelling a task ends its call."""

    def __init__(self, settings: _wire.Settings, fields: dict[str, str], client: httpx.AsyncClient | None) -> None:
        self.settings = settings
        self._fields = fields
        self._own = client is None
        # A token goes to the address it was given for and nowhere else.
        self._client = client or httpx.AsyncClient(trust_env=False, follow_redirects=False)

    async def close(self) -> None:
        if self._own:
            await self._client.aclose()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def run(self, call: Call[T], vault: str | None = None) -> T:
        return _wire.read(call, await self.send(call, vault))

    async def send(self, call: Call[Any], vault: str | None = None) -> httpx.Response:
        """Whatever its status, the answer is returned."""
        try:
            with anyio.fail_after(self.settings.timeout):
                return await self._send(call, vault)
        except builtins.TimeoutError as cause:
            raise _wire.too_late(call, self.settings.timeout) from cause

    async def rows(self, stream: Stream[T], vault: str | None = None) -> AsyncIterator[T]:
        """What a stream takes, over as many connections as it wants. Leaving the loop closes it."""
        while True:
            try:
                async with aclosing(self._lines(stream, vault)) as lines:
                    async for line in lines:
                        row = stream.take(line)
                        if row is not None:
                            yield row
                pause = stream.closed()
            except AgentVaultError as error:
                pause = stream.failed(error)
            if pause is None:
                return
            await anyio.sleep(pause)

    async def _lines(self, stream: Stream[Any], vault: str | None) -> AsyncGenerator[str, None]:
        """The lines of one answer. The time limit holds until its head is there, then for each silence."""
        call = stream.open()
        arguments = _wire.arguments(call, self.settings.address, vault, self._fields)
        limit = self.settings.timeout
        silence = stream.silence or limit
        lines = Lines(stream.line_feed_only)
        try:
            async with self._client.stream(
                **arguments, timeout=httpx.Timeout(limit, read=silence), follow_redirects=False
            ) as response:
                if not response.is_success:
                    await response.aread()
                    raise _wire.failure(response)
                async for piece in response.aiter_bytes():
                    for line in lines.push(piece):
                        yield line
        except httpx.TimeoutException as cause:
            raise _wire.too_late(call, silence) from cause
        except httpx.HTTPError as cause:
            raise _wire.no_answer(call, cause) from cause
        if stream.line_feed_only and not lines.whole:
            raise NetworkError(f"Network error: {call.method} {call.path}: the answer broke off")

    async def _send(self, call: Call[Any], vault: str | None) -> httpx.Response:
        arguments = _wire.arguments(call, self.settings.address, vault, self._fields)
        for attempt in range(self.settings.retries + 1):
            last = attempt == self.settings.retries
            response: httpx.Response | None = None
            try:
                response = await self._client.request(**arguments, timeout=None, follow_redirects=False)
            except httpx.HTTPError as cause:
                if last or call.method != "GET":
                    raise _wire.no_answer(call, cause) from cause
            pause = None if last else _wire.wait(call, attempt, response)
            if response is not None and pause is None:
                return response
            await anyio.sleep(pause or 0)
        raise AssertionError("the last try returns or raises")


@asynccontextmanager
async def aclosing(generator: AsyncGenerator[T, None]) -> AsyncIterator[AsyncGenerator[T, None]]:
    """As `contextlib.aclosing`, which Python 3.9 lacks."""
    try:
        yield generator
    finally:
        await generator.aclose()
