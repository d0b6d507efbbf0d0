"""The whole journey against the real server and through its proxy, sync and async."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from agent_vault_sdk import (
    AgentVault,
    ApiError,
    AsyncAgentVault,
    ContainerConfig,
    Service,
    VaultClient,
    build_proxy_env,
)

from .conftest import PATIENCE, Server

SECRET = "live-key-0123456789abcdef"


def service(server: Server) -> Service:
    return {"name": "demo", "host": server.upstream, "auth": {"type": "bearer", "token": "DEMO_API_KEY"}}


def through_the_proxy(server: Server, config: ContainerConfig, path: str) -> int:
    """The status of the upstream, or of the proxy's refusal."""
    trust = ssl.create_default_context(cadata=config.ca_certificate)
    with httpx.Client(proxy=build_proxy_env(config, "")["HTTPS_PROXY"], verify=trust, trust_env=False) as client:
        try:
            return client.get(f"https://{server.upstream}{path}", timeout=30).status_code
        except httpx.ProxyError as refusal:
            return int(str(refusal)[:3])


def refused(status: int) -> pytest.RaisesExc[ApiError]:
    return pytest.RaisesExc(ApiError, check=lambda error: error.status == status)


def test_a_vault_from_its_making_to_a_request_its_log_and_the_tokens_end(server: Server) -> None:
    with AgentVault(server.token, address=server.url) as owner:
        assert owner.create_vault("journey").name == "journey"
        assert "journey" in [vault.name for vault in owner.list_vaults()]
        agent = owner.agents.create("orchestrator", vaults={"journey": "admin"})

    with AgentVault(agent.token, address=server.url) as av:
        vault = av.vault("journey")
        assert vault.credentials.set({"DEMO_API_KEY": SECRET, "OTHER": "short"}).keys == ["DEMO_API_KEY", "OTHER"]
        assert vault.credentials.list().values is None
        assert vault.credentials.list(reveal=True, key="DEMO_API_KEY").values == {"DEMO_API_KEY": SECRET}
        assert vault.credentials.delete(["OTHER"]) == ["OTHER"]
        assert vault.credentials.list().keys == ["DEMO_API_KEY"]

        assert vault.services.set([service(server)]) == ["demo"]
        assert vault.services.get("demo")["auth"] == service(server)["auth"]
        assert [used.name for used in vault.services.credential_usage("DEMO_API_KEY")] == ["demo"]

        session = vault.sessions.create(ttl_seconds=600, label="job 7")
        config = session.container_config
        assert config is not None and config.no_proxy == "localhost,127.0.0.1,127.0.0.1"
        assert config.proxy_url.endswith(f"@127.0.0.1:{server.proxy_port}")
        assert through_the_proxy(server, config, "/sync") == 200
        assert [r["headers"]["authorization"] for r in server.received() if r["path"] == "/sync"] == [f"Bearer {SECRET}"]

        with VaultClient(session.token, address=server.url) as scoped:
            assert scoped.credentials.list().keys == ["DEMO_API_KEY"]
            assert scoped.discover().available_credentials == ["DEMO_API_KEY"]
            assert [(s.id, s.label) for s in vault.sessions.list()] == [(session.id, "job 7")]

            # Rows are written behind the requests.
            end = time.monotonic() + PATIENCE
            rows = list(vault.logs.all(session=session.id, limit=1))
            while not rows and time.monotonic() < end:
                rows = list(vault.logs.all(session=session.id, limit=1))
            assert [(r.path, r.status, r.matched_service, r.credential_keys) for r in rows] == [
                ("/sync", 200, "demo", ["DEMO_API_KEY"])
            ]

            vault.sessions.revoke(session.id)
            assert vault.sessions.list() == []
            assert through_the_proxy(server, config, "/after") == 407
            with refused(401):
                scoped.credentials.list()

        assert vault.services.set_enabled("demo", False).name == "demo"
        assert vault.services.remove("demo").services_count == 0
        with refused(404):
            vault.services.remove("demo")
        assert vault.services.replace_all([service(server)]) == 1
        vault.services.clear()
        assert vault.services.list() == []


def test_the_same_without_blocking(server: Server) -> None:
    async def journey() -> None:
        async with AsyncAgentVault(server.token, address=server.url) as av:
            await av.create_vault("async")
            vault = av.vault("async")
            await vault.credentials.set({"DEMO_API_KEY": SECRET})
            await vault.services.set([service(server)])
            first, second = await asyncio.gather(vault.sessions.create(label="a"), vault.sessions.create(label="b"))
            assert {s.label for s in await vault.sessions.list()} == {"a", "b"}
            config = first.container_config
            assert config is not None
            assert await asyncio.to_thread(through_the_proxy, server, config, "/async") == 200
            end = time.monotonic() + PATIENCE
            rows = [row async for row in vault.logs.all(session=first.id)]
            while not rows and time.monotonic() < end:
                rows = [row async for row in vault.logs.all(session=first.id)]
            assert [(row.path, row.label) for row in rows] == [("/async", "a")]
            await vault.sessions.revoke(first.id)
            assert await asyncio.to_thread(through_the_proxy, server, config, "/after") == 407
            assert [s.id for s in await vault.sessions.list()] == [second.id]
            with refused(404):
                await vault.services.get("nothing")

    asyncio.run(journey())
    received = [r["headers"]["authorization"] for r in server.received() if r["path"] == "/async"]
    assert received == [f"Bearer {SECRET}"]


def test_agents_come_change_and_go(server: Server) -> None:
    with AgentVault(server.token, address=server.url) as av:
        av.create_vault("crew")
        first = av.agents.create("worker", ttl_seconds=3600)
        assert first.token_expires_at is not None
        agents = av.vault("crew").agents
        agents.add("worker")
        assert [(a.name, a.role) for a in agents.list()] == [("worker", "proxy")]
        agents.set_role("worker", "member")
        assert [(g.vault, g.role) for g in av.agents.get("worker").vaults] == [("crew", "member")]
        agents.remove("worker")
        assert agents.list() == []
        second = av.agents.rotate("worker")
        with AgentVault(first.token, address=server.url) as old, refused(401):
            old.list_vaults()
        with AgentVault(second.token, address=server.url) as new:
            new.list_vaults()
        av.agents.revoke("worker")
        assert [a.revoked_at is None for a in av.agents.list() if a.name == "worker"] == [False]
        av.agents.delete("worker")
        with refused(404):
            av.agents.get("worker")
        av.delete_vault("crew")
        assert "crew" not in [vault.name for vault in av.list_vaults()]


def test_the_examples_of_the_readme_run(server: Server, tmp_path: Path) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", readme, re.S)
    assert len(examples) == 2
    with AgentVault(server.token, address=server.url) as av:
        token = av.agents.create("reader", vaults={"default": "admin"}).token
    script = tmp_path / "example.py"
    script.write_text("\n".join(examples))
    env = {**os.environ, "AGENT_VAULT_ADDR": server.url, "AGENT_VAULT_TOKEN": token}
    done = subprocess.run([sys.executable, script], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "ended" in done.stdout, done
