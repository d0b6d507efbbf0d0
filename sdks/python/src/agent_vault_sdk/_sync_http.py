"""Sends calls and waits for them."""

from __future__ import annotations

import time
from typing import Any, Iterator, TypeVar

import httpx

from . import _wire
from ._calls import Call
from ._errors import AgentVaultError, NetworkError
from ._stream import Lines, Stream

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

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def run(self, call: Call[T], vault: str | None = None) -> T:
        return _wire.read(call, self.send(call, vault))

    def send(self, call: Call[Any], vault: str | None = None) -> httpx.Response:
        """Whatever its status, the answer is returned."""
        limit = self.settings.timeout
        end = None if limit is None else time.monotonic() + limit
        arguments = _wire.arguments(call, self.settings.address, vault, self._fields)
        for attempt in range(self.settings.retries + 1):
            last = attempt == self.settings.retries
            response: httpx.Response | None = None
            try:
                response = self._once(call, arguments, end)
            except httpx.TimeoutException as cause:
                raise _wire.too_late(call, limit) from cause
            except httpx.HTTPError as cause:
                if last or call.method != "GET":
                    raise _wire.no_answer(call, cause) from cause
            pause = None if last else _wire.wait(call, attempt, response)
            if response is not None and pause is None:
                return response
            pause = pause or 0
            if end is not None and time.monotonic() + pause >= end:
                raise _wire.too_late(call, limit)
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def rows(self, stream: Stream[T], vault: str | None = None) -> Iterator[T]:
        """What a stream takes, over as many connections as it wants. Leaving the loop closes it."""
        while True:
            try:
                for line in self._lines(stream, vault):
                    row = stream.take(line)
                    if row is not None:
                        yield row
                pause = stream.closed()
            except AgentVaultError as error:
                pause = stream.failed(error)
            if pause is None:
                return
            time.sleep(pause)

    def _lines(self, stream: Stream[Any], vault: str | None) -> Iterator[str]:
        """The lines of one answer. The time limit holds until its head is there, then for each silence."""
        call = stream.open()
        arguments = _wire.arguments(call, self.settings.address, vault, self._fields)
        limit = self.settings.timeout
        silence = stream.silence or limit
        lines = Lines(stream.line_feed_only)
        try:
            with self._client.stream(
                **arguments, timeout=httpx.Timeout(limit, read=silence), follow_redirects=False
            ) as response:
                if not response.is_success:
                    response.read()
                    raise _wire.failure(response)
                for piece in response.iter_bytes():
                    yield from lines.push(piece)
        except httpx.TimeoutException as cause:
            raise _wire.too_late(call, silence) from cause
        except httpx.HTTPError as cause:
            raise _wire.no_answer(call, cause) from cause
        if stream.line_feed_only and not lines.whole:
            raise NetworkError(f"Network error: {call.method} {call.path}: the answer broke off")

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
