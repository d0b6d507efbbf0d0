"""Services as the server and service files write them: sent and answered unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Mapping, TypedDict


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
        "in": "list[Literal['path', 'query', 'header', 'body', 'websocket']]",
        "headers": "list[str]",
    },
    total=False,
)


class ServiceSelect(TypedDict, total=False):
    """Which of several services of one host a request gets."""

    agents: list[str]
    placeholder: str


class ServiceScrub(TypedDict, total=False):
    """How responses are searched for what was injected."""

    #: ``True`` when absent.
    enabled: bool
    #: What becomes of a response that cannot be searched; ``refuse`` when absent.
    undecodable: Literal["refuse", "pass"]


class Service(TypedDict, total=False):
    """A service. ``name``, ``host`` and ``auth`` are required for a new one."""

    name: str
    host: str
    port: int
    path: str
    enabled: bool
    require_tls: bool
    select: ServiceSelect
    scrub: ServiceScrub
    auth: ServiceAuth
    substitutions: list[Substitution]


class ProposedService(TypedDict, total=False):
    """A change to a service that a proposal asks for. ``action`` is required, for ``set`` also ``host``."""

    action: Literal["set", "delete"]
    #: Without one a ``set`` adopts the service with the same host, port and path, and a ``delete`` goes by host.
    name: str
    host: str
    port: int
    path: str
    #: Alone, with ``host``: enables or disables a known service.
    enabled: bool
    require_tls: bool
    select: ServiceSelect
    auth: ServiceAuth
    substitutions: list[Substitution]


class OAuthSlot(TypedDict, total=False):
    """A client at a provider. Its secret comes from the person who connects it."""

    #: Where tokens come from: https.
    token_url: str
    #: Where a person consents: https. Without it, a person gives tokens by hand.
    authorization_url: str
    client_id: str
    #: As the provider wants them.
    scopes: str
    #: What stands between scopes; a space when absent.
    scope_separator: str
    #: ``client_secret_post`` or ``client_secret_basic``.
    token_auth_method: str
    #: Leaves PKCE (RFC 7636) out.
    disable_pkce: bool


class CredentialSlot(TypedDict, total=False):
    """A credential that a proposal needs, or that goes. ``action`` and ``key`` are required."""

    action: Literal["set", "delete"]
    key: str
    #: ``static``, also when absent, or ``oauth``.
    type: str
    #: With ``type: oauth``, and only then.
    oauth: OAuthSlot
    #: What it is, up to 500 bytes.
    description: str
    #: Where a person gets one: an http or https URL, up to 500 bytes.
    obtain: str
    #: How, up to 1000 bytes.
    obtain_instructions: str
    #: The value, when the agent has one. Sealed on arrival, never shown.
    value: str


@dataclass(frozen=True)
class FieldChange:
    """A field of a service that differs."""

    field: str
    before: Any
    after: Any


def diff_service(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[FieldChange]:
    """What differs between two forms of a service, by its fields; ``None`` is no service."""
    one, other = before or {}, after or {}
    names = [*one, *(name for name in other if name not in one)]
    return [
        FieldChange(name, one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)
    ]
