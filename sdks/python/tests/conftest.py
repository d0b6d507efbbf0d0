"""A server of the real binary, a TLS upstream and an external store, on free ports of loopback and in a temporary folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, TypeVar

import httpx
import pytest

TARGET = Path(__file__).parents[3] / "target" / "debug"
BINARY = os.environ.get("AGENT_VAULT_BIN", str(TARGET / "agent-vault"))
PATIENCE = 60.0
T = TypeVar("T")


@dataclass
class Server:
    binary: str
    url: str
    proxy_port: int
    token: str
    upstream: str
    folder: Path

    def received(self) -> list[dict[str, Any]]:
        """Requests that reached the upstream."""
        return [json.loads(line) for line in (self.folder / "received.jsonl").read_text().splitlines()]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def until(what: str, ready: Callable[[], T | None]) -> T:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = ready()
        if value is not None:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {PATIENCE} s")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    children: list[subprocess.Popen[bytes]] = []
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AGENT_VAULT_", "INFISICAL_"))}

    def run(program: str, *arguments: str | Path, **env: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [program, *map(str, arguments)],
            env={**inherited, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(folder / "stderr").open("ab"),
        )
        children.append(child)
        return child

    try:
        address = folder / "address"
        run(
            str(TARGET / "echo-upstream"),
            *("--ca-out", folder / "ca.pem", "--log", folder / "received.jsonl", "--addr-out", address),
        )
        found = until("the upstream", lambda: (address.read_text().strip() or None) if address.exists() else None)
        place = folder / "store"
        run(sys.executable, Path(__file__).parents[2] / "infisical.py", place)
        store = until("the store", lambda: place.read_text() if place.exists() else None)
        for attempt in range(6):
            port, proxy_port = free_port(), free_port()
            child = run(
                BINARY,
                *("server", "--port", str(port), "--mitm-port", str(proxy_port)),
                AGENT_VAULT_HOME=str(folder / "home"),
                AGENT_VAULT_DEV_MODE="true",
                AGENT_VAULT_NETWORK_ALLOWLIST="127.0.0.0/8,::1",
                AGENT_VAULT_UPSTREAM_CA=str(folder / "ca.pem"),
                AGENT_VAULT_RATELIMIT_PROFILE="off",
                INFISICAL_URL=store,
                INFISICAL_UNIVERSAL_AUTH_CLIENT_ID="client-1",
                INFISICAL_UNIVERSAL_AUTH_CLIENT_SECRET="secret-1",
            )
            url = f"http://127.0.0.1:{port}"

            def up(child: subprocess.Popen[bytes] = child, url: str = url) -> bool | None:
                if child.poll() is not None:
                    return False
                try:
                    return True if httpx.get(f"{url}/health", trust_env=False).is_success else None
                except httpx.HTTPError:
                    return None

            # Another process may have taken a port in between.
            if until("the server", up):
                break
        else:
            raise AssertionError((folder / "stderr").read_text())
        registered = httpx.post(
            f"{url}/v1/auth/register",
            json={"email": "owner@example.com", "password": "correct horse battery staple"},
            trust_env=False,
            timeout=PATIENCE,
        )
        assert registered.status_code == 201, registered.text
        yield Server(BINARY, url, proxy_port, registered.json()["token"], f"localhost:{found.rpartition(':')[2]}", folder)
    finally:
        for child in children:
            child.terminate()
            child.wait()
