"""How a call becomes a request and an answer a value; the same for the sync and the async client."""

from __future__ import annotations

import math
import os
import random
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx

from ._calls import Call
from ._errors import AgentVaultError, ApiError, NetworkError, TimeoutError
from ._models import ContainerConfig
from ._version import VERSION

T = TypeVar("T")

#: A longer wait than this, in seconds, is the caller's to take.
LONGEST_WAIT = 5.0
RETRIED = frozenset((429, 502, 503, 504))


@dataclass(frozen=True)
class Settings:
    """How a client reaches the server, its token kept apart."""

    address: str
    timeout: float | None
    retries: int
    proxy_host: str | None


def settings(
    token: str | None, address: str | None, timeout: float | None, retries: int, proxy_host: str | None
) -> tuple[Settings, dict[str, str]]:
    """Fills in from the environment; the second part is what is sent with every request."""
    if token is None:
        token = os.environ.get("AGENT_VAULT_TOKEN")
    if not token:
        raise AgentVaultError("A token is required: pass `token` or set AGENT_VAULT_TOKEN.")
    if address is None:
        address = os.environ.get("AGENT_VAULT_ADDR") or "http://localhost:14321"
    if timeout is not None and (timeout <= 0 or math.isinf(timeout)):
        timeout = None
    fields = {"authorization": f"Bearer {token}", "user-agent": f"agent-vault-sdk-python/{VERSION}"}
    return Settings(address.rstrip("/"), timeout, max(0, retries), proxy_host), fields


def arguments(call: Call[Any], address: str, vault: str | None) -> dict[str, Any]:
    """Of ``httpx.Client.request``."""
    made: dict[str, Any] = {"method": call.method, "url": f"{address}{call.path}"}
    if call.query:
        made["params"] = {name: value for name, value in call.query.items() if value is not None}
    if call.body is not None:
        made["json"] = {name: value for name, value in call.body.items() if value is not None}
    if vault is not None:
        made["headers"] = {"x-vault": vault}
    return made


def tries(call: Call[Any], retries: int) -> int:
    """Only reads are tried again."""
    return 1 + (retries if call.method == "GET" else 0)


def retry_after(response: httpx.Response) -> float | None:
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if seconds >= 0 and math.isfinite(seconds) else None


def wait(attempt: int, response: httpx.Response | None) -> float | None:
    """Seconds until the next try; ``None`` when the answer stands."""
    seconds: float = 0.1 * 2**attempt * (1 + random.random())
    if response is not None:
        if response.status_code not in RETRIED:
            return None
        seconds = max(seconds, retry_after(response) or 0)
    return seconds if seconds <= LONGEST_WAIT else None


def no_answer(call: Call[Any], cause: httpx.HTTPError) -> AgentVaultError:
    return NetworkError(f"Network error: {call.method} {call.path}: {cause}")


def too_late(call: Call[Any], timeout: float | None) -> AgentVaultError:
    return TimeoutError(f"{call.method} {call.path} timed out after {timeout} s")


def failure(response: httpx.Response) -> ApiError:
    return ApiError.parse(response.status_code, response.reason_phrase, response.text, retry_after(response))


def read(call: Call[T], response: httpx.Response) -> T:
    if not response.is_success:
        raise failure(response)
    try:
        return call.read(response.json())
    except (ValueError, KeyError, TypeError) as cause:
        raise AgentVaultError(
            f"{call.method} {call.path}: the answer is not what Agent Vault answers; is this its address?"
        ) from cause


CA = Call[None]("GET", "/v1/mitm/ca.pem", lambda _: None)


@dataclass(frozen=True)
class Authority:
    pem: str
    port: int


def authority(response: httpx.Response) -> Authority | None:
    """``None`` when the server's proxy is switched off, which only 404 says."""
    if response.status_code == 404:
        return None
    if not response.is_success:
        raise failure(response)
    text = response.headers.get("x-mitm-port", "")
    port = int(text) if text.isascii() and text.isdigit() else 0
    return Authority(response.text, port if 1 <= port <= 65_535 else 14_322)


def container(ca: Authority, address: str, proxy_host: str | None, vault: str, token: str) -> ContainerConfig:
    host = proxy_host if proxy_host is not None else urlsplit(address).hostname
    if not host or any(mark in host for mark in "/@ "):
        raise AgentVaultError(f"{host!r} is not the name of a host")
    # Without brackets: so is an IPv6 address compared.
    bare = host.removeprefix("[").removesuffix("]")
    shown = f"[{bare}]" if ":" in bare else bare
    proxy = f"http://{quote(token, safe='')}:{quote(vault, safe='')}@{shown}:{ca.port}"
    return ContainerConfig(proxy, f"localhost,127.0.0.1,{bare}", ca.pem)


def whole(response: httpx.Response, body: bytes) -> httpx.Response:
    """A streamed answer with its body, which is decoded already."""
    kept = [(name, value) for name, value in response.headers.multi_items() if name != "content-encoding"]
    return httpx.Response(
        response.status_code, headers=kept, content=body, request=response.request, extensions=response.extensions
    )
