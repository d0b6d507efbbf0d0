"""What the server answers, as values. Tokens and credentials are left out of ``repr``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

VaultRole = Literal["proxy", "member", "admin"]


class ServiceAuth(TypedDict, total=False):
    """How the credential is put on a request; each value names a credential's key."""

    type: Literal["bearer", "basic", "api-key", "custom", "passthrough"]
    token: str
    username: str
    password: str
    key: str
    header: str
    prefix: str
    headers: dict[str, str]


#: ``in`` is a keyword of Python's, hence this form.
Substitution = TypedDict(
    "Substitution",
    {
        "key": str,
        "placeholder": str,
        "in": list[Literal["path", "query", "header", "body", "websocket"]],
        "headers": list[str],
    },
    total=False,
)


class ServiceSelect(TypedDict, total=False):
    """Which of several services of one host a request gets."""

    agents: list[str]
    placeholder: str


class Service(TypedDict, total=False):
    """A service, as the server writes it. ``name``, ``host`` and ``auth`` are required for a new one."""

    name: str
    host: str
    port: int
    path: str
    enabled: bool
    require_tls: bool
    select: ServiceSelect
    auth: ServiceAuth
    substitutions: list[Substitution]


@dataclass(frozen=True)
class Vault:
    id: str
    name: str
    created_at: str
    #: ``None`` where the caller is no member, or the server does not say.
    role: str | None = None


@dataclass(frozen=True)
class Credentials:
    keys: list[str]
    #: Values by key; only with ``reveal``.
    values: dict[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Stored:
    keys: list[str]
    #: What the operator should know of them.
    warnings: list[str]


@dataclass(frozen=True)
class ServiceRef:
    name: str
    host: str


@dataclass(frozen=True)
class Removed:
    name: str
    host: str
    services_count: int


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


@dataclass(frozen=True)
class SessionInfo:
    id: str
    label: str | None
    vault_role: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    services: list[str] | None
    """``None`` where the token may use every service of the vault."""
    request_budget: int | None
    """``None`` where there is no end to its requests."""
    requests_left: int | None
    sources: list[str]
    """Empty where it may be used from anywhere."""


@dataclass(frozen=True)
class Grant:
    vault: str
    role: str


@dataclass(frozen=True)
class Agent:
    name: str
    #: Role on the instance.
    role: str
    status: str
    vaults: list[Grant]
    created_at: str
    last_used_at: str | None
    revoked_at: str | None
    token_expires_at: str | None


@dataclass(frozen=True)
class AgentToken:
    name: str
    #: Shown once.
    token: str = field(repr=False)
    token_expires_at: str | None


@dataclass(frozen=True)
class VaultAgent:
    name: str
    status: str
    role: str


@dataclass(frozen=True)
class LogRow:
    """One request through the proxy. Never a value of a credential."""

    id: int
    created_at: str
    method: str
    host: str
    path: str
    status: int
    latency_ms: int
    ingress: str
    decision: str
    matched_service: str
    credential_keys: list[str]
    actor_type: str
    actor_id: str
    actor_name: str
    session: str
    label: str
    error_code: str
    warnings: list[str]


@dataclass(frozen=True)
class LogPage:
    logs: list[LogRow]
    #: ``before`` of the next page; ``None`` on the last.
    next_cursor: int | None
    latest_id: int


@dataclass(frozen=True)
class Discovery:
    """What a vault brokers, as its agents see it."""

    vault: str
    services: list[dict[str, Any]]
    available_credentials: list[str]
    #: Keys that enabled services use and the vault lacks.
    missing_credentials: list[str]
    #: What an agent's environment holds instead of each key.
    placeholders: dict[str, str]
