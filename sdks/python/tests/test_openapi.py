"""Every method, held to docs/openapi.json both ways.

What it sends is described there and everything described is sent, what it reads is there and everything there is read. The
rest is in left_out.json.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Iterable, Iterator

import httpx
import pytest

from agent_vault_sdk import (
    AgentVault,
    AsyncAgentVault,
    AsyncVaultClient,
    CredentialSlot,
    CredentialStore,
    LogConditions,
    OAuthClient,
    ProposedService,
    RateLimitChange,
    Service,
    VaultClient,
)

TREE = Path(__file__).parents[3]
DOCUMENT: dict[str, Any] = json.loads((TREE / "docs/openapi.json").read_text())
LEFT_OUT: list[str] = [name for names in json.loads((TREE / "sdks/left_out.json").read_text()).values() for name in names]
USED: set[str] = set()
SENT: set[str] = set()
ANSWERED: set[str] = set()
READ: set[str] = set()


def main(schema: dict[str, Any], dry: bool = False) -> dict[str, Any]:
    """Without references and the alternative `null`; of several alternatives the first, or the last for a dry run."""
    while True:
        if "$ref" in schema:
            schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            continue
        choices = [one for one in schema.get("oneOf", schema.get("anyOf", [])) if one.get("type") != "null"]
        if not choices:
            return schema
        schema = choices[-1 if dry else 0]


def kinds(schema: dict[str, Any]) -> list[str]:
    found = schema.get("type", "object")
    return found if isinstance(found, list) else [found]


def properties(schema: dict[str, Any]) -> dict[str, Any]:
    found = main(schema)
    own = dict(found.get("properties", {}))
    for part in found.get("allOf", []):
        own.update(properties(part))
    return own


def example(schema: dict[str, Any], dry: bool = False) -> Any:
    """A value in which everything is set."""
    found = main(schema, dry)
    kind = next(one for one in kinds(found) if one != "null")
    if kind == "array":
        return [example(found["items"])]
    plain: dict[str, Any] = {"integer": 1, "number": 1, "boolean": True, "string": "text"}
    if kind in plain:
        return plain[kind]
    made = {name: example(value) for name, value in properties(found).items()}
    if not made and found.get("additionalProperties"):
        return {"key": example(found["additionalProperties"])}
    return made


def paths(value: Any, path: str) -> Iterator[str]:
    """Where ``value`` has something."""
    if isinstance(value, list):
        for one in value:
            yield from paths(one, f"{path}[]")
    elif isinstance(value, dict):
        for name, one in value.items():
            yield f"{path}.{name}"
            yield from paths(one, f"{path}.{name}")


def places(schema: dict[str, Any], path: str) -> Iterator[str]:
    """Where a value of the schema may have something."""
    found = main(schema)
    if "items" in found:
        yield from places(found["items"], f"{path}[]")
    elif found.get("additionalProperties") and not properties(found):
        yield from places(found["additionalProperties"], f"{path}{{}}")
    for name, one in properties(found).items():
        yield f"{path}.{name}"
        yield from places(one, f"{path}.{name}")


def fits(value: Any, schema: dict[str, Any], where: str) -> None:
    """Notes what is there in ``SENT``."""
    found = main(schema)
    if isinstance(value, list):
        for item in value:
            fits(item, found["items"], f"{where}[]")
    elif isinstance(value, dict):
        known = properties(found)
        if not known:
            for inner in value.values() if found.get("additionalProperties") else ():
                fits(inner, found["additionalProperties"], f"{where}{{}}")
            return
        for name, inner in value.items():
            assert name in known, f"{where}.{name} is not described"
            SENT.add(f"{where}.{name}")
            fits(inner, known[name], f"{where}.{name}")
        for name in found.get("required", []):
            assert name in value, f"{where}.{name} is required"
    elif value is not None:
        kind = {bool: "boolean", int: "integer", str: "string"}[type(value)]
        assert kind in kinds(found), f"{where}: {kind}, not {kinds(found)}"
    else:
        assert "null" in kinds(schema) or {"type": "null"} in schema.get("oneOf", []), f"{where}: null is not described"


def operation(method: str, path: str) -> dict[str, Any]:
    found = [
        (template.count("{"), methods[method])
        for template, methods in DOCUMENT["paths"].items()
        if method in methods and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
    ]
    assert found, f"{method} {path} is not described"
    described: dict[str, Any] = min(found, key=lambda one: one[0])[1]
    return described


class Watched(dict[str, Any]):
    """An object of an answer; what is read of it is in ``READ``."""

    def __init__(self, value: dict[str, Any], path: str) -> None:
        super().__init__({name: watched(one, f"{path}.{name}") for name, one in value.items()})
        self._path = path

    def get(self, name: str, default: Any = None) -> Any:
        READ.add(f"{self._path}.{name}")
        return super().get(name, default)

    def items(self) -> Any:
        READ.update(f"{self._path}.{name}" for name in self)
        return super().items()


def watched(value: Any, path: str) -> Any:
    if isinstance(value, list):
        return [watched(one, f"{path}[]") for one in value]
    return Watched(value, path) if isinstance(value, dict) else value


def touch(value: Any) -> None:
    """Reads what was handed on as it came."""
    if isinstance(value, dict):
        for inner in value.values():
            touch(inner)
        if isinstance(value, Watched):
            value.items()
    elif isinstance(value, list):
        for inner in value:
            touch(inner)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            touch(getattr(value, name))


CURRENT = [""]


def answer(request: httpx.Request) -> httpx.Response:
    described = operation(request.method.lower(), request.url.path)
    what: str = described["operationId"]
    CURRENT[0] = what
    USED.add(what)
    parameters = described.get("parameters", [])
    query = {one["name"]: one for one in parameters if one["in"] == "query"}
    for name, value in request.url.params.items():
        assert name in query, f"{what}: ?{name} is not described"
        assert "integer" not in kinds(query[name]["schema"]) or value.isdigit(), f"{what}: ?{name}"
        SENT.add(f"{what}?{name}")
    for name, one in query.items():
        assert not one.get("required") or name in request.url.params, f"{what}: ?{name} is required"
    SENT.update(f"{what}:{one['name']}" for one in parameters if one["in"] == "header" and one["name"] in request.headers)
    if request.content:
        fits(json.loads(request.content), described["requestBody"]["content"]["application/json"]["schema"], what)
    else:
        assert not described.get("requestBody", {}).get("required"), f"{what}: a body is required"
    status, good = next((code, one) for code, one in described["responses"].items() if code.startswith("2"))
    row = example({"$ref": "#/components/schemas/LogItem"})
    if what in ("logs_stream", "logs_export"):
        ANSWERED.update(paths(row, f"{what} -> "))
        text = json.dumps(row) + "\n"
        return httpx.Response(200, text=text if what == "logs_export" else f"retry: 1\n\nevent: log\ndata: {text}\n")
    if what == "audit_export":
        return httpx.Response(200, text='{"head":1}\n{"seq":1}\n')
    schema = good.get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return httpx.Response(int(status), text="PEM")
    value = example(schema, "dry_run" in request.url.params)
    ANSWERED.update(paths(value, f"{what} -> "))
    return httpx.Response(int(status), json=value, headers={"etag": '"7"'})


def tidy(names: set[str]) -> set[str]:
    return {name.replace(" -> .", " -> ") for name in names}


def differ(one: Iterable[str], other: Iterable[str], rule: str) -> None:
    """Says which are in one alone; and so what has to be added to the package or to left_out.json, or taken from there."""
    first, second = Counter(one), Counter(other)
    assert first == second, f"{rule}: {sorted([*(first - second), *(second - first)])}"


def test_models_are_what_the_description_makes_them() -> None:
    subprocess.run([sys.executable, TREE / "sdks/models.py", "--check"], check=True)


def test_the_async_half_has_the_same_methods() -> None:
    for one, other in ((AgentVault, AsyncAgentVault), (VaultClient, AsyncVaultClient)):
        plain = {name for name in dir(one) if not name.startswith("_")}
        assert plain == {name for name in dir(other) if not name.startswith("_")}


def test_the_package_and_the_description_of_the_api_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    import agent_vault_sdk._wire as wire

    av = AgentVault("t", address="http://vault.test", client=httpx.Client(transport=httpx.MockTransport(answer)))
    vault = av.vault("v")
    service: Service = {
        "name": "n",
        "host": "h",
        "port": 1,
        "path": "/p",
        "enabled": True,
        "require_tls": True,
        "scrub": {"enabled": True, "undecodable": "pass"},
        "select": {"agents": ["a"], "placeholder": "p"},
        "auth": {
            "type": "api-key",
            "token": "K",
            "username": "K",
            "password": "K",
            "key": "K",
            "header": "h",
            "prefix": "p",
            "headers": {"h": "{{ K }}"},
        },
        "substitutions": [{"key": "K", "placeholder": "p", "in": ["header"], "headers": ["h"]}],
    }
    proposed: ProposedService = {
        "action": "set",
        "name": "n",
        "host": "h",
        "port": 1,
        "path": "/p",
        "enabled": True,
        "require_tls": True,
        "select": service["select"],
        "auth": service["auth"],
        "substitutions": service["substitutions"],
    }
    slot: CredentialSlot = {
        "action": "set",
        "key": "K",
        "type": "static",
        "description": "d",
        "obtain": "https://o",
        "obtain_instructions": "o",
        "value": "v",
        "oauth": {
            "token_url": "https://t",
            "authorization_url": "https://a",
            "client_id": "c",
            "scopes": "a b",
            "scope_separator": " ",
            "token_auth_method": "client_secret_post",
            "disable_pkce": True,
        },
    }
    of_provider: OAuthClient = {
        "token_url": "https://t",
        "client_id": "c",
        "client_secret": "s",
        "scopes": "a b",
        "scope_separator": " ",
        "token_auth_method": "none",
    }
    store: CredentialStore = {
        "kind": "infisical",
        "config": {"project_id": "p", "environment": "e", "secret_path": "/"},
        "poll_interval_seconds": 60,
    }
    conditions: LogConditions = {
        "after": 1,
        "status_bucket": "2xx",
        "status": 200,
        "service": "s",
        "ingress": "i",
        "session": "s",
        "agent": "a",
        "label": "l",
        "host": "h",
        "decision": "d",
        "since": "t",
        "until": "t",
    }
    from_start: LogConditions = {**conditions, "after": 0}
    limits: RateLimitChange = {
        "profile": "default",
        "overrides": {"auth": {"burst": 1, "concurrency": 1, "max": 1, "rate": 1, "window": "5m"}},
    }

    class Loads:
        @staticmethod
        def loads(text: str) -> Any:
            return watched(json.loads(text), f"{CURRENT[0]} -> ")

    monkeypatch.setattr(wire, "json", Loads)
    expected = {"n": "1", "m": None}
    results: list[Any] = [
        av.list_vaults(),
        av.list_all_vaults(),
        av.create_vault("v", credential_store=store),
        av.delete_vault("v"),
        av.rename_vault("v", "w"),
        av.join_vault("v"),
        av.vault_context("v"),
        av.credential_stores(),
        av.catalog(),
        av.me(),
        av.status(),
        av.health(),
        av.ready(),
        av.skill(),
        av.agents.list(),
        av.agents.get("a"),
        av.agents.create("a", role="member", vaults={"v": "proxy"}, ttl_seconds=300, label="l"),
        av.agents.rotate("a", ttl_seconds=300, overlap_seconds=60, label="l"),
        av.agents.rename("a", "b"),
        av.agents.set_role("a", "member"),
        av.users.list(),
        av.users.get("a@b"),
        av.users.set_role("a@b", "owner"),
        av.users.delete("a@b", agents="keep"),
        av.invites.list(status="pending"),
        av.invites.create("a@b", role="member", vaults={"v": "proxy"}),
        av.invites.again("i"),
        av.audit.list(
            limit=1,
            before=1,
            after=1,
            actor="a",
            actor_type="user",
            action="a",
            target="t",
            outcome="done",
            source="s",
            since="t",
            until="t",
        ),
        list(av.audit.export(after=1, limit=2)),
        av.audit.verify(),
        av.settings.get(),
        av.settings.set(
            invite_only=True,
            allowed_email_domains=["b"],
            logs_retention={"max_age_hours": 1, "max_rows_per_vault": 1},
            rate_limit=limits,
        ),
        av.settings.preview_rate_limit(limits),
        av.settings.test_mail(to="a@b"),
        av.keys.state(),
        av.keys.rotate(),
        vault.discover(),
        vault.settings.get(),
        vault.settings.set(unmatched_host_policy="deny"),
        vault.sessions.list(),
        vault.sessions.create(ttl_seconds=300, label="l", services=["s"], request_budget=1, sources=["10.0.0.0/8"]),
        vault.credentials.list(reveal=True, key="K"),
        vault.credentials.describe(),
        vault.credentials.set({"K": "v"}, expires_at="t"),
        vault.credentials.delete(["K"]),
        vault.credentials.versions("K"),
        vault.credentials.roll_back("K", 1),
        vault.credentials.expire("K", "t"),
        vault.credentials.delete_version("K", 1),
        vault.services.list(),
        vault.services.get("s"),
        vault.services.set([service], if_revision=7, expected=expected),
        vault.services.replace_all([service], if_revision=7, expected=expected),
        vault.services.set_enabled("s", False, if_version="7"),
        vault.services.remove("s", if_version="7"),
        vault.services.clear(if_revision=7),
        vault.services.dry_run.set([service], if_revision=7, expected=expected),
        vault.services.dry_run.replace_all([service], if_revision=7, expected=expected),
        vault.services.dry_run.set_enabled("s", False, if_version="7"),
        vault.services.dry_run.remove("s", if_version="7"),
        vault.services.dry_run.clear(if_revision=7),
        vault.services.credential_usage("K"),
        vault.services.test("https://h/", agent="a", headers={"h": "v"}),
        vault.agents.list(),
        vault.agents.set_role("a", "member"),
        vault.users.list(),
        vault.users.add("a@b", "proxy"),
        vault.proposals.list(status="pending"),
        vault.proposals.get(1),
        vault.proposals.create(services=[proposed], credentials=[slot], message="m", user_message="u"),
        vault.proposals.wait(1),
        vault.proposals.reviews(status="pending"),
        vault.proposals.review(1),
        vault.proposals.approve(1, credentials={"K": "v"}, revision=7),
        vault.proposals.reject(1, reason="r"),
        vault.logs.list(limit=1, before=1, **conditions),
        list(vault.logs.export(**conditions)),
        next(iter(vault.logs.follow(**from_start))),
        vault.logs.hosts(limit=1),
        av.agents.tokens("a"),
        vault.oauth.connect("K", authorization_url="https://a", disable_pkce=True, **of_provider),
        vault.oauth.status("K", consent="c"),
        vault.oauth.set_tokens("K", access_token="a", refresh_token="r", **of_provider),
        vault.store.get(),
        vault.store.connect(store),
        vault.store.disconnect(),
        vault.store.sync(),
    ]
    for hooks in (vault.webhooks, av.webhooks):
        results += [
            hooks.list(),
            hooks.get("h"),
            hooks.create("https://h", description="d", events=["limit.hit"]),
            hooks.change("h", url="https://h", description="d", events=[], enabled=True),
            hooks.rotate("h", overlap_seconds=60),
            hooks.test("h"),
            hooks.deliveries("h", limit=1),
        ]
        hooks.remove("h")
    touch(results)
    av.agents.revoke_token("a", "id")
    av.leave_vault("v")
    av.agents.revoke("a")
    av.agents.delete("a")
    av.users.remove_second_factor("a@b")
    av.invites.revoke("i")
    vault.agents.add("a", "proxy")
    vault.agents.remove("a")
    vault.users.set_role("a@b", "member")
    vault.users.remove("a@b")
    vault.sessions.revoke("id")

    def of(kind: str) -> list[str]:
        def is_of(name: str) -> str:
            return "answer" if " -> " in name else "field" if re.search("[.?:]", name) else "operation"

        return [name for name in LEFT_OUT if is_of(name) == kind]

    operations = [one for methods in DOCUMENT["paths"].values() for one in methods.values()]
    every = [one["operationId"] for one in operations]
    differ([*USED, *of("operation")], every, "each operation is either used or left out on purpose")
    described: set[str] = set()
    for one in operations:
        name = one["operationId"]
        if name in USED:
            marks = {"query": "?", "header": ":"}
            described.update(f"{name}{marks[p['in']]}{p['name']}" for p in one.get("parameters", []) if p["in"] in marks)
            if "requestBody" in one:
                described.update(places(one["requestBody"]["content"]["application/json"]["schema"], name))
    differ([*SENT, *of("field")], described, "each field is either sent or left out on purpose")
    unread = tidy(ANSWERED) - tidy(READ)
    differ(unread, of("answer"), "each field of an answer is either read or left out on purpose")
