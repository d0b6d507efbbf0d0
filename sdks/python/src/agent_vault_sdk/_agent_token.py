"""An agent's own tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import _read


@dataclass(frozen=True)
class AgentToken:
    """A live token of an agent."""

    #: Public id, for revocation and for the log's `session`.
    id: str
    label: str | None
    created_at: str
    #: `null` when it never ends.
    expires_at: str | None
    last_used_at: str | None


def read_agent_token(value: Any, path: str) -> AgentToken:
    of = _read.fields(value, path)
    return AgentToken(
        id=of("id", _read.text),
        label=of("label", _read.or_none(_read.text)),
        created_at=of("created_at", _read.text),
        expires_at=of("expires_at", _read.or_none(_read.text)),
        last_used_at=of("last_used_at", _read.or_none(_read.text)),
    )
