"""Made of docs/openapi.json by sdks/models.py: what the server answers, and how it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import _read
from ._service import ProposedService, Service

__all__ = [
    "Agent",
    "AgentDetail",
    "AgentToken",
    "AuditPage",
    "AuditRecord",
    "AuditVerdict",
    "ConsideredRule",
    "CreatedAgent",
    "CreatedInvite",
    "Credential",
    "CredentialEffect",
    "CredentialExpiry",
    "CredentialFlow",
    "CredentialInForce",
    "CredentialVersion",
    "CredentialVersions",
    "Decision",
    "DeletedVault",
    "DeletedVersion",
    "DiscoveredHost",
    "DiscoveredHosts",
    "DiscoveredService",
    "Discovery",
    "Identity",
    "InstanceSettings",
    "InstanceVault",
    "Invite",
    "JoinedVault",
    "KeyState",
    "LogPage",
    "LogRetention",
    "LogRow",
    "MatchedService",
    "MintedToken",
    "Minter",
    "OAuthConnected",
    "OAuthConnecting",
    "OAuthConsent",
    "OAuthState",
    "Proposal",
    "ProposalDetail",
    "ProposalPreview",
    "ProposalReview",
    "ProposalToReview",
    "ProposedCredential",
    "ProposedOAuthClient",
    "RaisedProposal",
    "RateLimitTier",
    "RateLimits",
    "Readiness",
    "ReadinessChecks",
    "RemovedUser",
    "Renamed",
    "ReplacedPlaceholder",
    "RoleChange",
    "RotatedAgent",
    "ServerStatus",
    "ServiceChange",
    "ServiceList",
    "ServicePlan",
    "ServiceRef",
    "ServiceRemoved",
    "ServiceSwitched",
    "ServiceTemplate",
    "ServiceTest",
    "ServicesCleared",
    "ServicesReplaced",
    "ServicesSet",
    "SessionInfo",
    "StorePlace",
    "StoreState",
    "StoreSummary",
    "StoredKeys",
    "TestHeader",
    "TestMailSent",
    "User",
    "UserDetail",
    "UserRole",
    "Vault",
    "VaultAgent",
    "VaultContext",
    "VaultGrant",
    "VaultPolicy",
    "VaultRoleChange",
    "VaultSettings",
    "VaultSummary",
    "VaultUser",
    "VaultUserGrant",
    "VersionedService",
    "Webhook",
    "WebhookDelivery",
    "WebhookWithSecret",
]


@dataclass(frozen=True)
class Agent:
    """An agent in the directory."""

    created_at: str
    #: When its token was last used, by a request through the proxy or to this API.
    last_used_at: str | None
    name: str
    revoked_at: str | None
    role: str
    #: `active` or `revoked`.
    status: str
    token_expires_at: str | None
    vaults: list[VaultGrant]


def read_agent(value: Any, path: str) -> Agent:
    of = _read.fields(value, path)
    return Agent(
        created_at=of("created_at", _read.text),
        last_used_at=of("last_used_at", _read.or_none(_read.text)),
        name=of("name", _read.text),
        revoked_at=of("revoked_at", _read.or_none(_read.text)),
        role=of("role", _read.text),
        status=of("status", _read.text),
        token_expires_at=of("token_expires_at", _read.or_none(_read.text)),
        vaults=of("vaults", _read.items(read_vault_grant)),
    )


@dataclass(frozen=True)
class AgentDetail:
    """One agent."""

    created_at: str
    #: When its token was last used, by a request through the proxy or to this API.
    last_used_at: str | None
    name: str
    revoked_at: str | None
    role: str
    #: `active` or `revoked`.
    status: str
    token_expires_at: str | None
    vaults: list[VaultGrant]
    active_tokens: int
    #: Id of the actor that made it.
    created_by: str
    updated_at: str


def read_agent_detail(value: Any, path: str) -> AgentDetail:
    of = _read.fields(value, path)
    return AgentDetail(
        created_at=of("created_at", _read.text),
        last_used_at=of("last_used_at", _read.or_none(_read.text)),
        name=of("name", _read.text),
        revoked_at=of("revoked_at", _read.or_none(_read.text)),
        role=of("role", _read.text),
        status=of("status", _read.text),
        token_expires_at=of("token_expires_at", _read.or_none(_read.text)),
        vaults=of("vaults", _read.items(read_vault_grant)),
        active_tokens=of("active_tokens", _read.integer),
        created_by=of("created_by", _read.text),
        updated_at=of("updated_at", _read.text),
    )


@dataclass(frozen=True)
class AgentToken:
    """A live token of an agent."""

    created_at: str
    #: Absent when it never ends.
    expires_at: str | None
    #: Public id, for revocation and for the log's `session` filter.
    id: str
    label: str | None
    last_used_at: str | None


def read_agent_token(value: Any, path: str) -> AgentToken:
    of = _read.fields(value, path)
    return AgentToken(
        created_at=of("created_at", _read.text),
        expires_at=of("expires_at", _read.or_none(_read.text)),
        id=of("id", _read.text),
        label=of("label", _read.or_none(_read.text)),
        last_used_at=of("last_used_at", _read.or_none(_read.text)),
    )


@dataclass(frozen=True)
class AuditPage:
    """A page of records."""

    #: For `before`, or for `after` where that was given; null at the end.
    next_cursor: int | None
    #: Newest first; with `after`, oldest first.
    records: list[AuditRecord]


def read_audit_page(value: Any, path: str) -> AuditPage:
    of = _read.fields(value, path)
    return AuditPage(
        next_cursor=of("next_cursor", _read.or_none(_read.integer)),
        records=of("records", _read.items(read_audit_record)),
    )


@dataclass(frozen=True)
class AuditRecord:
    """One action."""

    #: `noun.verb`.
    action: str
    actor_id: str
    #: What the actor was called then.
    actor_name: str
    #: `user`, `agent`, `scoped`, `local` or `system`.
    actor_type: str
    #: RFC 3339, UTC, to the millisecond.
    at: str
    #: More: what was there before and after, names, numbers; never a secret.
    detail: dict[str, Any]
    #: The hash of this record and, through the one before, of all that are older.
    hash: str
    #: `done` or `refused`.
    outcome: str
    seq: int
    #: The client's address; empty on the server's own machine.
    source: str
    target: str


def read_audit_record(value: Any, path: str) -> AuditRecord:
    of = _read.fields(value, path)
    return AuditRecord(
        action=of("action", _read.text),
        actor_id=of("actor_id", _read.text),
        actor_name=of("actor_name", _read.text),
        actor_type=of("actor_type", _read.text),
        at=of("at", _read.text),
        detail=of("detail", _read.verbatim),
        hash=of("hash", _read.text),
        outcome=of("outcome", _read.text),
        seq=of("seq", _read.integer),
        source=of("source", _read.text),
        target=of("target", _read.text),
    )


@dataclass(frozen=True)
class AuditVerdict:
    """What checking found."""

    #: The last record that retention has cut off the beginning; 0 when none was.
    cut_through: int
    #: The first record that was changed, removed or slipped in.
    first_broken: int | None
    #: The newest record's hash. Kept elsewhere, it later proves that nothing was cut off the end.
    head: str | None
    intact: bool
    #: How many records were checked; 0 when the chain is broken.
    records: int


def read_audit_verdict(value: Any, path: str) -> AuditVerdict:
    of = _read.fields(value, path)
    return AuditVerdict(
        cut_through=of("cut_through", _read.integer),
        first_broken=of("first_broken", _read.or_none(_read.integer)),
        head=of("head", _read.or_none(_read.text)),
        intact=of("intact", _read.flag),
        records=of("records", _read.integer),
    )


@dataclass(frozen=True)
class ConsideredRule:
    """How a service for the host stands to the request."""

    enabled: bool
    host: str
    name: str
    #: `chosen`, `refuses`, `undecided`, `other_port`, `other_path`, `other_agent`, `other_account` or `less_specific`.
    standing: str
    why: str


def read_considered_rule(value: Any, path: str) -> ConsideredRule:
    of = _read.fields(value, path)
    return ConsideredRule(
        enabled=of("enabled", _read.flag),
        host=of("host", _read.text),
        name=of("name", _read.text),
        standing=of("standing", _read.text),
        why=of("why", _read.text),
    )


@dataclass(frozen=True)
class CreatedAgent:
    """An agent that was made."""

    #: Shown once.
    token: str = field(repr=False)
    created_at: str
    name: str
    role: str
    token_expires_at: str | None
    vaults: list[VaultGrant]


def read_created_agent(value: Any, path: str) -> CreatedAgent:
    of = _read.fields(value, path)
    return CreatedAgent(
        token=of("av_agent_token", _read.text),
        created_at=of("created_at", _read.text),
        name=of("name", _read.text),
        role=of("role", _read.text),
        token_expires_at=of("token_expires_at", _read.or_none(_read.text)),
        vaults=of("vaults", _read.items(read_vault_grant)),
    )


@dataclass(frozen=True)
class CreatedInvite:
    """A new invitation."""

    email: str
    #: Why the mail failed.
    email_error: str | None
    email_sent: bool
    expires_at: str
    #: For revoking it and sending it again.
    id: str
    #: Only where no mail went out: to be handed on. Shown once.
    invite_link: str | None = field(repr=False)
    role: str
    vaults: list[VaultGrant]


def read_created_invite(value: Any, path: str) -> CreatedInvite:
    of = _read.fields(value, path)
    return CreatedInvite(
        email=of("email", _read.text),
        email_error=of("email_error", _read.or_none(_read.text)),
        email_sent=of("email_sent", _read.flag),
        expires_at=of("expires_at", _read.text),
        id=of("id", _read.text),
        invite_link=of("invite_link", _read.or_none(_read.text)),
        role=of("role", _read.text),
        vaults=of("vaults", _read.items(read_vault_grant)),
    )


@dataclass(frozen=True)
class Credential:
    """A credential."""

    access_token: str | None
    authorization_url: str | None
    client_id: str | None
    client_secret: str | None
    #: Since when it has a token; absent while it is not connected.
    connected_at: str | None
    last_refresh_error: str | None
    last_refreshed_at: str | None
    refresh_token: str | None
    scopes: str | None
    token_auth_method: str | None
    #: When the token ends, where that is known.
    token_expires_at: str | None
    token_url: str | None
    #: From when on it counts as absent.
    expires_at: str | None
    key: str
    #: `static`, `oauth`, or `dynamic`: made by an external store at first use.
    type: str
    #: Present and true where the external store refuses to make it.
    unavailable: bool | None
    #: Only when revealed, and not empty.
    value: str | None = field(repr=False)
    #: The version that is served, as request log rows give it; none of what is made on demand.
    version: int | None


def read_credential(value: Any, path: str) -> Credential:
    of = _read.fields(value, path)
    return Credential(
        access_token=of("access_token", _read.or_none(_read.text)),
        authorization_url=of("authorization_url", _read.or_none(_read.text)),
        client_id=of("client_id", _read.or_none(_read.text)),
        client_secret=of("client_secret", _read.or_none(_read.text)),
        connected_at=of("connected_at", _read.or_none(_read.text)),
        last_refresh_error=of("last_refresh_error", _read.or_none(_read.text)),
        last_refreshed_at=of("last_refreshed_at", _read.or_none(_read.text)),
        refresh_token=of("refresh_token", _read.or_none(_read.text)),
        scopes=of("scopes", _read.or_none(_read.text)),
        token_auth_method=of("token_auth_method", _read.or_none(_read.text)),
        token_expires_at=of("token_expires_at", _read.or_none(_read.text)),
        token_url=of("token_url", _read.or_none(_read.text)),
        expires_at=of("expires_at", _read.or_none(_read.text)),
        key=of("key", _read.text),
        type=of("type", _read.text),
        unavailable=of("unavailable", _read.or_none(_read.flag)),
        value=of("value", _read.or_none(_read.text)),
        version=of("version", _read.or_none(_read.integer)),
    )


@dataclass(frozen=True)
class CredentialEffect:
    """What happens to a credential."""

    #: `set` or `delete`.
    action: str
    #: Whether the vault has it now.
    exists: bool
    key: str
    #: Whether the approval must bring a value.
    needs_value: bool
    #: Services that use it after.
    used_by: list[str]


def read_credential_effect(value: Any, path: str) -> CredentialEffect:
    of = _read.fields(value, path)
    return CredentialEffect(
        action=of("action", _read.text),
        exists=of("exists", _read.flag),
        key=of("key", _read.text),
        needs_value=of("needs_value", _read.flag),
        used_by=of("used_by", _read.items(_read.text)),
    )


@dataclass(frozen=True)
class CredentialExpiry:
    """When a credential ends."""

    expires_at: str | None
    key: str


def read_credential_expiry(value: Any, path: str) -> CredentialExpiry:
    of = _read.fields(value, path)
    return CredentialExpiry(
        expires_at=of("expires_at", _read.or_none(_read.text)),
        key=of("key", _read.text),
    )


@dataclass(frozen=True)
class CredentialFlow:
    """A key that would go to a host."""

    host: str
    key: str
    #: Whether it does not go there now.
    new: bool
    service: str
    #: Whether it is the value that the vault has now.
    stored: bool


def read_credential_flow(value: Any, path: str) -> CredentialFlow:
    of = _read.fields(value, path)
    return CredentialFlow(
        host=of("host", _read.text),
        key=of("key", _read.text),
        new=of("new", _read.flag),
        service=of("service", _read.text),
        stored=of("stored", _read.flag),
    )


@dataclass(frozen=True)
class CredentialInForce:
    """The version in force."""

    key: str
    version: int


def read_credential_in_force(value: Any, path: str) -> CredentialInForce:
    of = _read.fields(value, path)
    return CredentialInForce(
        key=of("key", _read.text),
        version=of("version", _read.integer),
    )


@dataclass(frozen=True)
class CredentialVersion:
    """One value that a credential has or had."""

    created_at: str
    #: Whether it is the one that is served.
    current: bool
    #: From when on it counts as absent.
    expires_at: str | None
    #: The version that it was brought back from.
    restored_from: int | None
    version: int


def read_credential_version(value: Any, path: str) -> CredentialVersion:
    of = _read.fields(value, path)
    return CredentialVersion(
        created_at=of("created_at", _read.text),
        current=of("current", _read.flag),
        expires_at=of("expires_at", _read.or_none(_read.text)),
        restored_from=of("restored_from", _read.or_none(_read.integer)),
        version=of("version", _read.integer),
    )


@dataclass(frozen=True)
class CredentialVersions:
    """The values that are kept of a credential."""

    key: str
    #: The newest first.
    versions: list[CredentialVersion]


def read_credential_versions(value: Any, path: str) -> CredentialVersions:
    of = _read.fields(value, path)
    return CredentialVersions(
        key=of("key", _read.text),
        versions=of("versions", _read.items(read_credential_version)),
    )


@dataclass(frozen=True)
class Decision:
    """What became of a proposal."""

    id: int
    #: `applied` or `rejected`.
    status: str


def read_decision(value: Any, path: str) -> Decision:
    of = _read.fields(value, path)
    return Decision(
        id=of("id", _read.integer),
        status=of("status", _read.text),
    )


@dataclass(frozen=True)
class DeletedVault:
    """A vault that is gone."""

    deleted: bool
    name: str


def read_deleted_vault(value: Any, path: str) -> DeletedVault:
    of = _read.fields(value, path)
    return DeletedVault(
        deleted=of("deleted", _read.flag),
        name=of("name", _read.text),
    )


@dataclass(frozen=True)
class DeletedVersion:
    """The version that was deleted."""

    deleted: int
    key: str


def read_deleted_version(value: Any, path: str) -> DeletedVersion:
    of = _read.fields(value, path)
    return DeletedVersion(
        deleted=of("deleted", _read.integer),
        key=of("key", _read.text),
    )


@dataclass(frozen=True)
class DiscoveredHost:
    """A host that no service covers."""

    auth_header: str | None
    auth_scheme: str | None
    host: str
    last_seen: str
    request_count: int


def read_discovered_host(value: Any, path: str) -> DiscoveredHost:
    of = _read.fields(value, path)
    return DiscoveredHost(
        auth_header=of("auth_header", _read.or_none(_read.text)),
        auth_scheme=of("auth_scheme", _read.or_none(_read.text)),
        host=of("host", _read.text),
        last_seen=of("last_seen", _read.text),
        request_count=of("request_count", _read.integer),
    )


@dataclass(frozen=True)
class DiscoveredHosts:
    """Hosts that no service covers."""

    hosts: list[DiscoveredHost]
    total: int


def read_discovered_hosts(value: Any, path: str) -> DiscoveredHosts:
    of = _read.fields(value, path)
    return DiscoveredHosts(
        hosts=of("hosts", _read.items(read_discovered_host)),
        total=of("total", _read.integer),
    )


@dataclass(frozen=True)
class DiscoveredService:
    """A service."""

    enabled: bool
    host: str
    name: str


def read_discovered_service(value: Any, path: str) -> DiscoveredService:
    of = _read.fields(value, path)
    return DiscoveredService(
        enabled=of("enabled", _read.flag),
        host=of("host", _read.text),
        name=of("name", _read.text),
    )


@dataclass(frozen=True)
class Discovery:
    """What a vault brokers."""

    available_credentials: list[str]
    #: What an external store makes at first use: names, or `<SECRET>_*` while the fields are not known.
    dynamic_credentials: list[str]
    #: Keys that enabled services use and the vault lacks.
    missing_credentials: list[str]
    #: What an agent's environment holds instead of each brokered key.
    placeholders: dict[str, str]
    #: Requests that the token that asks was given; absent when there is no end.
    request_budget: int | None
    #: Those of them that are left.
    requests_left: int | None
    services: list[DiscoveredService]
    #: Public id of the token that asks, as in the request log.
    session: str | None
    vault: str
    vault_role: str


def read_discovery(value: Any, path: str) -> Discovery:
    of = _read.fields(value, path)
    return Discovery(
        available_credentials=of("available_credentials", _read.items(_read.text)),
        dynamic_credentials=of("dynamic_credentials", _read.items_or_empty(_read.text)),
        missing_credentials=of("missing_credentials", _read.items(_read.text)),
        placeholders=of("placeholders", _read.entries(_read.text)),
        request_budget=of("request_budget", _read.or_none(_read.integer)),
        requests_left=of("requests_left", _read.or_none(_read.integer)),
        services=of("services", _read.items(read_discovered_service)),
        session=of("session", _read.or_none(_read.text)),
        vault=of("vault", _read.text),
        vault_role=of("vault_role", _read.text),
    )


@dataclass(frozen=True)
class Identity:
    """Who asks."""

    agent_name: str | None
    email: str | None
    is_owner: bool
    role: str
    #: `user`, `agent` or `local`.
    type: str


def read_identity(value: Any, path: str) -> Identity:
    of = _read.fields(value, path)
    return Identity(
        agent_name=of("agent_name", _read.or_none(_read.text)),
        email=of("email", _read.or_none(_read.text)),
        is_owner=of("is_owner", _read.flag),
        role=of("role", _read.text),
        type=of("type", _read.text),
    )


@dataclass(frozen=True)
class InstanceSettings:
    """Settings of the instance."""

    #: Domains of addresses that may have an account; empty is all.
    allowed_email_domains: list[str]
    #: People come by invitation only.
    invite_only: bool
    logs_retention: LogRetention
    rate_limit: RateLimits
    #: Whether mail can be sent.
    smtp_configured: bool


def read_instance_settings(value: Any, path: str) -> InstanceSettings:
    of = _read.fields(value, path)
    return InstanceSettings(
        allowed_email_domains=of("allowed_email_domains", _read.items(_read.text)),
        invite_only=of("invite_only", _read.flag),
        logs_retention=of("logs_retention", read_log_retention),
        rate_limit=of("rate_limit", read_rate_limits),
        smtp_configured=of("smtp_configured", _read.flag),
    )


@dataclass(frozen=True)
class InstanceVault:
    """A vault of the instance."""

    created_at: str
    id: str
    is_default: bool
    name: str


def read_instance_vault(value: Any, path: str) -> InstanceVault:
    of = _read.fields(value, path)
    return InstanceVault(
        created_at=of("created_at", _read.text),
        id=of("id", _read.text),
        is_default=of("is_default", _read.flag),
        name=of("name", _read.text),
    )


@dataclass(frozen=True)
class Invite:
    """An invitation in a list."""

    created_at: str
    #: Id of who invited.
    created_by: str
    #: The same as people read it.
    created_by_name: str
    email: str
    expires_at: str
    id: str
    role: str
    #: `pending`, `accepted`, `revoked` or `expired`.
    status: str
    #: The same as `id`: what the routes of one invitation take. The link's own token is stored nowhere.
    token: str
    vaults: list[VaultGrant]


def read_invite(value: Any, path: str) -> Invite:
    of = _read.fields(value, path)
    return Invite(
        created_at=of("created_at", _read.text),
        created_by=of("created_by", _read.text),
        created_by_name=of("created_by_name", _read.text),
        email=of("email", _read.text),
        expires_at=of("expires_at", _read.text),
        id=of("id", _read.text),
        role=of("role", _read.text),
        status=of("status", _read.text),
        token=of("token", _read.text),
        vaults=of("vaults", _read.items(read_vault_grant)),
    )


@dataclass(frozen=True)
class JoinedVault:
    """A vault that was joined."""

    joined: bool
    role: str
    vault: str


def read_joined_vault(value: Any, path: str) -> JoinedVault:
    of = _read.fields(value, path)
    return JoinedVault(
        joined=of("joined", _read.flag),
        role=of("role", _read.text),
        vault=of("vault", _read.text),
    )


@dataclass(frozen=True)
class KeyState:
    """What may be told of the data key."""

    #: Names the key in force, and tells nothing of it.
    key_id: str
    #: Whether a master password protects it.
    master_password: bool
    #: Values that older keys sealed and that are to be sealed again.
    remaining: int
    #: Whether older keys are still there.
    rotating: bool


def read_key_state(value: Any, path: str) -> KeyState:
    of = _read.fields(value, path)
    return KeyState(
        key_id=of("key_id", _read.text),
        master_password=of("master_password", _read.flag),
        remaining=of("remaining", _read.integer),
        rotating=of("rotating", _read.flag),
    )


@dataclass(frozen=True)
class LogPage:
    """A page of the log."""

    #: For `after`.
    latest_id: int
    #: Newest first.
    logs: list[LogRow]
    #: For `before`; null at the end and when following.
    next_cursor: int | None


def read_log_page(value: Any, path: str) -> LogPage:
    of = _read.fields(value, path)
    return LogPage(
        latest_id=of("latest_id", _read.integer),
        logs=of("logs", _read.items(read_log_row)),
        next_cursor=of("next_cursor", _read.or_none(_read.integer)),
    )


@dataclass(frozen=True)
class LogRetention:
    """How long the request log is kept."""

    #: Whether the environment decides any of it.
    from_environment: bool
    #: 0 keeps rows of any age.
    max_age_hours: int
    #: 0 keeps all.
    max_rows_per_vault: int


def read_log_retention(value: Any, path: str) -> LogRetention:
    of = _read.fields(value, path)
    return LogRetention(
        from_environment=of("from_environment", _read.flag),
        max_age_hours=of("max_age_hours", _read.integer),
        max_rows_per_vault=of("max_rows_per_vault", _read.integer),
    )


@dataclass(frozen=True)
class LogRow:
    """One request."""

    actor_id: str
    actor_name: str
    #: Who sent it, or who minted the token that did: `user`, `agent` or empty.
    actor_type: str
    created_at: str
    credential_keys: list[str]
    #: The version of each, in the same order; empty when none was opened.
    credential_versions: list[int]
    #: What policy said.
    decision: str
    error_code: str
    host: str
    id: int
    ingress: str
    #: What the token is called.
    label: str
    latency_ms: int
    matched_service: str
    method: str
    path: str
    #: How often an injected value was found in the answer, and replaced.
    scrubs: int
    #: Public id of the token.
    session: str
    #: What the client got; 0 when it got nothing.
    status: int
    #: What the operator should know about it.
    warnings: list[str]


def read_log_row(value: Any, path: str) -> LogRow:
    of = _read.fields(value, path)
    return LogRow(
        actor_id=of("actor_id", _read.text),
        actor_name=of("actor_name", _read.text),
        actor_type=of("actor_type", _read.text),
        created_at=of("created_at", _read.text),
        credential_keys=of("credential_keys", _read.items(_read.text)),
        credential_versions=of("credential_versions", _read.items(_read.integer)),
        decision=of("decision", _read.text),
        error_code=of("error_code", _read.text),
        host=of("host", _read.text),
        id=of("id", _read.integer),
        ingress=of("ingress", _read.text),
        label=of("label", _read.text),
        latency_ms=of("latency_ms", _read.integer),
        matched_service=of("matched_service", _read.text),
        method=of("method", _read.text),
        path=of("path", _read.text),
        scrubs=of("scrubs", _read.integer),
        session=of("session", _read.text),
        status=of("status", _read.integer),
        warnings=of("warnings", _read.items(_read.text)),
    )


@dataclass(frozen=True)
class MatchedService:
    """A service by what people call it."""

    enabled: bool
    host: str
    name: str


def read_matched_service(value: Any, path: str) -> MatchedService:
    of = _read.fields(value, path)
    return MatchedService(
        enabled=of("enabled", _read.flag),
        host=of("host", _read.text),
        name=of("name", _read.text),
    )


@dataclass(frozen=True)
class MintedToken:
    """A token that was minted."""

    #: Address of this server.
    address: str
    expires_at: str
    #: Public id, for revocation and for the log's `session` filter.
    id: str
    #: Shown once.
    token: str = field(repr=False)


def read_minted_token(value: Any, path: str) -> MintedToken:
    of = _read.fields(value, path)
    return MintedToken(
        address=of("av_addr", _read.text),
        expires_at=of("expires_at", _read.text),
        id=of("id", _read.text),
        token=of("token", _read.text),
    )


@dataclass(frozen=True)
class Minter:
    """Who minted a token."""

    display_name: str
    id: str
    #: `user` or `agent`.
    type: str


def read_minter(value: Any, path: str) -> Minter:
    of = _read.fields(value, path)
    return Minter(
        display_name=of("display_name", _read.text),
        id=of("id", _read.text),
        type=of("type", _read.text),
    )


@dataclass(frozen=True)
class OAuthConnected:
    """What an upload came to."""

    connected: bool
    connected_at: str
    #: When the token ends, where that is known.
    expires_at: str | None
    #: Whether the next token is fetched by itself.
    refreshable: bool


def read_oauth_connected(value: Any, path: str) -> OAuthConnected:
    of = _read.fields(value, path)
    return OAuthConnected(
        connected=of("connected", _read.flag),
        connected_at=of("connected_at", _read.text),
        expires_at=of("expires_at", _read.or_none(_read.text)),
        refreshable=of("refreshable", _read.flag),
    )


@dataclass(frozen=True)
class OAuthConnecting:
    """A consent that a person can be sent for."""

    #: The provider's page, for the browser that made this request.
    authorization_url: str = field(repr=False)
    #: Public id of the consent.
    consent: str
    #: Until when a person may come back.
    expires_at: str
    #: A page for any browser, which leads to the provider's.
    start_url: str = field(repr=False)


def read_oauth_connecting(value: Any, path: str) -> OAuthConnecting:
    of = _read.fields(value, path)
    return OAuthConnecting(
        authorization_url=of("authorization_url", _read.text),
        consent=of("consent", _read.text),
        expires_at=of("expires_at", _read.text),
        start_url=of("start_url", _read.text),
    )


@dataclass(frozen=True)
class OAuthConsent:
    """How a consent is."""

    #: Why it came to nothing.
    error: str | None
    id: str
    #: `pending`, `used`, `done` or `failed`.
    status: str


def read_oauth_consent(value: Any, path: str) -> OAuthConsent:
    of = _read.fields(value, path)
    return OAuthConsent(
        error=of("error", _read.or_none(_read.text)),
        id=of("id", _read.text),
        status=of("status", _read.text),
    )


@dataclass(frozen=True)
class OAuthState:
    """How a credential's grant is."""

    #: Whether it has a token.
    connected: bool
    connected_at: str | None
    #: The consent that was asked about, or the newest, for as long as it is kept.
    consent: OAuthConsent | None
    #: When the token ends, where that is known.
    expires_at: str | None
    #: What went wrong last.
    last_error: str | None


