#!/usr/bin/env python3
"""Makes what both packages know of the server's answers of docs/openapi.json: types, and readers that check them.

    sdks/models.py           writes models.ts, readers.ts and _models.py
    sdks/models.py --check   says whether they are what would be written

Needs nothing but Python. What the packages send is written by hand and held to the document by their tests.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs/openapi.json"
TYPESCRIPT = HERE / "typescript/src/models.ts"
READERS = HERE / "typescript/src/readers.ts"
PYTHON = HERE / "python/src/agent_vault_sdk/_models.py"

#: Schemas that methods read, with their names in the packages. What they hold is read too.
ROOTS = {
    "AddedUser": "VaultUserGrant",
    "AgentDetailBody": "AgentDetail",
    "AgentItem": "Agent",
    "AgentRoleChange": "RoleChange",
    "AgentTokenItem": "AgentToken",
    "AuditItem": "AuditRecord",
    "AuditPageBody": "AuditPage",
    "AuditVerdictBody": "AuditVerdict",
    "ChangedAgentRole": "VaultRoleChange",
    "ChangedService": "ServiceSwitched",
    "ChangedSettings": "VaultPolicy",
    "ClearedBody": "ServicesCleared",
    "CreatedAgentBody": "CreatedAgent",
    "CreatedVault": "Vault",
    "CredentialItem": "Credential",
    "DeletedVault": "DeletedVault",
    "DeletedVersion": "DeletedVersion",
    "Decided": "Decision",
    "DeliveryItem": "WebhookDelivery",
    "DiscoveredBody": "Discovery",
    "ExpirySet": "CredentialExpiry",
    "HostList": "DiscoveredHosts",
    "Identity": "Identity",
    "InForce": "CredentialInForce",
    "InstanceSettings": "InstanceSettings",
    "InstanceStatus": "ServerStatus",
    "InstanceVault": "InstanceVault",
    "InviteItem": "Invite",
    "InviteMade": "CreatedInvite",
    "Joined": "JoinedVault",
    "KeyBody": "KeyState",
    "LogItem": "LogRow",
    "LogPageBody": "LogPage",
    "MintedTokenBody": "MintedToken",
    "OAuthConnected": "OAuthConnected",
    "OAuthConnecting": "OAuthConnecting",
    "OAuthState": "OAuthState",
    "OneService": "VersionedService",
    "PlanBody": "ServicePlan",
    "ProposalDetail": "ProposalDetail",
    "ProposalItem": "Proposal",
    "ProposalRaised": "RaisedProposal",
    "RateLimitBlock": "RateLimits",
    "Readiness": "Readiness",
    "RemovedService": "ServiceRemoved",
    "RemovedUserBody": "RemovedUser",
    "Renamed": "Renamed",
    "ReplacedBody": "ServicesReplaced",
    "ReviewDetail": "ProposalReview",
    "ReviewItem": "ProposalToReview",
    "RotatedBody": "RotatedAgent",
    "ServiceList": "ServiceList",
    "ServiceRef": "ServiceRef",
    "ServiceTestResult": "ServiceTest",
    "StoreDetail": "StoreState",
    "StoredKeys": "StoredKeys",
    "TemplateItem": "ServiceTemplate",
    "TestMailSent": "TestMailSent",
    "TokenItem": "SessionInfo",
    "UpsertedBody": "ServicesSet",
    "UserDetail": "UserDetail",
    "UserItem": "User",
    "UserRole": "UserRole",
    "VaultAgentItem": "VaultAgent",
    "VaultContext": "VaultContext",
    "VaultItem": "VaultSummary",
    "VaultSettings": "VaultSettings",
    "VaultUserItem": "VaultUser",
    "VersionList": "CredentialVersions",
    "WebhookItem": "Webhook",
    "WebhookWithSecret": "WebhookWithSecret",
}

#: Names of what they hold, where these are not the schema's without "Item", "Body" or "Block".
NAMES = {
    "Checks": "ReadinessChecks",
    "FlowItem": "CredentialFlow",
    "HostItem": "DiscoveredHost",
    "MinterBody": "Minter",
    "NamedService": "MatchedService",
    "Place": "StorePlace",
    "PlannedChange": "ServiceChange",
    "PreviewBody": "ProposalPreview",
    "RetentionBlock": "LogRetention",
    "SlotClient": "ProposedOAuthClient",
    "SlotEffect": "CredentialEffect",
    "SlotItem": "ProposedCredential",
    "TestHeader": "TestHeader",
    "TierBlock": "RateLimitTier",
    "VaultRoleItem": "VaultGrant",
    "VersionItem": "CredentialVersion",
}

#: Objects that are files of the user's as well, and so keep the names of the wire. Written by hand.
VERBATIM = {"Service", "ProposedService"}

#: Names of single fields.
RENAMED = {
    ("CreatedAgentBody", "av_agent_token"): "token",
    ("RotatedBody", "av_agent_token"): "token",
    ("MintedTokenBody", "av_addr"): "address",
    ("ReplacedPlaceholder", "in"): "surfaces",
    ("VaultRoleItem", "vault_name"): "vault",
    ("VaultRoleItem", "vault_role"): "role",
    ("VaultAgentItem", "vault_role"): "role",
}

#: Left out: the text of what another field holds as values, sentences without news.
OMITTED = {("ChangedAgentRole", "message"), ("ReviewItem", "credentials_json"), ("ReviewItem", "services_json")}

#: Not shown when the object is printed.
HIDDEN = {
    ("CreatedAgentBody", "av_agent_token"),
    ("RotatedBody", "av_agent_token"),
    ("MintedTokenBody", "token"),
    ("CredentialItem", "value"),
    ("ProposalRaised", "approval_url"),
    ("InviteMade", "invite_link"),
    ("OAuthConnecting", "authorization_url"),
    ("OAuthConnecting", "start_url"),
    ("WebhookWithSecret", "secret"),
}

#: Fields that the answer's head brings: schema, name, description.
FROM_HEAD = {
    schema: ("revision", "The list's revision after this write, for the next one that rests on it.")
    for schema in ("UpsertedBody", "ReplacedBody", "ClearedBody", "RemovedService", "ChangedService")
}


@dataclass(frozen=True)
class Shape:
    """The type of a field: its kind, what it holds, whether `null` is possible, whether absence means empty."""

    kind: str
    of: "Shape | None" = None
    schema: str = ""
    nullable: bool = False
    empty: bool = False


@dataclass(frozen=True)
class Field:
    wire: str
    name: str
    shape: Shape
    text: str
    hidden: bool


class Reading:
    """The schemas that are read, in the order of their names."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.schemas: dict[str, Any] = document["components"]["schemas"]
        self.fields: dict[str, list[Field]] = {}
        self.names: dict[str, str] = {}
        for schema in ROOTS:
            self.add(schema)
        taken: dict[str, str] = {}
        for schema, name in self.names.items():
            if name in taken:
                sys.exit(f"{schema} and {taken[name]} would both be {name}: say another name in NAMES")
            taken[name] = schema

    def add(self, schema: str) -> None:
        if schema in self.names:
            return
        if schema not in self.schemas:
            sys.exit(f"{DOCUMENT.name} has no schema {schema}")
        plain = re.sub(r"(Item|Body|Block)$", "", schema)
        self.names[schema] = ROOTS.get(schema) or NAMES.get(schema) or plain
        made = []
        for wire, (described, required, owner) in self.properties(schema).items():
            if (owner, wire) in OMITTED:
                continue
            made.append(
                Field(
                    wire,
                    RENAMED.get((owner, wire), wire),
                    self.shape(described, required, f"{owner}.{wire}"),
                    self.text(described),
                    (owner, wire) in HIDDEN,
                )
            )
        if schema in FROM_HEAD:
            name, text = FROM_HEAD[schema]
            made.append(Field(name, name, Shape("integer", nullable=True), text, False))
        self.fields[schema] = made

    def properties(self, schema: str | dict[str, Any], whole: str = "") -> dict[str, tuple[dict[str, Any], bool, str]]:
        """Of a schema, or of the parts of one, with what each comes from."""
        found = self.schemas[schema] if isinstance(schema, str) else schema
        owner = schema if isinstance(schema, str) else whole
        made: dict[str, tuple[dict[str, Any], bool, str]] = {}
        for part in found.get("allOf", []):
            choices = [one for one in part.get("oneOf", [part]) if one.get("type") != "null"]
            if len(choices) != 1:
                sys.exit(f"{owner}: a part that is a choice of {len(choices)} cannot be read")
            (kept,) = choices
            inner = self.properties(kept["$ref"].rpartition("/")[2] if "$ref" in kept else kept, owner)
            # Of a part that may be missing, every field may be.
            sure = kept is part
            made.update({name: (one, needed and sure, of) for name, (one, needed, of) in inner.items()})
        for name, described in found.get("properties", {}).items():
            made[name] = (described, name in found.get("required", []), owner)
        return made

    def text(self, described: dict[str, Any]) -> str:
        """What is said of a field; where it may be null, of what it is else."""
        choices = [described, *described.get("oneOf", described.get("anyOf", []))]
        return next((one["description"] for one in choices if "description" in one), "")

    def shape(self, described: dict[str, Any], required: bool, where: str) -> Shape:
        nullable = False
        choices = described.get("oneOf", described.get("anyOf"))
        if choices:
            kept = [one for one in choices if one.get("type") != "null"]
            nullable = len(kept) < len(choices)
            if len(kept) != 1:
                sys.exit(f"{where}: a choice of {len(kept)} cannot be read")
            described = kept[0]
        if "$ref" in described:
            name = described["$ref"].rpartition("/")[2]
            target = self.schemas[name]
            if name in VERBATIM:
                return Shape("verbatim", schema=name, nullable=nullable or not required)
            if target.get("type") == "string":
                return Shape("text", nullable=nullable or not required)
            self.add(name)
            return Shape("object", schema=name, nullable=nullable or not required)
        kinds = described.get("type", "any")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        nullable = nullable or "null" in kinds
        (kind,) = [one for one in kinds if one != "null"]
        # What is left out when empty is empty; what may be null is null.
        empty = not required and not nullable
        gone = nullable or not required
        if kind == "array":
            inner = self.shape(described["items"], True, f"{where}[]")
            return Shape("list", inner, nullable=nullable, empty=empty)
        if kind == "object":
            values = described.get("additionalProperties")
            if isinstance(values, dict) and values:
                return Shape("map", self.shape(values, True, f"{where}{{}}"), nullable=nullable, empty=empty)
            return Shape("any", nullable=gone)
        plain = {"string": "text", "integer": "integer", "number": "number", "boolean": "flag", "any": "any"}
        return Shape(plain[kind], nullable=gone)


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def typescript(reading: Reading) -> tuple[str, str]:
    """The types, which everybody may see, and the readers."""
    used: set[str] = set()

    def kind(shape: Shape) -> str:
        plain = {"text": "string", "integer": "number", "number": "number", "flag": "boolean", "any": "Record<string, unknown>"}
        if shape.kind == "list":
            assert shape.of
            inner = kind(shape.of)
            made = f"({inner})[]" if " | " in inner else f"{inner}[]"
        elif shape.kind == "map":
            assert shape.of
            made = f"Record<string, {kind(shape.of)}>"
        elif shape.kind == "object":
            made = reading.names[shape.schema]
        elif shape.kind == "verbatim":
            made = shape.schema
        else:
            made = plain[shape.kind]
        return f"{made} | null" if shape.nullable else made

    def reader(shape: Shape) -> str:
        if shape.kind in ("list", "map"):
            assert shape.of
            word = f"{shape.kind}OrEmpty" if shape.empty else shape.kind
            used.add(word)
            made = f"{word}({reader(shape.of)})"
        elif shape.kind == "object":
            made = f"read{reading.names[shape.schema]}"
        elif shape.kind == "verbatim":
            used.add("verbatim")
            made = f"verbatim<{shape.schema}>"
        elif shape.kind == "any":
            used.add("verbatim")
            made = "verbatim<Record<string, unknown>>"
        else:
            word = "number" if shape.kind == "integer" else shape.kind
            used.add(word)
            made = word
        if shape.nullable:
            used.add("orNull")
            return f"orNull({made})"
        return made

    def comment(text: str, indent: str) -> str:
        lines = text.splitlines()
        if not lines:
            return ""
        if len(lines) == 1:
            return f"{indent}/** {lines[0]} */\n"
        return f"{indent}/**\n" + "".join(f"{indent} * {line}".rstrip() + "\n" for line in lines) + f"{indent} */\n"

    types, readers = [], []
    for schema, name in sorted(reading.names.items(), key=lambda one: one[1]):
        fields = reading.fields[schema]
        body = "".join(f"{comment(one.text, '  ')}  {camel(one.name)}: {kind(one.shape)};\n" for one in fields)
        text = comment(reading.schemas[schema].get("description", ""), "")
        values = "".join(f"    {camel(one.name)}: of(\"{one.wire}\", {reader(one.shape)}),\n" for one in fields)
        hidden = [f'"{camel(one.name)}"' for one in fields if one.hidden]
        made = f"{{\n{values}  }}"
        if hidden:
            used.add("hide")
            made = f"hide({made}, {', '.join(hidden)})"
        types.append(f"{text}export interface {name} {{\n{body}}}\n")
        readers.append(
            f"export function read{name}(value: unknown, path: string): {name} {{\n"
            f"  const of = fields(value, path);\n  return {made};\n}}\n"
        )
    verbatim = ", ".join(sorted(VERBATIM))
    imported = f"import type {{ {verbatim} }} from \"./service.js\";\n"
    models = "".join(f"  {name},\n" for name in sorted(reading.names.values()))
    return (
        f"// Made of docs/openapi.json by sdks/models.py: what the server answers.\n{imported}\n" + "\n".join(types),
        "// Made of docs/openapi.json by sdks/models.py: how an answer of the server becomes what models.ts says.\n"
        f"import type {{\n{models}}} from \"./models.js\";\n"
        f"import {{ {', '.join(sorted({'fields', *used}))} }} from \"./read.js\";\n{imported}\n" + "\n".join(readers),
    )


