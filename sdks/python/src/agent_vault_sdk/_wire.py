"""How a call becomes a request and an answer a value; the same for the sync and the async client."""

from __future__ import annotations

import json
import math
import os
import random
import re
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx

from . import _calls
from ._calls import Call
from ._errors import AgentVaultError, ApiError, NetworkError, TimeoutError, is_passing
from ._models import Readiness
from ._read import Mismatch, Reader, nothing
from ._values import ContainerConfig
from ._version import VERSION

T = TypeVar("T")

#: A longer wait than this, in seconds, is the caller's to take.
LONGEST_WAIT = 5.0
#: What can stand in a header and is no blank.
TOKEN = re.compile(r"[\x21-\x7e]+")


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
    # Here and not by httpx, whose error would hold it.
    if not TOKEN.fullmatch(token):
        raise AgentVaultError("The token has characters that no token has; is there a line break or a blank at its end?")
    if address is None:
        address = os.environ.get("AGENT_VAULT_ADDR") or "http://localhost:14321"
    _check_address(address)
    if timeout is not None and (timeout <= 0 or math.isinf(timeout)):
        timeout = None
    fields = {"authorization": f"Bearer {token}", "user-agent": f"agent-vault-sdk-python/{VERSION}"}
    return Settings(address.rstrip("/"), timeout, max(0, retries), proxy_host), fields


def arguments(call: Call[Any], address: str, vault: str | None, fields: dict[str, str]) -> dict[str, Any]:
    """Of ``httpx.Client.request``."""
    made: dict[str, Any] = {"method": call.method, "url": f"{address}{call.path}"}
    if call.query:
        made["params"] = {name: value for name, value in call.query.items() if value is not None}
    if call.body is not None:
        made["json"] = {name: value for name, value in call.body.items() if value is not None}
    headers = {**(call.headers or {}), **fields}
    if vault is not None:
        try:
            headers["x-vault"] = vault.encode("ascii").decode()
        except UnicodeEncodeError:
            raise AgentVaultError(f"{vault!r} cannot be the name of a vault") from None
    made["headers"] = headers
    return made


def _check_address(address: str) -> None:
    """What is wrong with it is said without showing it: it might hold a password."""
    try:
        parts = urlsplit(address)
        found = parts.hostname
        _ = parts.port
    except ValueError:
        found = None
    if not found or parts.scheme not in ("http", "https"):
        raise AgentVaultError("The address is not a URL as `http://localhost:14321`.")
    if "@" in parts.netloc:
        raise AgentVaultError("The address holds a user or a password; a client has its token.")
    if "?" in address or "#" in address:
        raise AgentVaultError("The address ends before `?` and `#`.")


def backoff(attempt: int, first: float, most: float) -> float:
    """Seconds before try ``attempt``, more each time and never in step with other clients."""
    doubled: float = first * 2 ** min(attempt, 30)
    return min(most, doubled) * (0.5 + random.random() / 2)


def retry_after(response: httpx.Response) -> float | None:
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if seconds >= 0 and math.isfinite(seconds) else None


def wait(call: Call[Any], attempt: int, response: httpx.Response | None) -> float | None:
    """Seconds until the next try; ``None`` when the answer stands.

    Reads are tried again; of the rest only a 429, with which nothing was done.
    """
    seconds = backoff(attempt, 0.2, LONGEST_WAIT)
    if response is not None:
        status = response.status_code
        if not (status == 429 or (call.method == "GET" and is_passing(status))):
            return None
        seconds = max(seconds, retry_after(response) or 0)
    elif call.method != "GET":
        return None
    return seconds if seconds <= LONGEST_WAIT else None


def no_answer(call: Call[Any], cause: httpx.HTTPError) -> AgentVaultError:
    return NetworkError(f"Network error: {call.method} {call.path}: {cause}")


def too_late(call: Call[Any], timeout: float | None) -> AgentVaultError:
    return TimeoutError(f"{call.method} {call.path} timed out after {timeout} s")


def failure(response: httpx.Response) -> ApiError:
    """An answer that is no success. Were the token in it, it would not be in the error."""
    text = response.text
    token = response.request.headers.get("authorization", "").removeprefix("Bearer ")
    if token:
        text = text.replace(token, "[token]")
    return ApiError.parse(response.status_code, response.reason_phrase, text, retry_after(response))


def read(call: Call[T], response: httpx.Response) -> T:
    if not response.is_success:
        raise failure(response)
    tag = response.headers.get("etag", "").strip('"')
    if call.etag is None or not (tag.isascii() and tag.isdigit()):
        return parse(call, response.text, call.read)

    def tagged(value: Any, path: str) -> T:
        if isinstance(value, dict):
            value[call.etag] = int(tag)
        return call.read(value, path)

    return parse(call, response.text, tagged)


def parse(call: Call[Any], body: str, reader: Reader[T]) -> T:
    """Reads JSON. What is wrong with it is said without showing it, and without a cause that would."""
    try:
        value = json.loads(body)
    except ValueError:
        raise AgentVaultError(
            f"{call.method} {call.path}: the answer is not JSON; is this the address of Agent Vault?"
        ) from None
    try:
        return reader(value, "")
    except Mismatch as cause:
        raise AgentVaultError(
            f"{call.method} {call.path}: the answer is not as described: {cause}; is the server of this version?"
        ) from None


def plain(response: httpx.Response) -> str:
    """An answer that is text."""
    if not response.is_success:
        raise failure(response)
    return response.text


def readiness(response: httpx.Response) -> Readiness:
    """Also 503 says what there is to say."""
    call = _calls.ready()
    return parse(call, response.text, call.read) if response.status_code == 503 else read(call, response)


CA = Call[None]("GET", "/v1/mitm/ca.pem", nothing)


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


def host_of(address: str, proxy_host: str | None) -> str:
    """The proxy's, without the brackets of an IPv6 address: so is it compared."""
    host = proxy_host if proxy_host is not None else urlsplit(address).hostname
    if not host or any(mark in host for mark in "/@?# "):
        raise AgentVaultError(f"{host!r} is not the name of a host")
    return host.removeprefix("[").removesuffix("]")


def container(ca: Authority, bare: str, vault: str, token: str) -> ContainerConfig:
    shown = f"[{bare}]" if ":" in bare else bare
    proxy = f"http://{quote(token, safe='')}:{quote(vault, safe='')}@{shown}:{ca.port}"
    return ContainerConfig(proxy, f"localhost,127.0.0.1,{bare}", ca.pem)


def whole(response: httpx.Response, body: bytes) -> httpx.Response:
    """A streamed answer with its body, which is decoded already."""
    kept = [(name, value) for name, value in response.headers.multi_items() if name != "content-encoding"]
    return httpx.Response(
        response.status_code, headers=kept, content=body, request=response.request, extensions=response.extensions
    )