def read_oauth_state(value: Any, path: str) -> OAuthState:
    of = _read.fields(value, path)
    return OAuthState(
        connected=of("connected", _read.flag),
        connected_at=of("connected_at", _read.or_none(_read.text)),
        consent=of("consent", _read.or_none(read_oauth_consent)),
        expires_at=of("expires_at", _read.or_none(_read.text)),
        last_error=of("last_error", _read.or_none(_read.text)),
    )


@dataclass(frozen=True)
class Proposal:
    """A proposal in an agent's list."""

    created_at: str
    id: int
    message: str
    #: `pending`, `applied`, `rejected` or `expired`.
    status: str


def read_proposal(value: Any, path: str) -> Proposal:
    of = _read.fields(value, path)
    return Proposal(
        created_at=of("created_at", _read.text),
        id=of("id", _read.integer),
        message=of("message", _read.text),
        status=of("status", _read.text),
    )


@dataclass(frozen=True)
class ProposalDetail:
    """A proposal as an agent sees it."""

    created_at: str
    credentials: list[ProposedCredential]
    expires_at: str
    id: int
    message: str
    #: What the one who decided said.
    review_note: str
    #: `null` while nobody has decided.
    reviewed_at: str | None
    services: list[ProposedService]
    #: `pending`, `applied`, `rejected` or `expired`. On `applied` the next request is decided by it.
    status: str


