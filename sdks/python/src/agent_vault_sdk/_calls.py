"""Every call of the API that this package makes: what is sent, and how the answer is read. Sends nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Generic, Iterable, Mapping, Sequence, TypeVar
from urllib.parse import quote

from . import _models as m
from ._errors import AgentVaultError
from ._read import Reader, at, fields, items, items_or_empty, nothing, or_none, text
from ._service import CredentialSlot, ProposedService, Service
from ._values import (
    AuditFilter,
    Credentials,
    CredentialStore,
    LogFilter,
    LogRetentionChange,
    RateLimitChange,
)

T = TypeVar("T")
Query = Mapping[str, Any]


@dataclass(frozen=True, repr=False)
class Call(Generic[T]):
    method: str
    path: str
    #: Reads the JSON of a success.
    read: Reader[T]
    #: Without the entries that are ``None``.
    query: Query | None = None
    #: Without the entries that are ``None``.
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    #: Name under which the answer's ``ETag``, a number, joins its body.
    etag: str | None = None


def segment(name: str, what: str) -> str:
    """One segment of a path. What a URL would read as "here" or "above" would name another resource than is meant."""
    if name in ("", ".", ".."):
        raise AgentVaultError(f"{name!r} cannot be the name of {what}")
    return quote(name, safe="*")


def known(given: Mapping[str, Any], names: Iterable[str], what: str) -> Mapping[str, Any]:
    """Refuses a misspelt filter, which would narrow nothing."""
    unknown = set(given) - set(names)
    if unknown:
        raise TypeError(f"{what} is not narrowed by {', '.join(sorted(unknown))}")
    return given


# The instance.


def list_vaults() -> Call[list[m.VaultSummary]]:
    return Call("GET", "/v1/vaults", at("vaults", items(m.read_vault_summary)))


def list_all_vaults() -> Call[list[m.InstanceVault]]:
    return Call("GET", "/v1/admin/vaults", at("vaults", items(m.read_instance_vault)))


def create_vault(name: str, store: CredentialStore | None) -> Call[m.Vault]:
    return Call("POST", "/v1/vaults", m.read_vault, body={"name": name, "credential_store": store})


def delete_vault(name: str) -> Call[m.DeletedVault]:
    return Call("DELETE", _vault(name), m.read_deleted_vault)


def rename_vault(name: str, new_name: str) -> Call[m.Renamed]:
    return Call("POST", f"{_vault(name)}/rename", m.read_renamed, body={"name": new_name})


def join_vault(name: str) -> Call[m.JoinedVault]:
    return Call("POST", f"{_vault(name)}/join", m.read_joined_vault)


def leave_vault(name: str) -> Call[None]:
    return Call("POST", f"{_vault(name)}/leave", nothing)


def vault_context(name: str) -> Call[m.VaultContext]:
    return Call("GET", f"{_vault(name)}/context", m.read_vault_context)


def credential_stores() -> Call[list[str]]:
    return Call("GET", "/v1/instance/credential-stores", at("available", items(text)))


def catalog() -> Call[list[m.ServiceTemplate]]:
    return Call("GET", "/v1/service-catalog", at("services", items(m.read_service_template)))


def me() -> Call[m.Identity]:
    return Call("GET", "/v1/auth/me", m.read_identity)


def status() -> Call[m.ServerStatus]:
    return Call("GET", "/v1/status", m.read_server_status)


def health() -> Call[str]:
    return Call("GET", "/health", at("status", text))


def ready() -> Call[m.Readiness]:
    return Call("GET", "/ready", m.read_readiness)


def skill() -> Call[None]:
    return Call("GET", "/v1/skills/cli", nothing)


def instance_settings() -> Call[m.InstanceSettings]:
    return Call("GET", "/v1/admin/settings", m.read_instance_settings)


def set_instance_settings(
    invite_only: bool | None,
    allowed_email_domains: Sequence[str] | None,
    logs_retention: LogRetentionChange | None,
    rate_limit: RateLimitChange | None,
) -> Call[m.InstanceSettings]:
    body = {
        "invite_only": invite_only,
        "allowed_email_domains": None if allowed_email_domains is None else list(allowed_email_domains),
        "logs_retention": logs_retention,
        "rate_limit": rate_limit,
    }
    return Call("PUT", "/v1/admin/settings", m.read_instance_settings, body=body)


def preview_rate_limit(change: RateLimitChange) -> Call[m.RateLimits]:
    return Call("POST", "/v1/admin/settings/rate-limit/preview", m.read_rate_limits, body=change)


def test_mail(to: str | None) -> Call[m.TestMailSent]:
    return Call("POST", "/v1/admin/email/test", m.read_test_mail_sent, body={"to": to})


def key_state() -> Call[m.KeyState]:
    return Call("GET", "/v1/instance/keys", m.read_key_state)


def rotate_key() -> Call[m.KeyState]:
    return Call("POST", "/v1/instance/keys/rotate", m.read_key_state)


def list_audit(given: Query) -> Call[m.AuditPage]:
    known(given, AuditFilter.__annotations__, "the audit log")
    return Call("GET", "/v1/audit", m.read_audit_page, query=given)


def export_audit(after: int | None, limit: int | None) -> Call[None]:
    return Call("GET", "/v1/audit/export", nothing, query={"after": after, "limit": limit})


def verify_audit() -> Call[m.AuditVerdict]:
    return Call("GET", "/v1/audit/verify", m.read_audit_verdict)


# People.


def list_users() -> Call[list[m.User]]:
    return Call("GET", "/v1/users", at("users", items(m.read_user)))


def get_user(email: str) -> Call[m.UserDetail]:
    return Call("GET", _user(email), m.read_user_detail)


def set_user_role(email: str, role: str) -> Call[m.UserRole]:
    return Call("POST", f"{_user(email)}/role", m.read_user_role, body={"role": role})


def remove_second_factor(email: str) -> Call[None]:
    return Call("DELETE", f"{_user(email)}/totp", nothing)


def delete_user(email: str, agents: str | None) -> Call[m.RemovedUser]:
    return Call("DELETE", _user(email), m.read_removed_user, query={"agents": agents})


def list_invites(status: str | None) -> Call[list[m.Invite]]:
    return Call("GET", "/v1/users/invites", at("invites", items(m.read_invite)), query={"status": status})


def create_invite(email: str, role: str | None, vaults: Mapping[str, str] | None) -> Call[m.CreatedInvite]:
    body = {"email": email, "role": role, "vaults": _grants(vaults)}
    return Call("POST", "/v1/users/invites", m.read_created_invite, body=body)


def invite_again(id: str) -> Call[m.CreatedInvite]:
    return Call("POST", f"{_invite(id)}/reinvite", m.read_created_invite)


def revoke_invite(id: str) -> Call[None]:
    return Call("DELETE", _invite(id), nothing)


# Agents.


def list_agents() -> Call[list[m.Agent]]:
    return Call("GET", "/v1/agents", at("agents", items(m.read_agent)))


def get_agent(name: str) -> Call[m.AgentDetail]:
    return Call("GET", _agent(name), m.read_agent_detail)


def create_agent(
    name: str, role: str | None, vaults: Mapping[str, str] | None, ttl_seconds: int | None, label: str | None
) -> Call[m.CreatedAgent]:
    body = {"name": name, "role": role, "vaults": _grants(vaults), "ttl_seconds": ttl_seconds, "label": label}
    return Call("POST", "/v1/agents", m.read_created_agent, body=body)


def rotate_agent(
    name: str, ttl_seconds: int | None, overlap_seconds: int | None, label: str | None
) -> Call[m.RotatedAgent]:
    body = {"ttl_seconds": ttl_seconds, "overlap_seconds": overlap_seconds, "label": label}
    return Call("POST", f"{_agent(name)}/rotate", m.read_rotated_agent, body=body)


def list_agent_tokens(name: str) -> Call[list[m.AgentToken]]:
    return Call("GET", f"{_agent(name)}/tokens", at("tokens", items(m.read_agent_token)))


def revoke_agent_token(name: str, id: str) -> Call[None]:
    return Call("DELETE", f"{_agent(name)}/tokens/{segment(id, 'a token')}", nothing)


def rename_agent(name: str, new_name: str) -> Call[m.Renamed]:
    return Call("POST", f"{_agent(name)}/rename", m.read_renamed, body={"name": new_name})


def set_agent_role(name: str, role: str) -> Call[m.RoleChange]:
    return Call("POST", f"{_agent(name)}/role", m.read_role_change, body={"role": role})


def revoke_agent(name: str) -> Call[None]:
    return Call("DELETE", _agent(name), nothing)


def delete_agent(name: str) -> Call[None]:
    return Call("POST", f"{_agent(name)}/delete", nothing)


# One vault.


def discover() -> Call[m.Discovery]:
    return Call("GET", "/discover", m.read_discovery)


def vault_settings(vault: str) -> Call[m.VaultSettings]:
    return Call("GET", f"{_vault(vault)}/settings", m.read_vault_settings)


def set_vault_settings(vault: str, unmatched_host_policy: str | None) -> Call[m.VaultPolicy]:
    body = {"unmatched_host_policy": unmatched_host_policy}
    return Call("PATCH", f"{_vault(vault)}/settings", m.read_vault_policy, body=body)


def vault_store(vault: str) -> Call[m.StoreState | None]:
    return Call("GET", f"{_vault(vault)}/context", at("credential_store", or_none(m.read_store_state)))


def choose_store(vault: str, store: CredentialStore) -> Call[m.StoreState]:
    return Call("PATCH", f"{_vault(vault)}/credential-store", at("credential_store", m.read_store_state), body=store)


def sync_store(vault: str) -> Call[m.StoreState]:
    return Call("POST", f"{_vault(vault)}/sync", at("credential_store", m.read_store_state))


def list_vault_agents(vault: str) -> Call[list[m.VaultAgent]]:
    return Call("GET", f"{_vault(vault)}/agents", at("agents", items(m.read_vault_agent)))


def add_vault_agent(vault: str, name: str, role: str) -> Call[None]:
    return Call("POST", f"{_vault(vault)}/agents", nothing, body={"name": name, "role": role})


def set_vault_agent_role(vault: str, name: str, role: str) -> Call[m.VaultRoleChange]:
    return Call("POST", f"{_vault_agent(vault, name)}/role", m.read_vault_role_change, body={"role": role})


def remove_vault_agent(vault: str, name: str) -> Call[None]:
    return Call("DELETE", _vault_agent(vault, name), nothing)


def list_vault_users(vault: str) -> Call[list[m.VaultUser]]:
    return Call("GET", f"{_vault(vault)}/users", at("users", items(m.read_vault_user)))


def add_vault_user(vault: str, email: str, role: str) -> Call[m.VaultUserGrant]:
    return Call("POST", f"{_vault(vault)}/users", m.read_vault_user_grant, body={"email": email, "role": role})


def set_vault_user_role(vault: str, email: str, role: str) -> Call[None]:
    return Call("POST", f"{_vault_user(vault, email)}/role", nothing, body={"role": role})


def remove_vault_user(vault: str, email: str) -> Call[None]:
    return Call("DELETE", _vault_user(vault, email), nothing)


# Credentials.


def list_credentials(vault: str | None, reveal: bool, key: str | None) -> Call[Credentials]:
    def read(answer: Any, path: str) -> Credentials:
        of = fields(answer, path)
        keys = of("keys", items(text))
        if not reveal:
            return Credentials(keys)
        return Credentials(keys, {c.key: c.value or "" for c in of("credentials", items_or_empty(m.read_credential))})

    query = {"vault": vault, "reveal": "true" if reveal else None, "key": key}
    return Call("GET", "/v1/credentials", read, query=query)


def describe_credentials(vault: str | None, key: str | None) -> Call[list[m.Credential]]:
    every = at("credentials", items_or_empty(m.read_credential))

    def read(answer: Any, path: str) -> list[m.Credential]:
        # The server picks one only where it reveals.
        return [one for one in every(answer, path) if key is None or one.key == key]

    return Call("GET", "/v1/credentials", read, query={"vault": vault})


def set_credentials(vault: str | None, values: Mapping[str, str], expires_at: str | None) -> Call[m.StoredKeys]:
    body = {"vault": vault, "credentials": dict(values), "expires_at": expires_at}
    return Call("POST", "/v1/credentials", m.read_stored_keys, body=body)


def delete_credentials(vault: str | None, keys: Iterable[str]) -> Call[list[str]]:
    body = {"vault": vault, "keys": list(keys)}
    return Call("DELETE", "/v1/credentials", at("deleted", items(text)), body=body)


def credential_versions(vault: str | None, key: str) -> Call[m.CredentialVersions]:
    return Call("GET", f"{_credential(key)}/versions", m.read_credential_versions, query={"vault": vault})


def roll_back_credential(vault: str | None, key: str, version: int) -> Call[m.CredentialInForce]:
    body = {"vault": vault, "version": version}
    return Call("POST", f"{_credential(key)}/rollback", m.read_credential_in_force, body=body)


def expire_credential(vault: str | None, key: str, expires_at: str | None) -> Call[m.CredentialExpiry]:
    # What is not there is for ever, as `None` says.
    body = {"vault": vault, "expires_at": expires_at}
    return Call("POST", f"{_credential(key)}/expiry", m.read_credential_expiry, body=body)


def delete_credential_version(vault: str | None, key: str, version: int) -> Call[m.DeletedVersion]:
    path = f"{_credential(key)}/versions/{int(version)}"
    return Call("DELETE", path, m.read_deleted_version, query={"vault": vault})


# Sessions.


def mint_session(
    vault: str,
    ttl_seconds: int | None,
    label: str | None,
    services: Sequence[str] | None,
    request_budget: int | None,
    sources: Sequence[str] | None,
) -> Call[m.MintedToken]:
    body = {
        "vault": vault,
        "ttl_seconds": ttl_seconds,
        "label": label,
        "services": None if services is None else list(services),
        "request_budget": request_budget,
        "sources": None if sources is None else list(sources),
    }
    return Call("POST", "/v1/sessions", m.read_minted_token, body=body)


def list_sessions(vault: str) -> Call[list[m.SessionInfo]]:
    return Call("GET", "/v1/sessions", at("sessions", items(m.read_session_info)), query={"vault": vault})


def revoke_session(vault: str, id: str) -> Call[None]:
    return Call("DELETE", f"/v1/sessions/{segment(id, 'a session')}", nothing, query={"vault": vault})


# Services.


def list_services(vault: str) -> Call[m.ServiceList]:
    return Call("GET", _services(vault), m.read_service_list)


def get_service(vault: str, reference: str) -> Call[m.VersionedService]:
    return Call("GET", _service(vault, reference), m.read_versioned_service)


def set_services(
    vault: str, services: Sequence[Service], if_revision: int | None, expected: Mapping[str, str | None] | None
) -> Call[m.ServicesSet]:
    body = {"services": list(services), "expected": expected}
    return Call("POST", _services(vault), m.read_services_set, body=body, headers=_match(if_revision), etag="revision")


def replace_services(
    vault: str, services: Sequence[Service], if_revision: int | None, expected: Mapping[str, str | None] | None
) -> Call[m.ServicesReplaced]:
    body = {"services": list(services), "expected": expected}
    read = m.read_services_replaced
    return Call("PUT", _services(vault), read, body=body, headers=_match(if_revision), etag="revision")


def clear_services(vault: str, if_revision: int | None) -> Call[m.ServicesCleared]:
    return Call("DELETE", _services(vault), m.read_services_cleared, headers=_match(if_revision), etag="revision")


def enable_service(
    vault: str, reference: str, enabled: bool, if_version: str | None
) -> Call[m.ServiceSwitched]:
    path, headers = _service(vault, reference), _match(if_version)
    return Call("PATCH", path, m.read_service_switched, body={"enabled": enabled}, headers=headers, etag="revision")


def remove_service(vault: str, reference: str, if_version: str | None) -> Call[m.ServiceRemoved]:
    path, headers = _service(vault, reference), _match(if_version)
    return Call("DELETE", path, m.read_service_removed, headers=headers, etag="revision")


def planned(write: Call[Any]) -> Call[m.ServicePlan]:
    """The same write, of which only the outcome is told."""
    return replace(write, read=m.read_service_plan, query={"dry_run": "true"}, etag=None)


def credential_usage(vault: str, key: str) -> Call[list[m.ServiceRef]]:
    read = at("services", items(m.read_service_ref))
    return Call("GET", f"{_services(vault)}/credential-usage", read, query={"key": key})


def test_service(vault: str, url: str, agent: str | None, headers: Mapping[str, str] | None) -> Call[m.ServiceTest]:
    listed = None if headers is None else [{"name": name, "value": value} for name, value in headers.items()]
    body = {"url": url, "agent": agent, "headers": listed}
    return Call("POST", f"{_vault(vault)}/service-test", m.read_service_test, body=body)


# Proposals.


def raise_proposal(
    services: Sequence[ProposedService] | None,
    credentials: Sequence[CredentialSlot] | None,
    message: str | None,
    user_message: str | None,
) -> Call[m.RaisedProposal]:
    body = {
        "services": None if services is None else list(services),
        "credentials": None if credentials is None else list(credentials),
        "message": message,
        "user_message": user_message,
    }
    return Call("POST", "/v1/proposals", m.read_raised_proposal, body=body)


def list_proposals(status: str | None) -> Call[list[m.Proposal]]:
    return Call("GET", "/v1/proposals", at("proposals", items(m.read_proposal)), query={"status": status})


def get_proposal(id: int) -> Call[m.ProposalDetail]:
    return Call("GET", f"/v1/proposals/{int(id)}", m.read_proposal_detail)


def reviews(vault: str | None, status: str | None) -> Call[list[m.ProposalToReview]]:
    read = at("proposals", items(m.read_proposal_to_review))
    return Call("GET", "/v1/admin/proposals", read, query={"vault": vault, "status": status})


def review(vault: str | None, id: int) -> Call[m.ProposalReview]:
    return Call("GET", f"/v1/admin/proposals/{int(id)}", m.read_proposal_review, query={"vault": vault})


def approve(
    vault: str | None, id: int, credentials: Mapping[str, str] | None, revision: int | None
) -> Call[m.Decision]:
    body = {"vault": vault, "credentials": credentials, "revision": revision}
    return Call("POST", f"/v1/admin/proposals/{int(id)}/approve", m.read_decision, body=body)


def reject(vault: str | None, id: int, reason: str | None) -> Call[m.Decision]:
    body = {"vault": vault, "reason": reason}
    return Call("POST", f"/v1/admin/proposals/{int(id)}/reject", m.read_decision, body=body)


# The request log.


def list_logs(vault: str, given: Query) -> Call[m.LogPage]:
    known(given, LogFilter.__annotations__, "a log")
    return Call("GET", f"{_vault(vault)}/logs", m.read_log_page, query=given)


def export_logs(vault: str, given: Query) -> Call[None]:
    known(given, LOG_CONDITIONS, "an export")
    return Call("GET", f"{_vault(vault)}/logs/export", nothing, query=given)


def follow_logs(vault: str, last: int, given: Query) -> Call[None]:
    known(given, LOG_CONDITIONS, "a stream")
    headers = {"last-event-id": str(last), "accept": "text/event-stream"}
    return Call("GET", f"{_vault(vault)}/logs/stream", nothing, query=given, headers=headers)


def discovered_hosts(vault: str, limit: int | None) -> Call[m.DiscoveredHosts]:
    return Call("GET", f"{_vault(vault)}/discovered-hosts", m.read_discovered_hosts, query={"limit": limit})


LOG_CONDITIONS = frozenset(LogFilter.__annotations__) - {"limit", "before"}


def _vault(name: str) -> str:
    return f"/v1/vaults/{segment(name, 'a vault')}"


def _user(email: str) -> str:
    return f"/v1/admin/users/{segment(email, 'a person')}"


def _invite(id: str) -> str:
    return f"/v1/users/invites/{segment(id, 'an invitation')}"


def _agent(name: str) -> str:
    return f"/v1/agents/{segment(name, 'an agent')}"


def _vault_agent(vault: str, name: str) -> str:
    return f"{_vault(vault)}/agents/{segment(name, 'an agent')}"


def _vault_user(vault: str, email: str) -> str:
    return f"{_vault(vault)}/users/{segment(email, 'a person')}"


def _credential(key: str) -> str:
    return f"/v1/credentials/{segment(key, 'a credential')}"


def _services(vault: str) -> str:
    return f"{_vault(vault)}/services"


def _service(vault: str, reference: str) -> str:
    return f"{_services(vault)}/{segment(reference, 'a service')}"


def _match(tag: str | int | None) -> dict[str, str] | None:
    return None if tag is None else {"if-match": f'"{tag}"'}


def _grants(vaults: Mapping[str, str] | None) -> list[dict[str, str]] | None:
    if vaults is None:
        return None
    return [{"vault_name": vault, "vault_role": role} for vault, role in vaults.items()]
