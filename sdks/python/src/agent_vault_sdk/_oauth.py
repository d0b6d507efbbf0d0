"""Credentials whose values come from a provider by OAuth: the calls."""

from __future__ import annotations

from typing import TypedDict

from . import _models as m
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


def connect(
    vault: str | None, key: str, client: OAuthClient, authorization_url: str | None, disable_pkce: bool | None
) -> Call[m.OAuthConnecting]:
    body = {
        **client,
        "vault": vault,
        "key": key,
        "authorization_url": authorization_url,
        "disable_pkce": disable_pkce,
    }
    return Call("POST", "/v1/credentials/oauth/connect", m.read_oauth_connecting, body=body)


def status(vault: str | None, key: str, consent: str | None) -> Call[m.OAuthState]:
    query = {"vault": vault, "key": key, "consent": consent}
    return Call("GET", "/v1/credentials/oauth/status", m.read_oauth_state, query=query)


def set_tokens(
    vault: str | None, key: str, client: OAuthClient, access_token: str | None, refresh_token: str | None
) -> Call[m.OAuthConnected]:
    body = {**client, "vault": vault, "key": key, "access_token": access_token, "refresh_token": refresh_token}
    return Call("POST", "/v1/credentials/oauth/tokens", m.read_oauth_connected, body=body)
