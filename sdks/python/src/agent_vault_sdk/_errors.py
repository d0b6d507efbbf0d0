"""What this package raises. No error holds a token or a credential."""

from __future__ import annotations

import json
from typing import Mapping


class AgentVaultError(Exception):
    """Everything that this package raises is one of these."""


class TimeoutError(AgentVaultError):  # noqa: A001 - the name that users look for; import it by module
    """The call took longer than its time limit."""


class NetworkError(AgentVaultError):
    """No answer came, or it broke off; ``__cause__`` is what httpx said."""


class StreamEndedError(AgentVaultError):
    """The server has ended a stream because the caller may not read it any more."""


class ApiError(AgentVaultError):
    """The server answered, and not with a success."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        hint: str | None = None,
        candidates: tuple[Mapping[str, str], ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message if hint is None else f"{message} ({hint})")
        self.status = status
        #: The server's word for the error, ``unknown`` when it gave none.
        self.code = code
        self.message = message
        #: What to do about it, where the server knows.
        self.hint = hint
        #: What an ambiguous reference could have meant: ``name`` and ``host``.
        self.candidates = candidates
        #: Seconds that the server asks to wait.
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        rest = (self.status, self.code, self.message, self.hint, self.candidates, self.retry_after)
        return type(self), rest

    @staticmethod
    def parse(status: int, reason: str, body: str, retry_after: float | None) -> ApiError:
        """Reads an answer's body; what is no error of the server's leaves the status line."""
        try:
            value = json.loads(body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            value = {}

        def text(name: str) -> str | None:
            found = value.get(name)
            return found if isinstance(found, str) else None

        said = text("error")
        candidates = value.get("candidates")
        return _KINDS.get(status, ApiError)(
            status,
            text("code") or said or "unknown",
            text("message") or said or reason or f"HTTP status {status}",
            text("hint"),
            tuple(one for one in candidates if isinstance(one, dict)) if isinstance(candidates, list) else (),
            retry_after,
        )


class UnauthorizedError(ApiError):
    """401: no token, or one that is not good any more."""


class ForbiddenError(ApiError):
    """403: the token's holder may not."""


class NotFoundError(ApiError):
    """404: not there, or not for this token."""


class ConflictError(ApiError):
    """409: the state of things forbids it; the name is taken, say, or means several (``candidates``)."""


class VersionConflictError(ApiError):
    """412: what the write rests on has changed since it was read. Read again, look, write again. Nothing was changed."""


class RateLimitedError(ApiError):
    """429: too many requests, or too many of a kind; see ``retry_after``."""


_KINDS: dict[int, type[ApiError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    412: VersionConflictError,
    429: RateLimitedError,
}

_PASSING = frozenset((429, 502, 503, 504))


def is_passing(status: int) -> bool:
    """Whether an answer of this status may be another one soon."""
    return status in _PASSING


def is_transient(error: AgentVaultError) -> bool:
    """Whether the same read may succeed soon."""
    return isinstance(error, (NetworkError, TimeoutError)) or (isinstance(error, ApiError) and is_passing(error.status))