def read_proposal_detail(value: Any, path: str) -> ProposalDetail:
    of = _read.fields(value, path)
    return ProposalDetail(
        created_at=of("created_at", _read.text),
        credentials=of("credentials", _read.items(read_proposed_credential)),
        expires_at=of("expires_at", _read.text),
        id=of("id", _read.integer),
        message=of("message", _read.text),
        review_note=of("review_note", _read.text),
        reviewed_at=of("reviewed_at", _read.or_none(_read.text)),
        services=of("services", _read.items(_read.verbatim)),
        status=of("status", _read.text),
    )


@dataclass(frozen=True)
class ProposalPreview:
    """What a proposal would do now."""

    changes: list[ServiceChange]
    #: Why the proposal does not fit the vault any more; then it cannot be approved.
    conflict: str | None
    credentials: list[CredentialEffect]
    #: Which keys the changed services would send where.
    flows: list[CredentialFlow]
    #: With it in an approval, the approval does just this, or is refused (412).
    revision: int | None
    #: What deserves a second look.
    warnings: list[str]


def read_proposal_preview(value: Any, path: str) -> ProposalPreview:
    of = _read.fields(value, path)
    return ProposalPreview(
        changes=of("changes", _read.items(read_service_change)),
        conflict=of("conflict", _read.or_none(_read.text)),
        credentials=of("credentials", _read.items(read_credential_effect)),
        flows=of("flows", _read.items(read_credential_flow)),
        revision=of("revision", _read.or_none(_read.integer)),
        warnings=of("warnings", _read.items(_read.text)),
    )


