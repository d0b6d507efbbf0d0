"""Sends calls and waits for them."""

from __future__ import annotations

import time
from typing import Any, TypeVar

import httpx

from . import _wire
from ._calls import Call

T = TypeVar("T")


class Connection:
    """A pool of connections to one server. Nothing of it shows the token."""

    def __init__(self, settings: _wire.Settings, fields: dict[str, str], client: httpx.Client | None) -> None:
        self.settings = settings
        self._fields = fields
        self._own = client is None
        # A token goes to the address it was given for and nowhere else.
        self._client = client or httpx.Client(trust_env=False, follow_redirects=False)

    def close(self) -> None:
        if self._own:
            self._client.close()

    def run(self, call: Call[T], vault: str | None = None) -> T:
        return _wire.read(call, self.send(call, vault))

    def send(self, call: Call[Any], vault: str | None = None) -> httpx.Response:
        """Whatever its status, the answer is returned."""
        limit = self.settings.timeout
        end = None if limit is None else time.monotonic() + limit
        arguments = _wire.arguments(call, self.settings.address, vault)
        arguments["headers"] = {**arguments.get("headers", {}), **self._fields}
        left = _wire.tries(call, self.settings.retries)
        attempt = 0
        while True:
            left -= 1
            response: httpx.Response | None = None
            try:
                response = self._once(call, arguments, end)
            except httpx.TimeoutException as cause:
                raise _wire.too_late(call, limit) from cause
            except httpx.HTTPError as cause:
                if left == 0:
                    raise _wire.no_answer(call, cause) from cause
            pause = _wire.wait(attempt, response) if left else None
            if response is not None and pause is None:
                return response
            pause = pause or 0
            if end is not None and time.monotonic() + pause >= end:
                raise _wire.too_late(call, limit)
            time.sleep(pause)
            attempt += 1

    def _once(self, call: Call[Any], arguments: dict[str, Any], end: float | None) -> httpx.Response:
        rest = None if end is None else max(0.001, end - time.monotonic())
        with self._client.stream(**arguments, timeout=rest, follow_redirects=False) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                # One read has its own limit; a trickle of them has this.
                if end is not None and time.monotonic() >= end:
                    raise _wire.too_late(call, self.settings.timeout)
                body += chunk
        return _wire.whole(response, bytes(body))
