"""A server of the real binary in a temporary folder, and somebody of each role on it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import requests

BINARY = os.environ.get("AGENT_VAULT_BIN", str(Path(__file__).parents[2] / "target" / "debug" / "agent-vault"))
PATIENCE = 60.0
PASSWORD = "correct horse battery staple"
# Whoever makes the others. No role of ROLES, so that a run as an owner may do what it likes to those.
FOUNDER = "founder@example.com"

# People: instance role, and vault role in `default`.
PEOPLE: dict[str, tuple[str, str | None]] = {
    "owner": ("owner", "admin"),
    "outsider": ("member", None),
    "vault-member": ("member", "member"),
    "vault-admin": ("no-access", "admin"),
}
# Agents: the same.
AGENTS: dict[str, tuple[str, str]] = {
    "agent-proxy": ("no-access", "proxy"),
    "agent-member": ("no-access", "member"),
    "agent-owner": ("owner", "admin"),
}
ROLES = ["anonymous", *PEOPLE, *AGENTS, "vault-token"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Refused(Exception):
    """The server did not do what the stage is made of."""


class Server:
    """One server with its owner. Nothing of it is left after `stop`."""

    def __init__(self, port: int | None = None, **env: str) -> None:
        self.env = env
        self.port = port
        self.folder = Path(tempfile.mkdtemp(prefix="agent-vault-management-"))
        self.child: subprocess.Popen[bytes] | None = None
        self.session = requests.Session()
        self.session.trust_env = False
        self.founder = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "stderr").read_text(errors="replace")

    def start(self) -> Server:
        """Starts, and registers the first owner. Another process may take a port in between; then again with others."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_VAULT_")}
        for _ in range(6):
            port = self.port or free_port()
            with (self.folder / "stderr").open("ab") as stderr:
                self.child = subprocess.Popen(
                    [BINARY, "server", "--port", str(port), "--mitm-port", str(free_port())],
                    env={
                        **inherited,
                        "AGENT_VAULT_HOME": str(self.folder / "home"),
                        "AGENT_VAULT_RATELIMIT_PROFILE": "off",
                        "AGENT_VAULT_RATELIMIT_LOCK": "true",
                        # What a run stores must not send anything to anybody.
                        "AGENT_VAULT_UPSTREAM_PROXY": "http://127.0.0.1:9",
                        **self.env,
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=stderr,
                    stderr=stderr,
                )
            if self.answers(port):
                self.port = port
                break
        else:
            raise Refused(self.log)
        registered = self.post("/v1/auth/register", None, {"email": FOUNDER, "password": PASSWORD})
        self.founder = registered["token"]
        return self

    def answers(self, port: int) -> bool:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self.child is None or self.child.poll() is not None:
                return False
            try:
                if self.session.get(f"http://127.0.0.1:{port}/health", timeout=5).ok:
                    return True
            except requests.RequestException:
                time.sleep(0.05)
        raise Refused(f"the server is not up within {PATIENCE} s: {self.log}")

    def stop(self) -> None:
        if self.child is not None:
            self.child.terminate()
            self.child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def call(self, method: str, path: str, token: str | None, body: Any = None, **headers: str) -> requests.Response:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.session.request(method, self.url + path, json=body, headers=headers, timeout=PATIENCE)

    def post(self, path: str, token: str | None, body: Any, *known: int, **headers: str) -> dict[str, Any]:
        """POSTs what has to succeed, or to fail with one of the known statuses."""
        reply = self.call("POST", path, token, body, **headers)
        if not reply.ok and reply.status_code not in known:
            raise Refused(f"POST {path}: {reply.status_code} {reply.text}")
        answer: dict[str, Any] = reply.json()
        return answer

    def token_of(self, role: str) -> str | None:
        """A live token of a role, made with whatever it needs that is not there (any more)."""
        if role == "anonymous":
            return None
        self.post("/v1/vaults", self.founder, {"name": "work"}, 409)
        self.post("/v1/vaults/default/join", self.founder, None, 409)
        if role in PEOPLE:
            return self.person(role)
        if role in AGENTS:
            return self.agent(role)
        token: str = self.post("/v1/sessions", self.founder, {"vault": "default"})["token"]
        return token

    def person(self, role: str) -> str:
        email = f"{role}@example.com"
        instance_role, vault_role = PEOPLE[role]
        # A login that is refused says that the account is gone, or its password another.
        login = self.call("POST", "/v1/auth/login", None, {"email": email, "password": PASSWORD})
        if not login.ok:
            # The first and the last of these are allowed to find nothing.
            self.call("DELETE", f"/v1/admin/users/{email}", self.founder)
            self.call("PUT", "/v1/admin/settings", self.founder, {"allowed_email_domains": [], "invite_only": False})
            for invite in self.call("GET", "/v1/users/invites?status=pending", self.founder).json()["invites"]:
                self.call("DELETE", f"/v1/users/invites/{invite['id']}", self.founder)
            invited = self.post("/v1/users/invites", self.founder, {"email": email, "role": instance_role})
            link = invited["invite_link"].rsplit("/", 1)[1]
            self.post(f"/v1/users/invites/{link}/accept", None, {"password": PASSWORD})
            login = self.call("POST", "/v1/auth/login", None, {"email": email, "password": PASSWORD})
        if not login.ok:
            raise Refused(f"login of {email}: {login.text}")
        self.post(f"/v1/admin/users/{email}/role", self.founder, {"role": instance_role})
        if vault_role is not None:
            self.post("/v1/vaults/default/users", self.founder, {"email": email, "role": vault_role}, 409)
            self.post(f"/v1/vaults/default/users/{email}/role", self.founder, {"role": vault_role})
        token: str = login.json()["token"]
        return token

    def agent(self, role: str) -> str:
        instance_role, vault_role = AGENTS[role]
        self.call("POST", f"/v1/agents/{role}/delete", self.founder)
        grant = {"vault_name": "default", "vault_role": vault_role}
        made = self.post("/v1/agents", self.founder, {"name": role, "role": instance_role, "vaults": [grant]})
        token: str = made["av_agent_token"]
        return token

    def furnish(self) -> None:
        """Things to read, change and take away: credentials, services, a proposal, an agent, an invitation."""
        self.token_of("agent-proxy")
        bot = self.post("/v1/agents", self.founder, {"name": "bot", "vaults": [{"vault_name": "default", "vault_role": "member"}]}, 409)
        self.post("/v1/credentials", self.founder, {"vault": "default", "credentials": {"API_KEY": "sk-1234567890", "OTHER_KEY": "sk-0987654321"}})
        services = [
            {"name": "one", "host": "api.example.com/v1/*", "auth": {"type": "bearer", "token": "API_KEY"}},
            {"name": "two", "host": "*.example.org:8443", "auth": {"type": "custom", "headers": {"X-Key": "{{ OTHER_KEY }}"}}},
        ]
        self.post("/v1/vaults/default/services", self.founder, {"services": services})
        self.post("/v1/users/invites", self.founder, {"email": "invited@example.com"}, 409)
        if token := bot.get("av_agent_token"):
            wanted = {"credentials": [{"action": "set", "key": "NEW_KEY"}], "message": "please"}
            self.post("/v1/proposals", token, wanted, **{"X-Vault": "default"})