@dataclass(frozen=True)
class ProposalReview:
    """A proposal as a reviewer sees it."""

    #: Name of the agent, or label of the vault token.
    agent_name: str
    created_at: str
    credentials: list[ProposedCredential]
    expires_at: str
    id: int
    message: str
    #: Empty while nobody has decided.
    review_note: str
    reviewed_at: str | None
    reviewed_by: str | None
    services: list[ProposedService]
    #: `pending`, `applied`, `rejected` or `expired`.
    status: str
    #: While it can be decided.
    preview: ProposalPreview | None
    user_message: str
    vault: str


def read_proposal_review(value: Any, path: str) -> ProposalReview:
    of = _read.fields(value, path)
    return ProposalReview(
        agent_name=of("agent_name", _read.text),
        created_at=of("created_at", _read.text),
        credentials=of("credentials", _read.items(read_proposed_credential)),
        expires_at=of("expires_at", _read.text),
        id=of("id", _read.integer),
        message=of("message", _read.text),
        review_note=of("review_note", _read.text),
        reviewed_at=of("reviewed_at", _read.or_none(_read.text)),
        reviewed_by=of("reviewed_by", _read.or_none(_read.text)),
        services=of("services", _read.items(_read.verbatim)),
        status=of("status", _read.text),
        preview=of("preview", _read.or_none(read_proposal_preview)),
        user_message=of("user_message", _read.text),
        vault=of("vault", _read.text),
    )