def python(reading: Reading) -> str:
    def kind(shape: Shape) -> str:
        plain = {"text": "str", "integer": "int", "number": "float", "flag": "bool", "any": "dict[str, Any]"}
        if shape.kind == "list":
            assert shape.of
            made = f"list[{kind(shape.of)}]"
        elif shape.kind == "map":
            assert shape.of
            made = f"dict[str, {kind(shape.of)}]"
        elif shape.kind == "object":
            made = reading.names[shape.schema]
        elif shape.kind == "verbatim":
            made = shape.schema
        else:
            made = plain[shape.kind]
        return f"{made} | None" if shape.nullable else made

    def reader(shape: Shape) -> str:
        if shape.kind in ("list", "map"):
            assert shape.of
            word = "items" if shape.kind == "list" else "entries"
            made = f"_read.{word}{'_or_empty' if shape.empty else ''}({reader(shape.of)})"
        elif shape.kind == "object":
            made = f"read_{snake(reading.names[shape.schema])}"
        elif shape.kind in ("verbatim", "any"):
            made = "_read.verbatim"
        else:
            made = f"_read.{shape.kind}"
        return f"_read.or_none({made})" if shape.nullable else made

    def comment(text: str) -> str:
        return "".join(f"    #: {line}".rstrip() + "\n" for line in text.splitlines())

    parts = []
    for schema, name in sorted(reading.names.items(), key=lambda one: one[1]):
        fields = reading.fields[schema]
        body = "".join(
            f"{comment(one.text)}    {one.name}: {kind(one.shape)}{' = field(repr=False)' if one.hidden else ''}\n"
            for one in fields
        )
        text = reading.schemas[schema].get("description", "").replace("\n", "\n    ")
        said = f'    """{text}"""\n\n' if text else ""
        values = "".join(f'        {one.name}=of("{one.wire}", {reader(one.shape)}),\n' for one in fields)
        parts.append(
            f"@dataclass(frozen=True)\nclass {name}:\n{said}{body}\n\n"
            f"def read_{snake(name)}(value: Any, path: str) -> {name}:\n"
            f"    of = _read.fields(value, path)\n    return {name}(\n{values}    )\n"
        )
    names = "".join(f'    "{name}",\n' for name in sorted(reading.names.values()))
    return (
        '"""Made of docs/openapi.json by sdks/models.py: what the server answers, and how it is read."""\n\n'
        "from __future__ import annotations\n\nfrom dataclasses import dataclass, field\nfrom typing import Any\n\n"
        f"from . import _read\nfrom ._service import {', '.join(sorted(VERBATIM))}\n\n"
        f"__all__ = [\n{names}]\n\n\n" + "\n\n".join(parts)
    )


def main() -> None:
    reading = Reading(json.loads(DOCUMENT.read_text()))
    types, readers = typescript(reading)
    made = {TYPESCRIPT: types, READERS: readers, PYTHON: python(reading)}
    if sys.argv[1:] == ["--check"]:
        old = [str(path) for path, text in made.items() if not path.exists() or path.read_text() != text]
        if old:
            sys.exit(f"not up to date, run sdks/models.py: {' '.join(old)}")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        for path, text in made.items():
            path.write_text(text)


if __name__ == "__main__":
    main()
