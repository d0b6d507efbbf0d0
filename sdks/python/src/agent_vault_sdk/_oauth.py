"""Credentials whose values come from a provider by OAuth: what is answered, and the calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypedDict

from . import _read
from ._calls import Call


class OAuthClient(TypedDict, total=False):
    """A client at a provider. What is left out is what is stored already."""

    #: Where tokens come from: https.
    token_url: str
    client_id: str
    client_secret: str
    #: As the provider wants them.
    scopes: str
    #: What stands between scopes; a space when absent.
    scope_separator: str
    #: ``client_secret_post``, ``client_secret_basic`` or ``none``.
    token_auth_method: str


@dataclass(frozen=True)
class OAuthConnected:
    """What an upload of tokens came to."""

    connected: bool
    connected_at: str
    #: When the token ends, where that is known.
    expires_at: str | None
    #: Whether the next token is fetched by itself.
    refreshable: bool


def read_oauth_connected(value: Any, path: str) -> OAuthConnected:
    of = _read.fields(value, path)
    return OAuthConnected(
        connected=of("connected", _read.flag),
        connected_at=of("connected_at", _read.text),
        expires_at=of("expires_at", _read.or_none(_read.text)),
        refreshable=of("refreshable", _read.flag),
    )


@dataclass(frozen=True)
class OAuthConnecting:
    """A consent that a person can be sent for."""

    #: The provider's page, for the browser that made this request.
    authorization_url: str = field(repr=False)
    #: A page for any browser, which leads to the provider's.
    start_url: str = field(repr=False)
    #: Public id of the consent.
    consent: str
    #: Until when a person may come back.
    expires_at: str


def read_oauth_connecting(value: Any, path: str) -> OAuthConnecting:
    of = _read.fields(value, path)
    return OAuthConnecting(
        authorization_url=of("authorization_url", _read.text),
        start_url=of("start_url", _read.text),
        consent=of("consent", _read.text),
        expires_at=of("expires_at", _read.text),
    )


@dataclass(frozen=True)
class OAuthConsent:
    """How a consent is."""

    id: str
    #: `pending`, `used`, `done` or `failed`.
    status: str
    #: Why it came to nothing.
    error: str | None


def read_oauth_consent(value: Any, path: str) -> OAuthConsent:
    of = _read.fields(value, path)
    return OAuthConsent(
        id=of("id", _read.text),
        status=of("status", _read.text),
        error=of("error", _read.or_none(_read.text)),
    )


@dataclass(frozen=True)
class OAuthState:
    """How a credential's grant is."""

    #: Whether it has a token.
    connected: bool
    connected_at: str | None
    #: What went wrong last.
    last_error: str | None
    #: When the token ends, where that is known.
    expires_at: str | None
    #: The consent that was asked about, or the newest, for as long as it is kept.
    consent: OAuthConsent | None


def read_oauth_state(value: Any, path: str) -> OAuthState:
    of = _read.fields(value, path)
    return OAuthState(
        connected=of("connected", _read.flag),
        connected_at=of("connected_at", _read.or_none(_read.text)),
        last_error=of("last_error", _read.or_none(_read.text)),
        expires_at=of("expires_at", _read.or_none(_read.text)),
        consent=of("consent", _read.or_none(read_oauth_consent)),
    )


def connect(
    vault: str | None, key: str, client: OAuthClient, authorization_url: str | None, disable_pkce: bool | None
) -> Call[OAuthConnecting]:
    body = {
        **client,
        "vault": vault,
        "key": key,
        "authorization_url": authorization_url,
        "disable_pkce": disable_pkce,
    }
    return Call("POST", "/v1/credentials/oauth/connect", read_oauth_connecting, body=body)


def status(vault: str | None, key: str, consent: str | None) -> Call[OAuthState]:
    query = {"vault": vault, "key": key, "consent": consent}
    return Call("GET", "/v1/credentials/oauth/status", read_oauth_state, query=query)


def set_tokens(
    vault: str | None, key: str, client: OAuthClient, access_token: str | None, refresh_token: str | None
) -> Call[OAuthConnected]:
    body = {**client, "vault": vault, "key": key, "access_token": access_token, "refresh_token": refresh_token}
    return Call("POST", "/v1/credentials/oauth/tokens", read_oauth_connected, body=body)