@dataclass(frozen=True)
class ProposalToReview:
    """A proposal in a reviewer's list."""

    #: Name of the agent, or label of the vault token.
    agent_name: str
    created_at: str
    credentials: list[ProposedCredential]
    expires_at: str
    id: int
    message: str
    review_note: str | None
    reviewed_at: str | None
    reviewed_by: str | None
    services: list[ProposedService]
    #: `pending`, `applied`, `rejected` or `expired`.
    status: str


def read_proposal_to_review(value: Any, path: str) -> ProposalToReview:
    of = _read.fields(value, path)
    return ProposalToReview(
        agent_name=of("agent_name", _read.text),
        created_at=of("created_at", _read.text),
        credentials=of("credentials", _read.items(read_proposed_credential)),
        expires_at=of("expires_at", _read.text),
        id=of("id", _read.integer),
        message=of("message", _read.text),
        review_note=of("review_note", _read.or_none(_read.text)),
        reviewed_at=of("reviewed_at", _read.or_none(_read.text)),
        reviewed_by=of("reviewed_by", _read.or_none(_read.text)),
        services=of("services", _read.items(_read.verbatim)),
        status=of("status", _read.text),
    )


@dataclass(frozen=True)
class ProposedCredential:
    """A credential of a proposal. Never a value."""

    #: `set` or `delete`.
    action: str
    description: str | None
    #: Whether the agent gave a value.
    has_value: bool | None
    key: str
    #: The client at a provider, for `oauth`.
    oauth: ProposedOAuthClient | None
    obtain: str | None
    obtain_instructions: str | None
    type: str


def read_proposed_credential(value: Any, path: str) -> ProposedCredential:
    of = _read.fields(value, path)
    return ProposedCredential(
        action=of("action", _read.text),
        description=of("description", _read.or_none(_read.text)),
        has_value=of("has_value", _read.or_none(_read.flag)),
        key=of("key", _read.text),
        oauth=of("oauth", _read.or_none(read_proposed_oauth_client)),
        obtain=of("obtain", _read.or_none(_read.text)),
        obtain_instructions=of("obtain_instructions", _read.or_none(_read.text)),
        type=of("type", _read.text),
    )


@dataclass(frozen=True)
class ProposedOAuthClient:
    """The client that an `oauth` credential of a proposal names."""

    #: Where a person consents; absent where tokens are given by hand.
    authorization_url: str | None
    #: Absent where the person says.
    client_id: str | None
    disable_pkce: bool
    scope_separator: str
    scopes: str | None
    token_auth_method: str
    token_url: str


def read_proposed_oauth_client(value: Any, path: str) -> ProposedOAuthClient:
    of = _read.fields(value, path)
    return ProposedOAuthClient(
        authorization_url=of("authorization_url", _read.or_none(_read.text)),
        client_id=of("client_id", _read.or_none(_read.text)),
        disable_pkce=of("disable_pkce", _read.flag),
        scope_separator=of("scope_separator", _read.text),
        scopes=of("scopes", _read.or_none(_read.text)),
        token_auth_method=of("token_auth_method", _read.text),
        token_url=of("token_url", _read.text),
    )


@dataclass(frozen=True)
class RaisedProposal:
    """A proposal that waits now."""

    #: For the person who decides: shows the proposal for a day to whoever has it. Shown once.
    approval_url: str = field(repr=False)
    expires_at: str
    id: int
    message: str
    status: str
    vault: str


def read_raised_proposal(value: Any, path: str) -> RaisedProposal:
    of = _read.fields(value, path)
    return RaisedProposal(
        approval_url=of("approval_url", _read.text),
        expires_at=of("expires_at", _read.text),
        id=of("id", _read.integer),
        message=of("message", _read.text),
        status=of("status", _read.text),
        vault=of("vault", _read.text),
    )


@dataclass(frozen=True)
class RateLimitTier:
    """The numbers of one tier."""

    burst: int | None
    concurrency: int | None
    max: int | None
    rate: int | None
    #: `env`, `override` or `default`: the highest layer that gives any of them.
    source: str
    #: As `5m0s`.
    window: str | None


def read_rate_limit_tier(value: Any, path: str) -> RateLimitTier:
    of = _read.fields(value, path)
    return RateLimitTier(
        burst=of("burst", _read.or_none(_read.integer)),
        concurrency=of("concurrency", _read.or_none(_read.integer)),
        max=of("max", _read.or_none(_read.integer)),
        rate=of("rate", _read.or_none(_read.integer)),
        source=of("source", _read.text),
        window=of("window", _read.or_none(_read.text)),
    )


@dataclass(frozen=True)
class RateLimits:
    """The rate limits that count."""

    #: Whether the environment leaves out what is stored.
    locked: bool
    #: Whether the profile is `off`.
    off: bool
    #: `default`, `strict`, `loose` or `off`.
    profile: str
    #: By tier: AUTH, PROXY, AUTHED, GLOBAL, VERIFY_FAIL.
    tiers: dict[str, RateLimitTier]


def read_rate_limits(value: Any, path: str) -> RateLimits:
    of = _read.fields(value, path)
    return RateLimits(
        locked=of("locked", _read.flag),
        off=of("off", _read.flag),
        profile=of("profile", _read.text),
        tiers=of("tiers", _read.entries(read_rate_limit_tier)),
    )


@dataclass(frozen=True)
class Readiness:
    """Whether the server can do its work."""

    checks: ReadinessChecks
    #: What stands in the way; empty when it is ready.
    reasons: list[str]
    #: `ready` or `not_ready`.
    status: str


def read_readiness(value: Any, path: str) -> Readiness:
    of = _read.fields(value, path)
    return Readiness(
        checks=of("checks", read_readiness_checks),
        reasons=of("reasons", _read.items(_read.text)),
        status=of("status", _read.text),
    )


@dataclass(frozen=True)
class ReadinessChecks:
    """What readiness consists of."""

    #: `ok`, `failed`, or `slow` if it did not answer within two seconds.
    database: str
    #: Whether the server has begun to stop.
    draining: bool
    #: `none`, `ok`, `failing` if a refresh failed, `stale` if some vault's copies may be out of date, `unknown`. No reason not to be
    #: ready: the last copies are served.
    external_stores: str
    #: `listening`, `not_listening`, or `off` if it was switched off.
    proxy: str


def read_readiness_checks(value: Any, path: str) -> ReadinessChecks:
    of = _read.fields(value, path)
    return ReadinessChecks(
        database=of("database", _read.text),
        draining=of("draining", _read.flag),
        external_stores=of("external_stores", _read.text),
        proxy=of("proxy", _read.text),
    )


@dataclass(frozen=True)
class RemovedUser:
    """A person who is gone."""

    #: Agents that the person had made, whose tokens ended therefore.
    agents_revoked: list[str]
    email: str
    status: str


def read_removed_user(value: Any, path: str) -> RemovedUser:
    of = _read.fields(value, path)
    return RemovedUser(
        agents_revoked=of("agents_revoked", _read.items_or_empty(_read.text)),
        email=of("email", _read.text),
        status=of("status", _read.text),
    )


@dataclass(frozen=True)
class Renamed:
    """A new name."""

    message: str
    new_name: str
    old_name: str


def read_renamed(value: Any, path: str) -> Renamed:
    of = _read.fields(value, path)
    return Renamed(
        message=of("message", _read.text),
        new_name=of("new_name", _read.text),
        old_name=of("old_name", _read.text),
    )


@dataclass(frozen=True)
class ReplacedPlaceholder:
    """A placeholder that would be replaced."""

    surfaces: list[str]
    key: str
    placeholder: str


def read_replaced_placeholder(value: Any, path: str) -> ReplacedPlaceholder:
    of = _read.fields(value, path)
    return ReplacedPlaceholder(
        surfaces=of("in", _read.items(_read.text)),
        key=of("key", _read.text),
        placeholder=of("placeholder", _read.text),
    )


@dataclass(frozen=True)
class RoleChange:
    """A role that was given."""

    agent: str
    new_role: str
    old_role: str


