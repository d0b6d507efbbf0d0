"""Every method, held to docs/openapi.json: what it sends is described there, and what it reads is there to be read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx

from agent_vault_sdk import AgentVault, Service

TREE = Path(__file__).parents[3]
DOCUMENT: dict[str, Any] = json.loads((TREE / "docs/openapi.json").read_text())
LEFT_OUT: dict[str, list[str]] = json.loads((TREE / "sdks/left_out.json").read_text())
USED: set[str] = set()


def main(schema: dict[str, Any]) -> dict[str, Any]:
    """Without references and the alternative `null`; of several alternatives the first."""
    while True:
        if "$ref" in schema:
            schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            continue
        choices = [one for one in schema.get("oneOf", schema.get("anyOf", [])) if one.get("type") != "null"]
        if not choices:
            return schema
        schema = choices[0]


def kinds(schema: dict[str, Any]) -> list[str]:
    found = schema.get("type", "object")
    return found if isinstance(found, list) else [found]


def properties(schema: dict[str, Any]) -> dict[str, Any]:
    found = main(schema)
    own = dict(found.get("properties", {}))
    for part in found.get("allOf", []):
        own.update(properties(part))
    return own


def example(schema: dict[str, Any]) -> Any:
    """A value in which everything is set: what is read from it and is not described is a `KeyError`."""
    found = main(schema)
    kind = next(one for one in kinds(found) if one != "null")
    if kind == "array":
        return [example(found["items"])]
    plain: dict[str, Any] = {"integer": 1, "number": 1, "boolean": True, "string": "text"}
    return plain[kind] if kind in plain else {name: example(value) for name, value in properties(found).items()}


def fits(value: Any, schema: dict[str, Any], where: str) -> None:
    found = main(schema)
    if isinstance(value, list):
        for item in value:
            fits(item, found["items"], f"{where}[]")
    elif isinstance(value, dict):
        known = properties(found)
        for name, inner in value.items() if known else ():
            assert name in known, f"{where}.{name} is not described"
            fits(inner, known[name], f"{where}.{name}")
        for name in found.get("required", []):
            assert name in value, f"{where}.{name} is required"
    else:
        kind = {bool: "boolean", int: "integer", str: "string"}[type(value)]
        assert kind in kinds(found), f"{where}: {kind}, not {kinds(found)}"


def operation(method: str, path: str) -> dict[str, Any]:
    found = [
        (template.count("{"), methods[method])
        for template, methods in DOCUMENT["paths"].items()
        if method in methods and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
    ]
    assert found, f"{method} {path} is not described"
    described: dict[str, Any] = min(found, key=lambda one: one[0])[1]
    return described


def answer(request: httpx.Request) -> httpx.Response:
    described = operation(request.method.lower(), request.url.path)
    what = described["operationId"]
    USED.add(what)
    parameters = {one["name"]: one for one in described.get("parameters", []) if one["in"] == "query"}
    for name in request.url.params:
        assert name in parameters, f"{what}: ?{name} is not described"
    for name, one in parameters.items():
        assert not one.get("required") or name in request.url.params, f"{what}: ?{name} is required"
    if request.content:
        fits(json.loads(request.content), described["requestBody"]["content"]["application/json"]["schema"], what)
    else:
        assert not described.get("requestBody", {}).get("required"), f"{what}: a body is required"
    status, good = next((code, one) for code, one in described["responses"].items() if code.startswith("2"))
    schema = good.get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return httpx.Response(int(status), text="PEM")
    return httpx.Response(int(status), json=example(schema))


def test_the_package_and_the_description_of_the_api_agree() -> None:
    av = AgentVault("t", address="http://vault.test", client=httpx.Client(transport=httpx.MockTransport(answer)))
    vault = av.vault("v")
    service: Service = {
        "name": "n",
        "host": "h",
        "port": 1,
        "path": "/p",
        "enabled": True,
        "require_tls": True,
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
    av.list_vaults()
    av.create_vault("v")
    av.delete_vault("v")
    av.agents.list()
    av.agents.get("a")
    av.agents.create("a", role="member", vaults={"v": "proxy"}, ttl_seconds=300)
    av.agents.rotate("a", ttl_seconds=300)
    av.agents.revoke("a")
    av.agents.delete("a")
    vault.discover()
    vault.sessions.list()
    vault.sessions.create(ttl_seconds=300, label="l")
    vault.sessions.revoke("id")
    assert vault.credentials.list(reveal=True, key="K").values == {"text": "text"}
    vault.credentials.set({"K": "v"}, expires_at="t")
    vault.credentials.delete(["K"])
    vault.services.list()
    vault.services.get("s")
    vault.services.set([service])
    vault.services.replace_all([service])
    vault.services.set_enabled("s", False)
    vault.services.remove("s")
    vault.services.clear()
    vault.services.credential_usage("K")
    vault.agents.list()
    vault.agents.add("a", "proxy")
    vault.agents.set_role("a", "member")
    vault.agents.remove("a")
    vault.logs.list(
        limit=1,
        before=1,
        after=1,
        status_bucket="2xx",
        status=200,
        service="s",
        ingress="i",
        session="s",
        agent="a",
        label="l",
        host="h",
        decision="d",
        since="t",
        until="t",
    )
    every = [one["operationId"] for methods in DOCUMENT["paths"].values() for one in methods.values()]
    without = [name for names in LEFT_OUT.values() for name in names]
    assert sorted([*USED, *without]) == sorted(every), "each operation is either used or left out on purpose"
