"""Every call of the API that this package makes: what is sent, and how the answer is read. Sends nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Callable, Generic, Iterable, Mapping, Sequence, TypeVar
from urllib.parse import quote

from ._errors import AgentVaultError
from ._models import (
    Agent,
    AgentToken,
    Credentials,
    Discovery,
    Grant,
    LogPage,
    LogRow,
    Removed,
    Service,
    ServiceRef,
    SessionInfo,
    Stored,
    Vault,
    VaultAgent,
)

T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class Call(Generic[T]):
    method: str
    path: str
    #: Reads the JSON of a success.
    read: Callable[[Any], T]
    query: Mapping[str, str | int | None] | None = None
    #: Without the entries that are ``None``.
    body: Mapping[str, Any] | None = None


def segment(name: str, what: str) -> str:
    """One segment of a path. What a URL would read as "here" or "above" would name another resource than is meant."""
    if name in ("", ".", ".."):
        raise AgentVaultError(f"{name!r} cannot be the name of {what}")
    return quote(name, safe="*")


def nothing(_: Any) -> None:
    return None


def _vault(name: str) -> str:
    return f"/v1/vaults/{segment(name, 'a vault')}"


def list_vaults() -> Call[list[Vault]]:
    def read(answer: Any) -> list[Vault]:
        return [Vault(v["id"], v["name"], v["created_at"], v.get("role")) for v in answer["vaults"]]

    return Call("GET", "/v1/vaults", read)


def create_vault(name: str) -> Call[Vault]:
    return Call("POST", "/v1/vaults", lambda v: Vault(v["id"], v["name"], v["created_at"]), body={"name": name})


def delete_vault(name: str) -> Call[None]:
    return Call("DELETE", _vault(name), nothing)


def discover() -> Call[Discovery]:
    return Call("GET", "/discover", lambda d: Discovery(**{f.name: d[f.name] for f in fields(Discovery)}))


def list_credentials(vault: str | None, reveal: bool, key: str | None) -> Call[Credentials]:
    def read(answer: Any) -> Credentials:
        if not reveal:
            return Credentials(answer["keys"])
        return Credentials(answer["keys"], {c["key"]: c.get("value") or "" for c in answer.get("credentials") or []})

    query = {"vault": vault, "reveal": "true" if reveal else None, "key": key}
    return Call("GET", "/v1/credentials", read, query=query)


def set_credentials(vault: str | None, values: Mapping[str, str], expires_at: str | None) -> Call[Stored]:
    body = {"vault": vault, "credentials": dict(values), "expires_at": expires_at}
    return Call("POST", "/v1/credentials", lambda a: Stored(a["set"], a.get("warnings") or []), body=body)


def delete_credentials(vault: str | None, keys: Iterable[str]) -> Call[list[str]]:
    def read(answer: Any) -> list[str]:
        return list(answer["deleted"])

    return Call("DELETE", "/v1/credentials", read, body={"vault": vault, "keys": list(keys)})


def mint_session(
    vault: str,
    ttl_seconds: int | None,
    label: str | None,
    services: Iterable[str] | None,
    request_budget: int | None,
    sources: Iterable[str] | None,
) -> Call[Mapping[str, str]]:
    def read(answer: Any) -> Mapping[str, str]:
        return {name: answer[name] for name in ("id", "token", "expires_at", "av_addr")}

    body = {
        "vault": vault,
        "ttl_seconds": ttl_seconds,
        "label": label,
        "services": None if services is None else list(services),
        "request_budget": request_budget,
        "sources": None if sources is None else list(sources),
    }
    return Call("POST", "/v1/sessions", read, body=body)


def list_sessions(vault: str) -> Call[list[SessionInfo]]:
    def read(answer: Any) -> list[SessionInfo]:
        return [
            SessionInfo(
                s["id"],
                s.get("label"),
                s["vault_role"],
                s["created_at"],
                s.get("expires_at"),
                s.get("last_used_at"),
                s.get("services"),
                s.get("request_budget"),
                s.get("requests_left"),
                s.get("sources") or [],
            )
            for s in answer["sessions"]
        ]

    return Call("GET", "/v1/sessions", read, query={"vault": vault})


def revoke_session(vault: str, id: str) -> Call[None]:
    return Call("DELETE", f"/v1/sessions/{segment(id, 'a session')}", nothing, query={"vault": vault})


def _services(vault: str) -> str:
    return f"{_vault(vault)}/services"


def _service(vault: str, reference: str) -> str:
    return f"{_services(vault)}/{segment(reference, 'a service')}"


def _reference(answer: Any) -> ServiceRef:
    return ServiceRef(answer["name"], answer["host"])


def list_services(vault: str) -> Call[list[Service]]:
    def read(answer: Any) -> list[Service]:
        return list(answer["services"])

    return Call("GET", _services(vault), read)


def get_service(vault: str, reference: str) -> Call[Service]:
    def read(answer: Any) -> Service:
        found: Service = answer["service"]
        return found

    return Call("GET", _service(vault, reference), read)


def set_services(vault: str, services: Sequence[Service]) -> Call[list[str]]:
    def read(answer: Any) -> list[str]:
        return list(answer["upserted"])

    return Call("POST", _services(vault), read, body={"services": list(services)})


def replace_services(vault: str, services: Sequence[Service]) -> Call[int]:
    return Call("PUT", _services(vault), lambda a: int(a["services_count"]), body={"services": list(services)})


def enable_service(vault: str, reference: str, enabled: bool) -> Call[ServiceRef]:
    return Call("PATCH", _service(vault, reference), _reference, body={"enabled": enabled})


def remove_service(vault: str, reference: str) -> Call[Removed]:
    def read(answer: Any) -> Removed:
        return Removed(answer["removed"], answer["removed_host"], answer["services_count"])

    return Call("DELETE", _service(vault, reference), read)


def clear_services(vault: str) -> Call[None]:
    return Call("DELETE", _services(vault), nothing)


def credential_usage(vault: str, key: str) -> Call[list[ServiceRef]]:
    def read(answer: Any) -> list[ServiceRef]:
        return [_reference(s) for s in answer["services"]]

    return Call("GET", f"{_services(vault)}/credential-usage", read, query={"key": key})


def _agent(a: Any) -> Agent:
    return Agent(
        a["name"],
        a["role"],
        a["status"],
        [Grant(g["vault_name"], g["vault_role"]) for g in a["vaults"]],
        a["created_at"],
        a.get("last_used_at"),
        a.get("revoked_at"),
        a.get("token_expires_at"),
    )


def _agent_token(a: Any) -> AgentToken:
    return AgentToken(a["name"], a["av_agent_token"], a.get("token_expires_at"))


def _agent_path(name: str) -> str:
    return f"/v1/agents/{segment(name, 'an agent')}"


def list_agents() -> Call[list[Agent]]:
    def read(answer: Any) -> list[Agent]:
        return [_agent(a) for a in answer["agents"]]

    return Call("GET", "/v1/agents", read)


def get_agent(name: str) -> Call[Agent]:
    return Call("GET", _agent_path(name), _agent)


def create_agent(
    name: str, role: str | None, vaults: Mapping[str, str] | None, ttl_seconds: int | None
) -> Call[AgentToken]:
    grants = None
    if vaults is not None:
        grants = [{"vault_name": vault, "vault_role": given} for vault, given in vaults.items()]
    body = {"name": name, "role": role, "vaults": grants, "ttl_seconds": ttl_seconds}
    return Call("POST", "/v1/agents", _agent_token, body=body)


def rotate_agent(name: str, ttl_seconds: int | None) -> Call[AgentToken]:
    return Call("POST", f"{_agent_path(name)}/rotate", _agent_token, body={"ttl_seconds": ttl_seconds})


def revoke_agent(name: str) -> Call[None]:
    return Call("DELETE", _agent_path(name), nothing)


def delete_agent(name: str) -> Call[None]:
    return Call("POST", f"{_agent_path(name)}/delete", nothing)


def _vault_agent(vault: str, name: str) -> str:
    return f"{_vault(vault)}/agents/{segment(name, 'an agent')}"


def list_vault_agents(vault: str) -> Call[list[VaultAgent]]:
    def read(answer: Any) -> list[VaultAgent]:
        return [VaultAgent(a["name"], a["status"], a["vault_role"]) for a in answer["agents"]]

    return Call("GET", f"{_vault(vault)}/agents", read)


def add_vault_agent(vault: str, name: str, role: str) -> Call[None]:
    return Call("POST", f"{_vault(vault)}/agents", nothing, body={"name": name, "role": role})


def set_vault_agent_role(vault: str, name: str, role: str) -> Call[None]:
    return Call("POST", f"{_vault_agent(vault, name)}/role", nothing, body={"role": role})


def remove_vault_agent(vault: str, name: str) -> Call[None]:
    return Call("DELETE", _vault_agent(vault, name), nothing)


#: Parameters by which a log is narrowed.
LOG_FILTERS = frozenset(
    "limit before after status_bucket status service ingress session agent label host decision since until".split()
)


def list_logs(vault: str, filters: Mapping[str, str | int | None]) -> Call[LogPage]:
    unknown = set(filters) - LOG_FILTERS
    if unknown:
        raise TypeError(f"a log is not narrowed by {', '.join(sorted(unknown))}")

    def read(answer: Any) -> LogPage:
        rows = [LogRow(**{f.name: row[f.name] for f in fields(LogRow)}) for row in answer["logs"]]
        return LogPage(rows, answer.get("next_cursor"), answer["latest_id"])

    return Call("GET", f"{_vault(vault)}/logs", read, query=filters)