def read_role_change(value: Any, path: str) -> RoleChange:
    of = _read.fields(value, path)
    return RoleChange(
        agent=of("agent", _read.text),
        new_role=of("new_role", _read.text),
        old_role=of("old_role", _read.text),
    )


@dataclass(frozen=True)
class RotatedAgent:
    """A token that replaces all others."""

    #: Shown once.
    token: str = field(repr=False)
    #: Until when the former tokens are good at most; absent when they have ended.
    former_tokens_end_at: str | None
    name: str
    #: Whether a revoked agent became active by this; only owners can do that.
    reactivated: bool
    rotated_at: str
    token_expires_at: str | None


def read_rotated_agent(value: Any, path: str) -> RotatedAgent:
    of = _read.fields(value, path)
    return RotatedAgent(
        token=of("av_agent_token", _read.text),
        former_tokens_end_at=of("former_tokens_end_at", _read.or_none(_read.text)),
        name=of("name", _read.text),
        reactivated=of("reactivated", _read.flag),
        rotated_at=of("rotated_at", _read.text),
        token_expires_at=of("token_expires_at", _read.or_none(_read.text)),
    )


@dataclass(frozen=True)
class ServerStatus:
    """State of the instance."""

    #: Domains of addresses that may have an account, where not all may.
    allowed_email_domains: list[str]
    #: Address that people use, when one is set.
    base_url: str | None
    #: Whether an owner exists.
    initialized: bool
    #: Present and true where people come by invitation only.
    invite_only: bool | None
    #: The opposite.
    needs_first_user: bool
    #: Version of the server.
    version: str


def read_server_status(value: Any, path: str) -> ServerStatus:
    of = _read.fields(value, path)
    return ServerStatus(
        allowed_email_domains=of("allowed_email_domains", _read.items_or_empty(_read.text)),
        base_url=of("base_url", _read.or_none(_read.text)),
        initialized=of("initialized", _read.flag),
        invite_only=of("invite_only", _read.or_none(_read.flag)),
        needs_first_user=of("needs_first_user", _read.flag),
        version=of("version", _read.text),
    )


@dataclass(frozen=True)
class ServiceChange:
    """One service that a dry run would change."""

    after: Service | None
    before: Service | None
    #: `added`, `changed` or `removed`.
    change: str
    name: str


def read_service_change(value: Any, path: str) -> ServiceChange:
    of = _read.fields(value, path)
    return ServiceChange(
        after=of("after", _read.or_none(_read.verbatim)),
        before=of("before", _read.or_none(_read.verbatim)),
        change=of("change", _read.text),
        name=of("name", _read.text),
    )


@dataclass(frozen=True)
class ServiceList:
    """Services of a vault."""

    #: Counts the writes to the list; also the `ETag`. `If-Match` on a write refuses it if there has been another since.
    revision: int
    #: In stored order.
    services: list[Service]
    vault: str
    #: Each service's version by its name, for `expected` of an upsert and `If-Match` on a write of one service.
    versions: dict[str, str]


def read_service_list(value: Any, path: str) -> ServiceList:
    of = _read.fields(value, path)
    return ServiceList(
        revision=of("revision", _read.integer),
        services=of("services", _read.items(_read.verbatim)),
        vault=of("vault", _read.text),
        versions=of("versions", _read.entries(_read.text)),
    )


@dataclass(frozen=True)
class ServicePlan:
    """What a write would do, for `?dry_run=true`. Nothing was changed."""

    changes: list[ServiceChange]
    dry_run: bool
    #: The list's revision that this was made for: with it in `If-Match` the write does just this, or is refused.
    revision: int
    #: How many services there would be.
    services_count: int
    vault: str


def read_service_plan(value: Any, path: str) -> ServicePlan:
    of = _read.fields(value, path)
    return ServicePlan(
        changes=of("changes", _read.items(read_service_change)),
        dry_run=of("dry_run", _read.flag),
        revision=of("revision", _read.integer),
        services_count=of("services_count", _read.integer),
        vault=of("vault", _read.text),
    )


@dataclass(frozen=True)
class ServiceRef:
    """A service by what people call it."""

    host: str
    name: str


def read_service_ref(value: Any, path: str) -> ServiceRef:
    of = _read.fields(value, path)
    return ServiceRef(
        host=of("host", _read.text),
        name=of("name", _read.text),
    )


@dataclass(frozen=True)
class ServiceRemoved:
    """A service that was removed."""

    removed: str
    removed_host: str
    services_count: int
    vault: str
    #: The list's revision after this write, for the next one that rests on it.
    revision: int | None


def read_service_removed(value: Any, path: str) -> ServiceRemoved:
    of = _read.fields(value, path)
    return ServiceRemoved(
        removed=of("removed", _read.text),
        removed_host=of("removed_host", _read.text),
        services_count=of("services_count", _read.integer),
        vault=of("vault", _read.text),
        revision=of("revision", _read.or_none(_read.integer)),
    )


@dataclass(frozen=True)
class ServiceSwitched:
    """A service that was enabled or disabled."""

    enabled: bool
    host: str
    name: str
    vault: str
    #: The list's revision after this write, for the next one that rests on it.
    revision: int | None


def read_service_switched(value: Any, path: str) -> ServiceSwitched:
    of = _read.fields(value, path)
    return ServiceSwitched(
        enabled=of("enabled", _read.flag),
        host=of("host", _read.text),
        name=of("name", _read.text),
        vault=of("vault", _read.text),
        revision=of("revision", _read.or_none(_read.integer)),
    )


@dataclass(frozen=True)
class ServiceTemplate:
    """A template."""

    auth_type: str
    description: str
    header: str | None
    headers: dict[str, str]
    host: str
    id: str
    name: str
    prefix: str | None
    substitutions: list[dict[str, Any]]
    suggested_credential_key: str


def read_service_template(value: Any, path: str) -> ServiceTemplate:
    of = _read.fields(value, path)
    return ServiceTemplate(
        auth_type=of("auth_type", _read.text),
        description=of("description", _read.text),
        header=of("header", _read.or_none(_read.text)),
        headers=of("headers", _read.entries_or_empty(_read.text)),
        host=of("host", _read.text),
        id=of("id", _read.text),
        name=of("name", _read.text),
        prefix=of("prefix", _read.or_none(_read.text)),
        substitutions=of("substitutions", _read.items_or_empty(_read.verbatim)),
        suggested_credential_key=of("suggested_credential_key", _read.text),
    )


@dataclass(frozen=True)
class ServiceTest:
    """What the proxy would do."""

    #: Why it would be refused, as in the request log.
    code: str | None
    #: Every service for this host.
    considered: list[ConsideredRule]
    #: `inject`, `forward` or `deny`.
    decision: str
    #: How many services are for other hosts.
    elsewhere: int
    hint: str | None
    #: The request's host, with its port where that is not the scheme's.
    host: str
    #: Credentials that it names and the vault lacks.
    missing: list[str]
    #: The path as rules see it.
    path: str
    #: Placeholders that it replaces.
    replaces: list[ReplacedPlaceholder]
    #: The service that decides.
    service: MatchedService | None
    #: Fields that it sets, `{{ KEY }}` standing for values.
    sets: list[TestHeader]
    summary: str
    vault: str


def read_service_test(value: Any, path: str) -> ServiceTest:
    of = _read.fields(value, path)
    return ServiceTest(
        code=of("code", _read.or_none(_read.text)),
        considered=of("considered", _read.items(read_considered_rule)),
        decision=of("decision", _read.text),
        elsewhere=of("elsewhere", _read.integer),
        hint=of("hint", _read.or_none(_read.text)),
        host=of("host", _read.text),
        missing=of("missing", _read.items(_read.text)),
        path=of("path", _read.text),
        replaces=of("replaces", _read.items(read_replaced_placeholder)),
        service=of("service", _read.or_none(read_matched_service)),
        sets=of("sets", _read.items(read_test_header)),
        summary=of("summary", _read.text),
        vault=of("vault", _read.text),
    )


@dataclass(frozen=True)
class ServicesCleared:
    """A vault without services."""

    cleared: bool
    vault: str
    #: The list's revision after this write, for the next one that rests on it.
    revision: int | None


