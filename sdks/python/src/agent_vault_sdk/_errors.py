"""What this package raises. No error holds a token or a credential."""

from __future__ import annotations

import json
from typing import Mapping


class AgentVaultError(Exception):
    """Everything that this package raises is one of these."""


class TimeoutError(AgentVaultError):  # noqa: A001 - the name that users look for; import it by module
    """The call took longer than its time limit."""


class NetworkError(AgentVaultError):
    """No answer came; ``__cause__`` is what httpx said."""


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
        super().__init__(message)
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

    @classmethod
    def parse(cls, status: int, reason: str, body: str, retry_after: float | None) -> ApiError:
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

        code = text("error")
        candidates = value.get("candidates")
        return cls(
            status,
            code or "unknown",
            text("message") or code or reason or f"HTTP status {status}",
            text("hint"),
            tuple(candidates) if isinstance(candidates, list) else (),
            retry_after,
        )
