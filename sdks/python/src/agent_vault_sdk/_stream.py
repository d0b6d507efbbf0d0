"""Answers that go on: lines, events, and where a reader is in them. Pure; the two clients read with it."""

from __future__ import annotations

import codecs
import random
import re
import time
from typing import Any, Generic, Mapping, TypeVar

from . import _calls, _wire
from ._calls import Call
from ._errors import AgentVaultError, ApiError, StreamEndedError, TimeoutError, is_transient
from ._models import LogRow, read_log_row
from ._read import at, integer, or_none, text

T = TypeVar("T")

#: A longer line than this is none of the server's.
MAX_LINE = 4 << 20
#: The server speaks every 15 seconds; after three times that it is gone.
SILENCE = 45.0
#: Between two connections, in seconds, unless the server says otherwise, and at most.
FIRST_WAIT = 2.0
LONGEST_WAIT = 30.0
#: Failures in a row after which a stream is given up: about four minutes.
MOST_FAILURES = 10
#: Seconds between two looks at a proposal, at most.
LONGEST_INTERVAL = 15.0


class Lines:
    """Cuts pieces into lines, whatever pieces they come in."""

    def __init__(self, line_feed_only: bool) -> None:
        """With ``line_feed_only`` a carriage return is a character as any other."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        # A carriage return at the end of a piece may be half of a line's end.
        self._ends = re.compile("\n" if line_feed_only else "\r\n|\n|\r(?!\\Z)")
        self._rest = ""

    def push(self, piece: bytes) -> list[str]:
        """The lines that end in this piece."""
        *lines, self._rest = self._ends.split(self._rest + self._decoder.decode(piece))
        if len(self._rest) > MAX_LINE:
            raise AgentVaultError("a line of the answer has no end")
        return lines

    @property
    def whole(self) -> bool:
        """Whether all ended with a line's end."""
        return not self._rest


class Events:
    """Makes events of lines (HTML, server-sent events)."""

    def __init__(self) -> None:
        self._type = ""
        self._data: list[str] = []
        #: Seconds that the server wants between two connections.
        self.retry: float | None = None

    def push(self, line: str) -> tuple[str, str] | None:
        """Type and data of the event that this line ends."""
        if not line:
            event = (self._type or "message", "\n".join(self._data)) if self._data else None
            self._type, self._data = "", []
            return event
        name, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if name == "event":
            self._type = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value) / 1000
        elif name == "data":
            self._data.append(value)
            if sum(map(len, self._data)) > MAX_LINE:
                raise AgentVaultError("an event of the answer has no end")
        return None


class Stream(Generic[T]):
    """Where a reader is in an answer that goes on, over all of its connections."""

    line_feed_only = True
    #: Longest silence in seconds; ``None``: the client's time limit.
    silence: float | None = None

    def open(self) -> Call[Any]:
        """The call that goes on where this is."""
        raise NotImplementedError

    def take(self, line: str) -> T | None:
        raise NotImplementedError

    def closed(self) -> float | None:
        """The answer has ended: seconds until the next; ``None``: that was all."""
        return None

    def failed(self, error: AgentVaultError) -> float:
        """It broke off: seconds until the next try, else raises."""
        raise NotImplementedError


class _Export(Stream[T]):
    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._failures = 0

    def failed(self, error: AgentVaultError) -> float:
        if self._failures >= self._retries or not is_transient(error):
            raise error
        self._failures += 1
        return _wire.backoff(self._failures, 0.2, 5.0)


class LogExport(_Export[LogRow]):
    """Every row, oldest first."""

    def __init__(self, retries: int, vault: str, conditions: Mapping[str, Any]) -> None:
        super().__init__(retries)
        self._vault = vault
        self._conditions = {**conditions}
        self._call = self.open()

    def open(self) -> Call[Any]:
        self._call = _calls.export_logs(self._vault, self._conditions)
        return self._call

    def take(self, line: str) -> LogRow:
        row = _wire.parse(self._call, line, read_log_row)
        self._conditions["after"] = row.id
        self._failures = 0
        return row


class AuditExport(_Export[str]):
    """Every record as it came, oldest first."""

    def __init__(self, retries: int, after: int | None, limit: int | None) -> None:
        super().__init__(retries)
        self._after = after
        self._limit = limit
        self._call = self.open()

    def open(self) -> Call[Any]:
        self._call = _calls.export_audit(self._after, self._limit)
        return self._call

    def take(self, line: str) -> str:
        seq = _wire.parse(self._call, line, at("seq", or_none(integer)))
        self._failures = 0
        # The first line is no record.
        if seq is None:
            self._after = self._after or 0
        else:
            self._after = seq
            self._limit = None if self._limit is None else self._limit - 1
        return line


class LogFollow(Stream[LogRow]):
    """Rows as they come, behind the row ``last``."""

    line_feed_only = False
    silence = SILENCE

    def __init__(self, vault: str, last: int, conditions: Mapping[str, Any]) -> None:
        self._vault = vault
        self._last = last
        self._conditions = {name: value for name, value in conditions.items() if name != "after"}
        self._first = FIRST_WAIT
        self._failures = 0
        self._call = self.open()

    def open(self) -> Call[Any]:
        self._events = Events()
        self._call = _calls.follow_logs(self._vault, self._last, self._conditions)
        return self._call

    def take(self, line: str) -> LogRow | None:
        self._failures = 0
        event = self._events.push(line)
        self._first = self._events.retry if self._events.retry is not None else self._first
        if event is None:
            return None
        if event[0] == "end":
            raise StreamEndedError(_wire.parse(self._call, event[1], at("error", text)))
        if event[0] != "log":
            return None
        row = _wire.parse(self._call, event[1], read_log_row)
        if row.id <= self._last:
            return None
        self._last = row.id
        return row

    def closed(self) -> float:
        return _wire.backoff(self._failures, self._first, LONGEST_WAIT)

    def failed(self, error: AgentVaultError) -> float:
        self._failures += 1
        wanted = (error.retry_after or 0) if isinstance(error, ApiError) else 0
        if self._failures >= MOST_FAILURES or wanted > LONGEST_WAIT or not is_transient(error):
            raise error
        return max(wanted, self.closed())


class Waiting:
    """When to look at a proposal again."""

    def __init__(self, id: int, timeout: float | None, interval: float) -> None:
        self._id = id
        self._timeout = timeout
        self._end = None if timeout is None or timeout <= 0 else time.monotonic() + timeout
        self._interval = max(0.01, interval)

    def failed(self, error: AgentVaultError) -> None:
        if not is_transient(error):
            raise error

    def pause(self) -> float:
        seconds = self._interval * (0.8 + random.random() * 0.4)
        self._interval = min(LONGEST_INTERVAL, self._interval * 1.5)
        if self._end is None:
            return seconds
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"nobody has decided on proposal {self._id} within {self._timeout} s")
        return min(seconds, left)