def read_services_cleared(value: Any, path: str) -> ServicesCleared:
    of = _read.fields(value, path)
    return ServicesCleared(
        cleared=of("cleared", _read.flag),
        vault=of("vault", _read.text),
        revision=of("revision", _read.or_none(_read.integer)),
    )


@dataclass(frozen=True)
class ServicesReplaced:
    """The result of a replacement."""

    services_count: int
    vault: str
    #: The list's revision after this write, for the next one that rests on it.
    revision: int | None


def read_services_replaced(value: Any, path: str) -> ServicesReplaced:
    of = _read.fields(value, path)
    return ServicesReplaced(
        services_count=of("services_count", _read.integer),
        vault=of("vault", _read.text),
        revision=of("revision", _read.or_none(_read.integer)),
    )


@dataclass(frozen=True)
class ServicesSet:
    """The result of an upsert."""

    services_count: int
    upserted: list[str]
    vault: str
    #: The list's revision after this write, for the next one that rests on it.
    revision: int | None


def read_services_set(value: Any, path: str) -> ServicesSet:
    of = _read.fields(value, path)
    return ServicesSet(
        services_count=of("services_count", _read.integer),
        upserted=of("upserted", _read.items(_read.text)),
        vault=of("vault", _read.text),
        revision=of("revision", _read.or_none(_read.integer)),
    )


@dataclass(frozen=True)
class SessionInfo:
    """A live token."""

    created_at: str
    created_by: Minter | None
    expires_at: str | None
    id: str
    label: str | None
    #: By a request through the proxy or to this API.
    last_used_at: str | None
    #: Requests that it was given; absent when there is no end.
    request_budget: int | None
    #: Those of them that are left.
    requests_left: int | None
    #: Services that it may use; absent when it may use all.
    services: list[str] | None
    #: Networks that it may be used from; absent when it may be used anywhere.
    sources: list[str]
    vault_role: str


def read_session_info(value: Any, path: str) -> SessionInfo:
    of = _read.fields(value, path)
    return SessionInfo(
        created_at=of("created_at", _read.text),
        created_by=of("created_by", _read.or_none(read_minter)),
        expires_at=of("expires_at", _read.or_none(_read.text)),
        id=of("id", _read.text),
        label=of("label", _read.or_none(_read.text)),
        last_used_at=of("last_used_at", _read.or_none(_read.text)),
        request_budget=of("request_budget", _read.or_none(_read.integer)),
        requests_left=of("requests_left", _read.or_none(_read.integer)),
        services=of("services", _read.or_none(_read.items(_read.text))),
        sources=of("sources", _read.items_or_empty(_read.text)),
        vault_role=of("vault_role", _read.text),
    )


@dataclass(frozen=True)
class StorePlace:
    """Where in Infisical a vault's secrets are. All three are needed."""

    #: The environment's slug.
    environment: str | None
    project_id: str | None
    #: The folder; begins with `/`.
    secret_path: str | None


def read_store_place(value: Any, path: str) -> StorePlace:
    of = _read.fields(value, path)
    return StorePlace(
        environment=of("environment", _read.or_none(_read.text)),
        project_id=of("project_id", _read.or_none(_read.text)),
        secret_path=of("secret_path", _read.or_none(_read.text)),
    )


@dataclass(frozen=True)
class StoreState:
    """A vault's external store."""

    #: For vault admins and instance owners.
    config: StorePlace | None
    #: `builtin` or `infisical`.
    kind: str
    #: When the last refresh ended that went well.
    last_success_at: str | None
    #: Why the last one failed; for vault admins and instance owners.
    last_sync_error: str | None
    #: How the last refresh ended: `ok` or `error`.
    last_sync_status: str | None
    #: When the last refresh ended.
    last_synced_at: str | None
    poll_interval_seconds: int | None
    #: True once refreshes have failed for so long that the values may be out of date.
    stale: bool | None


def read_store_state(value: Any, path: str) -> StoreState:
    of = _read.fields(value, path)
    return StoreState(
        config=of("config", _read.or_none(read_store_place)),
        kind=of("kind", _read.text),
        last_success_at=of("last_success_at", _read.or_none(_read.text)),
        last_sync_error=of("last_sync_error", _read.or_none(_read.text)),
        last_sync_status=of("last_sync_status", _read.or_none(_read.text)),
        last_synced_at=of("last_synced_at", _read.or_none(_read.text)),
        poll_interval_seconds=of("poll_interval_seconds", _read.or_none(_read.integer)),
        stale=of("stale", _read.or_none(_read.flag)),
    )


@dataclass(frozen=True)
class StoreSummary:
    """A vault's store in a list of vaults."""

    kind: str
    last_sync_status: str | None
    last_synced_at: str | None


def read_store_summary(value: Any, path: str) -> StoreSummary:
    of = _read.fields(value, path)
    return StoreSummary(
        kind=of("kind", _read.text),
        last_sync_status=of("last_sync_status", _read.or_none(_read.text)),
        last_synced_at=of("last_synced_at", _read.or_none(_read.text)),
    )


@dataclass(frozen=True)
class StoredKeys:
    """Names that were stored."""

    set: list[str]
    #: What the operator should know of them; absent when there is nothing.
    warnings: list[str]


def read_stored_keys(value: Any, path: str) -> StoredKeys:
    of = _read.fields(value, path)
    return StoredKeys(
        set=of("set", _read.items(_read.text)),
        warnings=of("warnings", _read.items_or_empty(_read.text)),
    )


@dataclass(frozen=True)
class TestHeader:
    """A header field."""

    name: str
    value: str


def read_test_header(value: Any, path: str) -> TestHeader:
    of = _read.fields(value, path)
    return TestHeader(
        name=of("name", _read.text),
        value=of("value", _read.text),
    )


@dataclass(frozen=True)
class TestMailSent:
    """A test that was sent."""

    message: str
    to: str


def read_test_mail_sent(value: Any, path: str) -> TestMailSent:
    of = _read.fields(value, path)
    return TestMailSent(
        message=of("message", _read.text),
        to=of("to", _read.text),
    )


@dataclass(frozen=True)
class User:
    """A person in the directory."""

    created_at: str
    email: str
    #: Stands in paths in the place of the address.
    id: str
    role: str
    #: For owners only.
    vaults: list[VaultGrant] | None


def read_user(value: Any, path: str) -> User:
    of = _read.fields(value, path)
    return User(
        created_at=of("created_at", _read.text),
        email=of("email", _read.text),
        id=of("id", _read.text),
        role=of("role", _read.text),
        vaults=of("vaults", _read.or_none(_read.items(read_vault_grant))),
    )


@dataclass(frozen=True)
class UserDetail:
    """A person."""

    created_at: str
    email: str
    id: str
    role: str
    #: Names of the vaults that they have a role in.
    vaults: list[str]


def read_user_detail(value: Any, path: str) -> UserDetail:
    of = _read.fields(value, path)
    return UserDetail(
        created_at=of("created_at", _read.text),
        email=of("email", _read.text),
        id=of("id", _read.text),
        role=of("role", _read.text),
        vaults=of("vaults", _read.items(_read.text)),
    )


@dataclass(frozen=True)
class UserRole:
    """A person's role."""

    email: str
    role: str


def read_user_role(value: Any, path: str) -> UserRole:
    of = _read.fields(value, path)
    return UserRole(
        email=of("email", _read.text),
        role=of("role", _read.text),
    )


@dataclass(frozen=True)
class Vault:
    """A vault that was made."""

    created_at: str
    #: Present where its credentials come from an external store.
    credential_store: StoreState | None
    id: str
    name: str


def read_vault(value: Any, path: str) -> Vault:
    of = _read.fields(value, path)
    return Vault(
        created_at=of("created_at", _read.text),
        credential_store=of("credential_store", _read.or_none(read_store_state)),
        id=of("id", _read.text),
        name=of("name", _read.text),
    )


@dataclass(frozen=True)
class VaultAgent:
    """An agent in a vault."""

    agent_id: str
    name: str
    #: `active` or `revoked`.
    status: str
    role: str


def read_vault_agent(value: Any, path: str) -> VaultAgent:
    of = _read.fields(value, path)
    return VaultAgent(
        agent_id=of("agent_id", _read.text),
        name=of("name", _read.text),
        status=of("status", _read.text),
        role=of("vault_role", _read.text),
    )


