"""What is put together here of the server's answers, and what its lists are narrowed by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Mapping, TypedDict

VaultRole = Literal["proxy", "member", "admin"]
ProposalStatus = Literal["pending", "applied", "rejected", "expired"]


@dataclass(frozen=True)
class Credentials:
    keys: list[str]
    #: Values by key; only with ``reveal``.
    values: dict[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class ContainerConfig:
    """What a container needs to send its requests through the proxy."""

    #: Holds the token.
    proxy_url: str = field(repr=False)
    no_proxy: str
    #: PEM text of the CA that the proxy signs with.
    ca_certificate: str = field(repr=False)


@dataclass(frozen=True)
class Session:
    """A short-lived token for one vault."""

    #: Public id: what ``revoke`` takes and the request log shows.
    id: str
    #: Shown once.
    token: str = field(repr=False)
    expires_at: str
    #: Public address of the server.
    address: str
    #: ``None`` where the server's proxy is switched off.
    container_config: ContainerConfig | None


class LogConditions(TypedDict, total=False):
    """Which rows of a request log."""

    #: Only rows with a larger id.
    after: int | None
    #: ``2xx``, ``3xx``, ``4xx``, ``5xx`` or ``err``.
    status_bucket: str | None
    status: int | None
    #: Name of the matched service.
    service: str | None
    ingress: str | None
    #: Public id of a session.
    session: str | None
    #: Name of an agent or address of a person, by whom or by whose token.
    agent: str | None
    #: What the token is called.
    label: str | None
    host: str | None
    #: ``brokered``, ``passed`` or ``refused``.
    decision: str | None
    #: RFC 3339.
    since: str | None
    #: RFC 3339.
    until: str | None


class LogFilter(LogConditions, total=False):
    """Which rows, and how many of them in a page."""

    #: 1 to 200; 50 when absent.
    limit: int | None
    #: Only rows with a smaller id: the ``next_cursor`` of the page before.
    before: int | None


class AuditFilter(TypedDict, total=False):
    """Which records of the audit log."""

    #: 1 to 500; 50 when absent.
    limit: int | None
    #: Only records that are older than this one.
    before: int | None
    #: The oldest records that are newer than this one.
    after: int | None
    #: Id, address or name.
    actor: str | None
    #: ``user``, ``agent``, ``scoped``, ``local`` or ``system``.
    actor_type: str | None
    #: ``noun.verb``, or a noun for all of its verbs.
    action: str | None
    #: A part of the target.
    target: str | None
    #: ``done`` or ``refused``.
    outcome: str | None
    #: The client's address.
    source: str | None
    #: RFC 3339.
    since: str | None
    #: RFC 3339.
    until: str | None


class TierChange(TypedDict, total=False):
    """Numbers of one tier of rate limits to store; 0 is left to the profile."""

    burst: int
    concurrency: int
    max: int
    rate: int
    #: As ``5m`` or ``1h30m``.
    window: str


class _RateLimitChange(TypedDict, total=False):
    #: ``default``, ``strict``, ``loose`` or ``off``.
    profile: str


class RateLimitChange(_RateLimitChange):
    """Rate limits to store, in place of those that are stored."""

    #: By tier.
    overrides: Mapping[str, TierChange]


class LogRetentionChange(TypedDict, total=False):
    max_age_hours: int
    max_rows_per_vault: int


class StorePlaceGiven(TypedDict):
    """Where in Infisical a vault's secrets are."""

    project_id: str
    #: The environment's slug.
    environment: str
    #: The folder; begins with ``/``.
    secret_path: str


class CredentialStore(TypedDict, total=False):
    """Where a vault's credentials come from. ``kind`` is required."""

    #: One of ``credential_stores()``: ``builtin``, the vault's own, or ``infisical``.
    kind: str
    #: For ``infisical``.
    config: StorePlaceGiven
    #: Between two refreshes, 10 to 604800; 60 when absent.
    poll_interval_seconds: int
