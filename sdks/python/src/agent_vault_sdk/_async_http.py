"""Sends calls; the event loop goes on meanwhile."""

from __future__ import annotations

import builtins
from typing import Any, TypeVar

import anyio
import httpx

from . import _wire
from ._calls import Call

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

    async def run(self, call: Call[T], vault: str | None = None) -> T:
        return _wire.read(call, await self.send(call, vault))

    async def send(self, call: Call[Any], vault: str | None = None) -> httpx.Response:
        """Whatever its status, the answer is returned."""
        try:
            with anyio.fail_after(self.settings.timeout):
                return await self._send(call, vault)
        except builtins.TimeoutError as cause:
            raise _wire.too_late(call, self.settings.timeout) from cause

    async def _send(self, call: Call[Any], vault: str | None) -> httpx.Response:
        arguments = _wire.arguments(call, self.settings.address, vault)
        arguments["headers"] = {**arguments.get("headers", {}), **self._fields}
        left = _wire.tries(call, self.settings.retries)
        attempt = 0
        while True:
            left -= 1
            response: httpx.Response | None = None
            try:
                response = await self._client.request(**arguments, timeout=None, follow_redirects=False)
            except httpx.HTTPError as cause:
                if left == 0:
                    raise _wire.no_answer(call, cause) from cause
            pause = _wire.wait(attempt, response) if left else None
            if response is not None and pause is None:
                return response
            await anyio.sleep(pause or 0)
            attempt += 1