@dataclass(frozen=True)
class VaultContext:
    """One's role in a vault."""

    #: Present where its credentials come from an external store.
    credential_store: StoreState | None
    vault_name: str
    vault_role: str


def read_vault_context(value: Any, path: str) -> VaultContext:
    of = _read.fields(value, path)
    return VaultContext(
        credential_store=of("credential_store", _read.or_none(read_store_state)),
        vault_name=of("vault_name", _read.text),
        vault_role=of("vault_role", _read.text),
    )


@dataclass(frozen=True)
class VaultGrant:
    """A vault and a role there."""

    vault: str
    role: str


def read_vault_grant(value: Any, path: str) -> VaultGrant:
    of = _read.fields(value, path)
    return VaultGrant(
        vault=of("vault_name", _read.text),
        role=of("vault_role", _read.text),
    )


@dataclass(frozen=True)
class VaultPolicy:
    """Settings as they are now."""

    unmatched_host_policy: str


def read_vault_policy(value: Any, path: str) -> VaultPolicy:
    of = _read.fields(value, path)
    return VaultPolicy(
        unmatched_host_policy=of("unmatched_host_policy", _read.text),
    )


@dataclass(frozen=True)
class VaultRoleChange:
    """A role that was given."""

    new_role: str
    old_role: str


def read_vault_role_change(value: Any, path: str) -> VaultRoleChange:
    of = _read.fields(value, path)
    return VaultRoleChange(
        new_role=of("new_role", _read.text),
        old_role=of("old_role", _read.text),
    )


@dataclass(frozen=True)
class VaultSettings:
    """Settings."""

    #: Whether one may connect the vault to Infisical here.
    infisical_available: bool
    #: `passthrough` or `deny`.
    unmatched_host_policy: str


def read_vault_settings(value: Any, path: str) -> VaultSettings:
    of = _read.fields(value, path)
    return VaultSettings(
        infisical_available=of("infisical_available", _read.flag),
        unmatched_host_policy=of("unmatched_host_policy", _read.text),
    )


@dataclass(frozen=True)
class VaultSummary:
    """A vault in one's list."""

    created_at: str
    #: Present where its credentials come from an external store.
    credential_store: StoreSummary | None
    id: str
    #: `explicit` by a grant, `implicit` for owners without one.
    membership: str
    name: str
    #: That wait for a decision; 0 for owners who have not joined.
    pending_proposals: int
    #: Absent for owners who have not joined.
    role: str | None


def read_vault_summary(value: Any, path: str) -> VaultSummary:
    of = _read.fields(value, path)
    return VaultSummary(
        created_at=of("created_at", _read.text),
        credential_store=of("credential_store", _read.or_none(read_store_summary)),
        id=of("id", _read.text),
        membership=of("membership", _read.text),
        name=of("name", _read.text),
        pending_proposals=of("pending_proposals", _read.integer),
        role=of("role", _read.or_none(_read.text)),
    )


@dataclass(frozen=True)
class VaultUser:
    """A person in a vault."""

    email: str
    role: str
    #: `active` or `pending`.
    status: str


def read_vault_user(value: Any, path: str) -> VaultUser:
    of = _read.fields(value, path)
    return VaultUser(
        email=of("email", _read.text),
        role=of("role", _read.text),
        status=of("status", _read.text),
    )


@dataclass(frozen=True)
class VaultUserGrant:
    """A person who was added."""

    email: str
    role: str


def read_vault_user_grant(value: Any, path: str) -> VaultUserGrant:
    of = _read.fields(value, path)
    return VaultUserGrant(
        email=of("email", _read.text),
        role=of("role", _read.text),
    )


@dataclass(frozen=True)
class VersionedService:
    """One service."""

    service: Service
    vault: str
    #: Changes with the service and with nothing else; also the `ETag`.
    version: str


def read_versioned_service(value: Any, path: str) -> VersionedService:
    of = _read.fields(value, path)
    return VersionedService(
        service=of("service", _read.verbatim),
        vault=of("vault", _read.text),
        version=of("version", _read.text),
    )


@dataclass(frozen=True)
class Webhook:
    """A webhook."""

    created_at: str
    #: When it last took something.
    delivered_at: str | None
    description: str
    #: Events that found its queue full.
    dropped: int
    #: Empty for all.
    events: list[str]
    failing_since: str | None
    #: Failed attempts since the last good one.
    failures: int
    #: Until when the former secret signs too.
    former_secret_until: str | None
    id: str
    #: Why the last attempt failed; empty after a good one.
    last_error: str
    parked_at: str | None
    #: What waits to be sent.
    pending: int
    #: `active`; `parked` when it did not answer for long; `off`.
    state: str
    updated_at: str
    url: str


def read_webhook(value: Any, path: str) -> Webhook:
    of = _read.fields(value, path)
    return Webhook(
        created_at=of("created_at", _read.text),
        delivered_at=of("delivered_at", _read.or_none(_read.text)),
        description=of("description", _read.text),
        dropped=of("dropped", _read.integer),
        events=of("events", _read.items(_read.text)),
        failing_since=of("failing_since", _read.or_none(_read.text)),
        failures=of("failures", _read.integer),
        former_secret_until=of("former_secret_until", _read.or_none(_read.text)),
        id=of("id", _read.text),
        last_error=of("last_error", _read.text),
        parked_at=of("parked_at", _read.or_none(_read.text)),
        pending=of("pending", _read.integer),
        state=of("state", _read.text),
        updated_at=of("updated_at", _read.text),
        url=of("url", _read.text),
    )


@dataclass(frozen=True)
class WebhookDelivery:
    """An event for a webhook."""

    attempts: int
    created_at: str
    ended_at: str | None
    #: Why the last attempt failed; empty when it did not.
    error: str
    event: str
    event_id: str
    #: While it is pending.
    next_attempt_at: str | None
    #: Status of the last answer, if there was one.
    response_status: int | None
    #: `pending`, `delivered` or `failed`.
    status: str


def read_webhook_delivery(value: Any, path: str) -> WebhookDelivery:
    of = _read.fields(value, path)
    return WebhookDelivery(
        attempts=of("attempts", _read.integer),
        created_at=of("created_at", _read.text),
        ended_at=of("ended_at", _read.or_none(_read.text)),
        error=of("error", _read.text),
        event=of("event", _read.text),
        event_id=of("event_id", _read.text),
        next_attempt_at=of("next_attempt_at", _read.or_none(_read.text)),
        response_status=of("response_status", _read.or_none(_read.integer)),
        status=of("status", _read.text),
    )


@dataclass(frozen=True)
class WebhookWithSecret:
    """A webhook and its signing secret, which is shown this once."""

    created_at: str
    #: When it last took something.
    delivered_at: str | None
    description: str
    #: Events that found its queue full.
    dropped: int
    #: Empty for all.
    events: list[str]
    failing_since: str | None
    #: Failed attempts since the last good one.
    failures: int
    #: Until when the former secret signs too.
    former_secret_until: str | None
    id: str
    #: Why the last attempt failed; empty after a good one.
    last_error: str
    parked_at: str | None
    #: What waits to be sent.
    pending: int
    #: `active`; `parked` when it did not answer for long; `off`.
    state: str
    updated_at: str
    url: str
    #: `whsec_` and base64. Shown once.
    secret: str = field(repr=False)


def read_webhook_with_secret(value: Any, path: str) -> WebhookWithSecret:
    of = _read.fields(value, path)
    return WebhookWithSecret(
        created_at=of("created_at", _read.text),
        delivered_at=of("delivered_at", _read.or_none(_read.text)),
        description=of("description", _read.text),
        dropped=of("dropped", _read.integer),
        events=of("events", _read.items(_read.text)),
        failing_since=of("failing_since", _read.or_none(_read.text)),
        failures=of("failures", _read.integer),
        former_secret_until=of("former_secret_until", _read.or_none(_read.text)),
        id=of("id", _read.text),
        last_error=of("last_error", _read.text),
        parked_at=of("parked_at", _read.or_none(_read.text)),
        pending=of("pending", _read.integer),
        state=of("state", _read.text),
        updated_at=of("updated_at", _read.text),
        url=of("url", _read.text),
        secret=of("secret", _read.text),
    )
