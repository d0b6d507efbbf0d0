"""What the client does by itself, with answers of the test's."""

from __future__ import annotations

import asyncio
import re
import runpy
from pathlib import Path
from typing import Callable

import httpx
import pytest

import agent_vault_sdk as sdk
from agent_vault_sdk import AgentVault, AgentVaultError, ApiError, AsyncAgentVault, NetworkError, VaultClient

TOKEN = "av_agt_secret-token"
HERE = Path(__file__).parents[1]
Answer = httpx.Response | Exception


def scripted(*answers: Answer) -> tuple[Callable[[httpx.Request], httpx.Response], list[httpx.Request]]:
    """Gives these answers in turn, the last for ever, and keeps the requests."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = answers[min(len(seen), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    return handle, seen


def client(*answers: Answer, address: str = "http://vault.test/", retries: int = 2) -> tuple[AgentVault, list[httpx.Request]]:
    handle, seen = scripted(*answers)
    http = httpx.Client(transport=httpx.MockTransport(handle))
    return AgentVault(TOKEN, address=address, client=http, retries=retries), seen


VAULTS = httpx.Response(200, json={"vaults": []})
BUSY = httpx.Response(503, json={"error": "busy"})


def test_versions_and_the_async_half_are_up_to_date() -> None:
    assert f'version = "{sdk.VERSION}"' in (HERE / "pyproject.toml").read_text()
    made = runpy.run_path(str(HERE / "scripts" / "make_async.py"))["made"]()
    assert made == (HERE / "src/agent_vault_sdk/_async.py").read_text(), "run scripts/make_async.py"


def test_token_and_address_come_from_arguments_then_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENT_VAULT_TOKEN", raising=False)
    with pytest.raises(AgentVaultError, match="token is required"):
        AgentVault()
    monkeypatch.setenv("AGENT_VAULT_TOKEN", "from-environment")
    monkeypatch.setenv("AGENT_VAULT_ADDR", "http://from.environment//")
    monkeypatch.setenv("AGENT_VAULT_VAULT", "chosen")
    with pytest.raises(AgentVaultError, match="token is required"):
        AgentVault("")
    handle, seen = scripted(httpx.Response(200, json={"keys": []}))
    VaultClient(client=httpx.Client(transport=httpx.MockTransport(handle))).credentials.list()
    assert str(seen[0].url) == "http://from.environment/v1/credentials?vault=chosen"
    assert (seen[0].headers["authorization"], seen[0].headers["x-vault"]) == ("Bearer from-environment", "chosen")
    assert seen[0].headers["user-agent"] == f"agent-vault-sdk-python/{sdk.VERSION}"


def test_only_reads_are_tried_again() -> None:
    av, seen = client(httpx.ConnectError("refused"), BUSY, VAULTS)
    assert av.list_vaults() == [] and len(seen) == 3
    av, seen = client(BUSY)
    with pytest.raises(ApiError):
        av.create_vault("a")
    assert len(seen) == 1
    av, seen = client(httpx.Response(429, headers={"retry-after": "60"}))
    with pytest.raises(ApiError) as caught:
        av.list_vaults()
    assert caught.value.retry_after == 60 and len(seen) == 1


def test_so_it_is_without_blocking() -> None:
    async def reads() -> None:
        handle, seen = scripted(httpx.ConnectError("refused"), BUSY, VAULTS)
        http = httpx.AsyncClient(transport=httpx.MockTransport(handle))
        av = AsyncAgentVault(TOKEN, address="http://vault.test", client=http)
        assert await av.list_vaults() == [] and len(seen) == 3

        async def never(_: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError

        endless = httpx.AsyncClient(transport=httpx.MockTransport(never))
        av = AsyncAgentVault(TOKEN, address="http://vault.test", client=endless, timeout=0.03)
        with pytest.raises(sdk.TimeoutError, match=r"GET /v1/vaults timed out after 0.03 s"):
            await av.list_vaults()

    asyncio.run(reads())


def test_errors_are_typed() -> None:
    cause = httpx.ConnectError("refused")
    av, _ = client(cause, retries=0)
    with pytest.raises(NetworkError, match="refused") as lost:
        av.list_vaults()
    assert lost.value.__cause__ is cause
    av, _ = client(httpx.ReadTimeout("slow"))
    with pytest.raises(sdk.TimeoutError):
        av.list_vaults()
    candidates = [{"name": "a", "host": "x"}]
    body = {"error": "ambiguous", "message": "which?", "hint": "say the name", "candidates": candidates}
    av, _ = client(httpx.Response(409, json=body))
    with pytest.raises(ApiError) as caught:
        av.vault("v").services.remove("x")
    error = caught.value
    assert (error.status, error.code, error.message, error.hint) == (409, "ambiguous", "which?", "say the name")
    assert list(error.candidates) == candidates
    av, _ = client(httpx.Response(500, text="<html>"))
    with pytest.raises(ApiError, match="Internal Server Error"):
        av.list_vaults()
    av, _ = client(httpx.Response(200, text="hello"))
    with pytest.raises(AgentVaultError, match="is this its address"):
        av.list_vaults()


def test_tokens_and_values_show_nowhere() -> None:
    minted = httpx.Response(200, json={"id": "i", "token": "av_sess_secret", "expires_at": "t", "av_addr": "a"})
    av, _ = client(httpx.Response(200, text="PEM"), minted, httpx.Response(401, json={"error": "unauthorized"}))
    session = av.vault("v").sessions.create()
    with pytest.raises(ApiError) as caught:
        av.list_vaults()
    shown = f"{session!r} {session.container_config!r} {av!r} {av.vault('v')!r} {caught.value!r} {caught.value}"
    assert session.token == "av_sess_secret" and "secret" not in shown
    assert "secret" not in repr(sdk.Credentials(["K"], {"K": "secret"}))


def test_a_name_is_one_segment_of_the_path() -> None:
    av, seen = client(httpx.Response(200, json={"removed": "n", "removed_host": "h", "services_count": 0}))
    av.delete_vault("a b/c")
    av.vault("v").services.remove("*.example.com")
    assert [r.url.raw_path for r in seen] == [b"/v1/vaults/a%20b%2Fc", b"/v1/vaults/v/services/*.example.com"]
    for name in ("", ".", ".."):
        with pytest.raises(AgentVaultError):
            av.delete_vault(name)
    assert len(seen) == 2
    with pytest.raises(TypeError, match="colour"):
        av.vault("v").logs.list(colour="red")


def test_a_failed_read_of_the_ca_leaves_no_token_and_is_not_remembered() -> None:
    minted = httpx.Response(200, json={"id": "i", "token": "a/b", "expires_at": "t", "av_addr": "a"})
    pem = httpx.Response(200, text="PEM", headers={"x-mitm-port": "15000"})
    failed = httpx.Response(500, json={"error": "internal"})
    av, seen = client(failed, httpx.Response(404), minted, pem, minted, minted, address="http://[::1]:14321")
    sessions = av.vault("v w").sessions
    with pytest.raises(ApiError):
        sessions.create()
    assert len(seen) == 1
    assert sessions.create().container_config is None
    config = sessions.create().container_config
    assert config == sdk.ContainerConfig("http://a%2Fb:v%20w@[::1]:15000", "localhost,127.0.0.1,::1", "PEM")
    elsewhere = sessions.create(proxy_host="host.docker.internal").container_config
    assert elsewhere is not None and elsewhere.proxy_url.endswith("@host.docker.internal:15000")
    assert len(seen) == 6


def test_the_childs_environment() -> None:
    env = sdk.build_proxy_env(sdk.ContainerConfig("p", "n", "PEM"), "/ca.pem")
    assert list(env) == [
        *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "NODE_USE_ENV_PROXY", "OPENCLAW_PROXY_URL", "SSL_CERT_FILE"),
        *("NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "DENO_CERT"),
    ]
    # Every spelling that `agent-vault run` knows.
    source = (HERE.parents[1] / "crates/agent-vault/src/run/environment.rs").read_text()
    wanted = {"NODE_USE_ENV_PROXY"}
    for name in ("PROXY", "NO_PROXY", "BUNDLE"):
        found = re.search(rf"\nconst {name}: &\[&str\] = &\[(.*?)\];", source, re.S)
        assert found is not None
        wanted.update(re.findall(r'"(\w+)"', found[1]))
    assert set(sdk.build_proxy_env(sdk.ContainerConfig("p", "n", "PEM"), "/ca.pem", every_runtime=True)) == wanted
