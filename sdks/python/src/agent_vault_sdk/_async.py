"""The client for an event loop; made of `_sync.py` by scripts/make_async.py."""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, AsyncIterator, Literal, Mapping, Sequence

import httpx

from . import _calls, _oauth, _stream, _webhooks, _wire
from . import _models as m
from ._errors import AgentVaultError
from ._service import CredentialSlot, ProposedService, Service
from ._async_http import AsyncConnection
from ._values import (
    AuditFilter,
    Credentials,
    CredentialStore,
    LogConditions,
    LogFilter,
    LogRetentionChange,
    ProposalStatus,
    RateLimitChange,
    Session,
    VaultRole,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncCredentialsResource:
    """Credentials of a vault."""

    def __init__(self, http: AsyncConnection, vault: str | None) -> None:
        self._http = http
        self._vault = vault

    async def list(self, *, reveal: bool = False, key: str | None = None) -> Credentials:
        """Names; with ``reveal`` values too, which needs the role ``member``."""
        return await self._http.run(_calls.list_credentials(self._vault, reveal, key), self._vault)

    async def describe(self, *, key: str | None = None) -> Sequence[m.Credential]:
        """What is known of each beside its value: version, expiry, kind. Needs the role ``member``."""
        return await self._http.run(_calls.describe_credentials(self._vault, key), self._vault)

    async def set(self, values: Mapping[str, str], *, expires_at: str | None = None) -> m.StoredKeys:
        """Adds or replaces, all or none. From ``expires_at`` on, RFC 3339, they count as absent."""
        return await self._http.run(_calls.set_credentials(self._vault, values, expires_at), self._vault)

    async def delete(self, keys: Sequence[str]) -> Sequence[str]:
        """All or none."""
        return await self._http.run(_calls.delete_credentials(self._vault, keys), self._vault)

    async def versions(self, key: str) -> m.CredentialVersions:
        """The versions that are kept, without their values."""
        return await self._http.run(_calls.credential_versions(self._vault, key), self._vault)

    async def roll_back(self, key: str, version: int) -> m.CredentialInForce:
        """Puts a former value in force, as a new version."""
        return await self._http.run(_calls.roll_back_credential(self._vault, key, version), self._vault)

    async def expire(self, key: str, expires_at: str | None) -> m.CredentialExpiry:
        """Says from when on it counts as absent, RFC 3339; ``None``: never."""
        return await self._http.run(_calls.expire_credential(self._vault, key, expires_at), self._vault)

    async def delete_version(self, key: str, version: int) -> m.DeletedVersion:
        """Erases a former value."""
        return await self._http.run(_calls.delete_credential_version(self._vault, key, version), self._vault)


class AsyncSessionsResource:
    """Short-lived tokens of a vault."""

    def __init__(self, http: AsyncConnection, vault: str) -> None:
        self._http = http
        self._vault = vault
        self._ca: _wire.Authority | None = None

    async def create(
        self,
        *,
        ttl_seconds: int | None = None,
        label: str | None = None,
        services: Sequence[str] | None = None,
        request_budget: int | None = None,
        sources: Sequence[str] | None = None,
        proxy_host: str | None = None,
    ) -> Session:
        """Mints a token and says how a container uses it.

        ``ttl_seconds`` is 300 to 604800, a day when absent. ``label`` shows in lists and the request log. ``services`` are
        the names of those that it may use, 1 to 200, ``request_budget`` is how many requests it has, ``sources`` are the
        networks or addresses that it may be used from, 1 to 32; all and anywhere when absent. ``proxy_host`` is where the
        container finds the proxy; by default the client's, else the host of its address.
        """
        # First: a failure here leaves no token behind. Only a success is kept.
        if self._ca is None:
            self._ca = _wire.authority(await self._http.send(_wire.CA, self._vault))
        settings = self._http.settings
        host = _wire.host_of(settings.address, proxy_host if proxy_host is not None else settings.proxy_host)
        call = _calls.mint_session(self._vault, ttl_seconds, label, services, request_budget, sources)
        minted = await self._http.run(call, self._vault)
        config = None
        if self._ca is not None:
            config = _wire.container(self._ca, host, self._vault, minted.token)
        return Session(minted.id, minted.token, minted.expires_at, minted.address, config)

    async def list(self) -> Sequence[m.SessionInfo]:
        """Live tokens, newest first."""
        return await self._http.run(_calls.list_sessions(self._vault), self._vault)

    async def revoke(self, id: str) -> None:
        """Ends a token by its public id, its open connections too."""
        await self._http.run(_calls.revoke_session(self._vault, id), self._vault)


class AsyncDryRunResource:
    """The writes to services, of which only the outcome is told. ``changes`` has each service before and after.

    Nothing is written.
    """

    def __init__(self, http: AsyncConnection, vault: str) -> None:
        self._http = http
        self._vault = vault

    async def set(
        self,
        services: Sequence[Service],
        *,
        if_revision: int | None = None,
        expected: Mapping[str, str | None] | None = None,
    ) -> m.ServicePlan:
        call = _calls.set_services(self._vault, services, if_revision, expected)
        return await self._http.run(_calls.planned(call), self._vault)

    async def replace_all(
        self,
        services: Sequence[Service],
        *,
        if_revision: int | None = None,
        expected: Mapping[str, str | None] | None = None,
    ) -> m.ServicePlan:
        call = _calls.replace_services(self._vault, services, if_revision, expected)
        return await self._http.run(_calls.planned(call), self._vault)

    async def set_enabled(self, reference: str, enabled: bool, *, if_version: str | None = None) -> m.ServicePlan:
        call = _calls.enable_service(self._vault, reference, enabled, if_version)
        return await self._http.run(_calls.planned(call), self._vault)

    async def remove(self, reference: str, *, if_version: str | None = None) -> m.ServicePlan:
        return await self._http.run(_calls.planned(_calls.remove_service(self._vault, reference, if_version)), self._vault)

    async def clear(self, *, if_revision: int | None = None) -> m.ServicePlan:
        return await self._http.run(_calls.planned(_calls.clear_services(self._vault, if_revision)), self._vault)


class AsyncServicesResource:
    """Services of a vault.

    A write may say what it rests on: ``if_revision`` of the list, ``if_version`` of one service, or ``expected``, by name
    the version of each (``None``: there is none of that name). If that has changed since, it raises
    ``VersionConflictError`` and writes nothing.
    """

    def __init__(self, http: AsyncConnection, vault: str) -> None:
        self._http = http
        self._vault = vault
        #: What the writes would do.
        self.dry_run = AsyncDryRunResource(http, vault)

    async def list(self) -> m.ServiceList:
        """In stored order, with the list's ``revision`` and the version of each by its name."""
        return await self._http.run(_calls.list_services(self._vault), self._vault)

    async def get(self, reference: str) -> m.VersionedService:
        """One service, by name or host, with its version."""
        return await self._http.run(_calls.get_service(self._vault, reference), self._vault)

    async def set(
        self,
        services: Sequence[Service],
        *,
        if_revision: int | None = None,
        expected: Mapping[str, str | None] | None = None,
    ) -> m.ServicesSet:
        """Adds services, or replaces those of the same names."""
        return await self._http.run(_calls.set_services(self._vault, services, if_revision, expected), self._vault)

    async def replace_all(
        self,
        services: Sequence[Service],
        *,
        if_revision: int | None = None,
        expected: Mapping[str, str | None] | None = None,
    ) -> m.ServicesReplaced:
        """Makes these the only services."""
        return await self._http.run(_calls.replace_services(self._vault, services, if_revision, expected), self._vault)

    async def set_enabled(self, reference: str, enabled: bool, *, if_version: str | None = None) -> m.ServiceSwitched:
        return await self._http.run(_calls.enable_service(self._vault, reference, enabled, if_version), self._vault)

    async def remove(self, reference: str, *, if_version: str | None = None) -> m.ServiceRemoved:
        """By host or name. Where several share the host: ``ConflictError``, with ``candidates``."""
        return await self._http.run(_calls.remove_service(self._vault, reference, if_version), self._vault)

    async def clear(self, *, if_revision: int | None = None) -> m.ServicesCleared:
        """Removes every service."""
        return await self._http.run(_calls.clear_services(self._vault, if_revision), self._vault)

    async def credential_usage(self, key: str) -> Sequence[m.ServiceRef]:
        """Which services use a credential."""
        return await self._http.run(_calls.credential_usage(self._vault, key), self._vault)

    async def test(
        self, url: str, *, agent: str | None = None, headers: Mapping[str, str] | None = None
    ) -> m.ServiceTest:
        """Tells which service would decide a request, why the others would not, and what would be sent.

        Nothing is sent. ``headers`` matter where a placeholder chooses the account.
        """
        return await self._http.run(_calls.test_service(self._vault, url, agent, headers), self._vault)


class AsyncProposalsResource:
    """What agents ask to change, and the decisions on it."""

    def __init__(self, http: AsyncConnection, vault: str | None) -> None:
        self._http = http
        self._vault = vault

    async def create(
        self,
        *,
        services: Sequence[ProposedService] | None = None,
        credentials: Sequence[CredentialSlot] | None = None,
        message: str | None = None,
        user_message: str | None = None,
    ) -> m.RaisedProposal:
        """Asks for up to 10 services and 10 credentials, at least one; ``approval_url`` is for the person who decides.

        ``message`` is for lists, up to 2000 bytes, ``user_message`` for that person, up to 5000.
        """
        return await self._http.run(_calls.raise_proposal(services, credentials, message, user_message), self._vault)

    async def list(self, *, status: ProposalStatus | None = None) -> Sequence[m.Proposal]:
        """The caller's own, and for people all, without what is in them."""
        return await self._http.run(_calls.list_proposals(status), self._vault)

    async def get(self, id: int) -> m.ProposalDetail:
        """What became of one."""
        return await self._http.run(_calls.get_proposal(id), self._vault)

    async def wait(self, id: int, *, timeout: float | None = 600.0, interval: float = 1.0) -> m.ProposalDetail:
        """Looks again and again, less and less often, until it is not ``pending`` any more.

        Failures that pass are waited out. ``timeout`` is in seconds; ``None``: until it has expired by itself.
        ``interval`` is between the first two looks; then it grows, up to 15 seconds.
        """
        waiting = _stream.Waiting(id, timeout, interval)
        while True:
            try:
                found = await self.get(id)
                if found.status != "pending":
                    return found
            except AgentVaultError as error:
                waiting.failed(error)
            await self._http.sleep(waiting.pause())

    async def reviews(self, *, status: ProposalStatus | None = None) -> Sequence[m.ProposalToReview]:
        """For those who decide: the vault's proposals and what is in them."""
        return await self._http.run(_calls.reviews(self._vault, status), self._vault)

    async def review(self, id: int) -> m.ProposalReview:
        """For those who decide: one, with a preview of what it would do.

        The preview tells which key would go to which host, and what would change.
        """
        return await self._http.run(_calls.review(self._vault, id), self._vault)

    async def approve(
        self, id: int, *, credentials: Mapping[str, str] | None = None, revision: int | None = None
    ) -> m.Decision:
        """Carries it out, whole or not at all. Nobody approves what came from their own hands.

        ``credentials`` gives values by key; one that is given wins over the agent's own. ``revision`` is
        ``preview.revision`` of what was seen: if the services have changed since, ``VersionConflictError``.
        """
        return await self._http.run(_calls.approve(self._vault, id, credentials, revision), self._vault)

    async def reject(self, id: int, *, reason: str | None = None) -> m.Decision:
        return await self._http.run(_calls.reject(self._vault, id, reason), self._vault)


class AsyncLogsResource:
    """Request log of a vault."""

    def __init__(self, http: AsyncConnection, vault: str) -> None:
        self._http = http
        self._vault = vault

    async def list(self, **given: Unpack[LogFilter]) -> m.LogPage:
        """One page, newest first; with ``after`` oldest first."""
        return await self._http.run(_calls.list_logs(self._vault, given), self._vault)

    async def all(self, **given: Unpack[LogFilter]) -> AsyncIterator[m.LogRow]:
        """Every row, page after page: newest first, or oldest first with ``after``."""
        while True:
            page = await self.list(**given)
            for row in page.logs:
                yield row
            if page.next_cursor is None:
                return
            if given.get("after") is None:
                given["before"] = page.next_cursor
            else:
                given["after"] = page.next_cursor

    async def export(self, **given: Unpack[LogConditions]) -> AsyncIterator[m.LogRow]:
        """Every row, oldest first, in one answer. Goes on where it was when the answer breaks off."""
        stream = _stream.LogExport(self._http.settings.retries, self._vault, given)
        async for row in self._http.rows(stream, self._vault):
            yield row

    async def follow(self, **given: Unpack[LogConditions]) -> AsyncIterator[m.LogRow]:
        """Rows as they come, after the row ``after``, else from now on.

        A lost connection is made anew, and goes on with the row behind the last one. Ends when the loop is left, with a
        ``StreamEndedError`` when the server says that the caller may not read on, or with the error of the tenth failure
        in a row.
        """
        after = given.get("after")
        if after is None:
            # A connection that ends before its first row has to be taken up where it began.
            page = await self.list(limit=1)
            after = page.latest_id
        async for row in self._http.rows(_stream.LogFollow(self._vault, after, given), self._vault):
            yield row

    async def hosts(self, *, limit: int | None = None) -> m.DiscoveredHosts:
        """Hosts that requests went to, and which of them sent a credential of their own."""
        return await self._http.run(_calls.discovered_hosts(self._vault, limit), self._vault)


class AsyncVaultAgentsResource:
    """Agents in one vault."""

    def __init__(self, http: AsyncConnection, vault: str) -> None:
        self._http = http
        self._vault = vault

    async def list(self) -> Sequence[m.VaultAgent]:
        return await self._http.run(_calls.list_vault_agents(self._vault), self._vault)

    async def add(self, name: str, role: VaultRole = "proxy") -> None:
        await self._http.run(_calls.add_vault_agent(self._vault, name, role), self._vault)

    async def set_role(self, name: str, role: VaultRole) -> m.VaultRoleChange:
        return await self._http.run(_calls.set_vault_agent_role(self._vault, name, role), self._vault)

    async def remove(self, name: str) -> None:
        """The vault's tokens that it minted end too."""
        await self._http.run(_calls.remove_vault_agent(self._vault, name), self._vault)


class AsyncVaultUsersResource:
    """People in one vault."""

    def __init__(self, http: AsyncConnection, vault: str) -> None:
        self._http = http
        self._vault = vault

    async def list(self) -> Sequence[m.VaultUser]:
        return await self._http.run(_calls.list_vault_users(self._vault), self._vault)

    async def add(self, email: str, role: VaultRole) -> m.VaultUserGrant:
        return await self._http.run(_calls.add_vault_user(self._vault, email, role), self._vault)

    async def set_role(self, email: str, role: VaultRole) -> None:
        await self._http.run(_calls.set_vault_user_role(self._vault, email, role), self._vault)

    async def remove(self, email: str) -> None:
        await self._http.run(_calls.remove_vault_user(self._vault, email), self._vault)


class AsyncVaultSettingsResource:
    """Settings of one vault."""

    def __init__(self, http: AsyncConnection, vault: str) -> None:
        self._http = http
        self._vault = vault

    async def get(self) -> m.VaultSettings:
        return await self._http.run(_calls.vault_settings(self._vault), self._vault)

    async def set(self, *, unmatched_host_policy: str | None = None) -> m.VaultPolicy:
        return await self._http.run(_calls.set_vault_settings(self._vault, unmatched_host_policy), self._vault)


class AsyncOAuthResource:
    """Credentials whose values come from a provider by OAuth."""

    def __init__(self, http: AsyncConnection, vault: str | None) -> None:
        self._http = http
        self._vault = vault

    async def connect(
        self,
        key: str,
        *,
        authorization_url: str | None = None,
        disable_pkce: bool | None = None,
        **client: Unpack[_oauth.OAuthClient],
    ) -> m.OAuthConnecting:
        """Prepares a consent; ``start_url`` is for the person.

        What works stays as it is until tokens have come back. What is left out is what is stored already.
        """
        call = _oauth.connect(self._vault, key, client, authorization_url, disable_pkce)
        return await self._http.run(call, self._vault)

    async def status(self, key: str, *, consent: str | None = None) -> m.OAuthState:
        """How the grant is, and the consent of this id, or the newest."""
        return await self._http.run(_oauth.status(self._vault, key, consent), self._vault)

    async def set_tokens(
        self,
        key: str,
        *,
        access_token: str | None = None,
        refresh_token: str | None = None,
        **client: Unpack[_oauth.OAuthClient],
    ) -> m.OAuthConnected:
        """Connects a credential with tokens that are there already. The refresh token is used at once, to see that it works."""
        call = _oauth.set_tokens(self._vault, key, client, access_token, refresh_token)
        return await self._http.run(call, self._vault)


class AsyncWebhooksResource:
    """Webhooks of a vault, or of the instance: signed messages of what happens, to an address outside."""

    def __init__(self, http: AsyncConnection, path: str) -> None:
        """``path`` is where they are."""
        self._http = http
        self._path = path

    async def list(self) -> Sequence[m.Webhook]:
        """Oldest first."""
        return await self._http.run(_webhooks.list_webhooks(self._path))

    async def get(self, id: str) -> m.Webhook:
        return await self._http.run(_webhooks.get_webhook(self._path, id))

    async def create(
        self, url: str, *, description: str | None = None, events: Sequence[str] | None = None
    ) -> m.WebhookWithSecret:
        """Its signing secret is shown once. All events when ``events`` is absent."""
        return await self._http.run(_webhooks.create_webhook(self._path, url, description, events))

    async def change(
        self,
        id: str,
        *,
        url: str | None = None,
        description: str | None = None,
        events: Sequence[str] | None = None,
        enabled: bool | None = None,
    ) -> m.Webhook:
        """What is absent stays. ``enabled=True`` switches it on, a parked one too, and sends what waits."""
        return await self._http.run(_webhooks.change_webhook(self._path, id, url, description, events, enabled))

    async def remove(self, id: str) -> None:
        """Removes it and what waits for it."""
        await self._http.run(_webhooks.remove_webhook(self._path, id))

    async def rotate(self, id: str, *, overlap_seconds: int | None = None) -> m.WebhookWithSecret:
        """Puts a new secret in force. The former one signs too for ``overlap_seconds``, a day when absent."""
        return await self._http.run(_webhooks.rotate_webhook(self._path, id, overlap_seconds))

    async def test(self, id: str) -> str:
        """Sends a test event; what became of it is in ``deliveries`` under this id."""
        return await self._http.run(_webhooks.test_webhook(self._path, id))

    async def deliveries(self, id: str, *, limit: int | None = None) -> Sequence[m.WebhookDelivery]:
        """What was sent to it and what waits for it, newest first."""
        return await self._http.run(_webhooks.deliveries(self._path, id, limit))


class AsyncStoreResource:
    """The external store that a vault's credentials come from, where they do."""

    def __init__(self, http: AsyncConnection, vault: str) -> None:
        self._http = http
        self._vault = vault

    async def get(self) -> m.StoreState | None:
        """``None`` where the vault has its credentials itself."""
        return await self._http.run(_calls.vault_store(self._vault), self._vault)

    async def connect(self, store: CredentialStore) -> m.StoreState:
        """What was typed in is replaced by what is there.

        Fetches at once: a store that cannot be read is an error, and nothing changes.
        """
        return await self._http.run(_calls.choose_store(self._vault, store), self._vault)

    async def disconnect(self) -> m.StoreState:
        """The last copies stay as the vault's own."""
        return await self._http.run(_calls.choose_store(self._vault, {"kind": "builtin"}), self._vault)

    async def sync(self) -> m.StoreState:
        """Fetches now. ``ConflictError`` while that is under way."""
        return await self._http.run(_calls.sync_store(self._vault), self._vault)


class AsyncAgentsResource:
    """Agents of the instance."""

    def __init__(self, http: AsyncConnection) -> None:
        self._http = http

    async def list(self) -> Sequence[m.Agent]:
        return await self._http.run(_calls.list_agents())

    async def get(self, name: str) -> m.AgentDetail:
        return await self._http.run(_calls.get_agent(name))

    async def create(
        self,
        name: str,
        *,
        role: str | None = None,
        vaults: Mapping[str, VaultRole] | None = None,
        ttl_seconds: int | None = None,
        label: str | None = None,
    ) -> m.CreatedAgent:
        """``vaults`` gives its role in each vault. Its token is shown once; ``label`` is what lists and logs call it."""
        return await self._http.run(_calls.create_agent(name, role, vaults, ttl_seconds, label))

    async def rotate(
        self,
        name: str,
        *,
        ttl_seconds: int | None = None,
        overlap_seconds: int | None = None,
        label: str | None = None,
    ) -> m.RotatedAgent:
        """Replaces its tokens by a new one, shown once.

        For ``overlap_seconds``, 0 to 604800, the former ones stay good; they end at once when absent.
        """
        return await self._http.run(_calls.rotate_agent(name, ttl_seconds, overlap_seconds, label))

    async def tokens(self, name: str) -> Sequence[m.AgentToken]:
        """Its live tokens, newest first: more than one after a rotation with an overlap."""
        return await self._http.run(_calls.list_agent_tokens(name))

    async def revoke_token(self, name: str, id: str) -> None:
        """Ends one of its tokens by its public id."""
        await self._http.run(_calls.revoke_agent_token(name, id))

    async def rename(self, name: str, new_name: str) -> m.Renamed:
        return await self._http.run(_calls.rename_agent(name, new_name))

    async def set_role(self, name: str, role: str) -> m.RoleChange:
        """Its role on the instance: ``no-access``, ``member`` or ``owner``."""
        return await self._http.run(_calls.set_agent_role(name, role))

    async def revoke(self, name: str) -> None:
        """Ends its tokens; its name stays taken."""
        await self._http.run(_calls.revoke_agent(name))

    async def delete(self, name: str) -> None:
        """Deletes it; its name becomes free."""
        await self._http.run(_calls.delete_agent(name))


class AsyncUsersResource:
    """People of the instance; for its owners."""

    def __init__(self, http: AsyncConnection) -> None:
        self._http = http

    async def list(self) -> Sequence[m.User]:
        return await self._http.run(_calls.list_users())

    async def get(self, email: str) -> m.UserDetail:
        return await self._http.run(_calls.get_user(email))

    async def set_role(self, email: str, role: str) -> m.UserRole:
        """``owner``, ``member`` or ``no-access``. The last owner stays one."""
        return await self._http.run(_calls.set_user_role(email, role))

    async def remove_second_factor(self, email: str) -> None:
        """For somebody who has lost it."""
        await self._http.run(_calls.remove_second_factor(email))

    async def delete(self, email: str, *, agents: Literal["keep", "revoke"] | None = None) -> m.RemovedUser:
        """``agents`` says what becomes of the agents that this person made."""
        return await self._http.run(_calls.delete_user(email, agents))


class AsyncInvitesResource:
    """Invitations to the instance."""

    def __init__(self, http: AsyncConnection) -> None:
        self._http = http

    async def list(self, *, status: str | None = None) -> Sequence[m.Invite]:
        """Of those that are ``pending``, ``accepted``, ``revoked`` or ``expired``, or all."""
        return await self._http.run(_calls.list_invites(status))

    async def create(
        self, email: str, *, role: str | None = None, vaults: Mapping[str, VaultRole] | None = None
    ) -> m.CreatedInvite:
        """Sends a letter, or gives the link where no mail goes out."""
        return await self._http.run(_calls.create_invite(email, role, vaults))

    async def again(self, id: str) -> m.CreatedInvite:
        """Sends it once more, with a new link."""
        return await self._http.run(_calls.invite_again(id))

    async def revoke(self, id: str) -> None:
        await self._http.run(_calls.revoke_invite(id))


class AsyncAuditResource:
    """The record of management actions; for instance owners."""

    def __init__(self, http: AsyncConnection) -> None:
        self._http = http

    async def list(self, **given: Unpack[AuditFilter]) -> m.AuditPage:
        """One page, newest first; with ``after`` oldest first."""
        return await self._http.run(_calls.list_audit(given))

    async def all(self, **given: Unpack[AuditFilter]) -> AsyncIterator[m.AuditRecord]:
        """Every record, page after page: newest first, or oldest first with ``after``."""
        while True:
            page = await self.list(**given)
            for record in page.records:
                yield record
            if page.next_cursor is None:
                return
            if given.get("after") is None:
                given["before"] = page.next_cursor
            else:
                given["after"] = page.next_cursor

    async def export(self, *, after: int | None = None, limit: int | None = None) -> AsyncIterator[str]:
        """The whole record, oldest first, as the lines of a file that ``agent-vault audit verify --export`` checks.

        Each is JSON and has no line end. With ``after`` without its first line. Goes on where it was when the answer
        breaks off.
        """
        stream = _stream.AuditExport(self._http.settings.retries, after, limit)
        async for line in self._http.rows(stream):
            yield line

    async def verify(self) -> m.AuditVerdict:
        """Checks the whole chain of records."""
        return await self._http.run(_calls.verify_audit())


class AsyncInstanceSettingsResource:
    """Settings of the instance; for its owners."""

    def __init__(self, http: AsyncConnection) -> None:
        self._http = http

    async def get(self) -> m.InstanceSettings:
        return await self._http.run(_calls.instance_settings())

    async def set(
        self,
        *,
        invite_only: bool | None = None,
        allowed_email_domains: Sequence[str] | None = None,
        logs_retention: LogRetentionChange | None = None,
        rate_limit: RateLimitChange | None = None,
    ) -> m.InstanceSettings:
        """All that is given, or nothing; what is absent stays. Counts at once."""
        call = _calls.set_instance_settings(invite_only, allowed_email_domains, logs_retention, rate_limit)
        return await self._http.run(call)

    async def preview_rate_limit(self, change: RateLimitChange) -> m.RateLimits:
        """What would count if these limits were stored."""
        return await self._http.run(_calls.preview_rate_limit(change))

    async def test_mail(self, *, to: str | None = None) -> m.TestMailSent:
        """Sends a letter, by default to the caller."""
        return await self._http.run(_calls.test_mail(to))


class AsyncKeysResource:
    """The key that seals what is stored; for instance owners."""

    def __init__(self, http: AsyncConnection) -> None:
        self._http = http

    async def state(self) -> m.KeyState:
        return await self._http.run(_calls.key_state())

    async def rotate(self) -> m.KeyState:
        """Makes a new key and seals everything anew behind the answer; ``state`` says how far that is."""
        return await self._http.run(_calls.rotate_key())


class AsyncVaultClient:
    """One vault. Close it, or use it in ``async with``, unless it came from ``AsyncAgentVault.vault``."""

    def __init__(
        self,
        token: str | None = None,
        *,
        vault: str | None = None,
        address: str | None = None,
        timeout: float | None = 30.0,
        retries: int = 2,
        proxy_host: str | None = None,
        client: httpx.AsyncClient | None = None,
        _connection: AsyncConnection | None = None,
    ) -> None:
        """Token, address and vault come from ``AGENT_VAULT_TOKEN``, ``_ADDR`` and ``_VAULT`` unless they are given."""
        if _connection is None:
            _connection = AsyncConnection(*_wire.settings(token, address, timeout, retries, proxy_host), client)
        self._http = _connection
        #: ``None`` where nothing says it; a vault's own token needs none for ``credentials``, ``proposals`` and ``discover``.
        self.name = vault if vault is not None else os.environ.get("AGENT_VAULT_VAULT") or None
        self.credentials = AsyncCredentialsResource(_connection, self.name)
        self.proposals = AsyncProposalsResource(_connection, self.name)
        self.oauth = AsyncOAuthResource(_connection, self.name)

    def _named(self) -> str:
        if self.name is None:
            raise AgentVaultError("The vault is not known: pass `vault` or set AGENT_VAULT_VAULT.")
        return self.name

    @property
    def sessions(self) -> AsyncSessionsResource:
        if not hasattr(self, "_sessions"):
            self._sessions = AsyncSessionsResource(self._http, self._named())
        return self._sessions

    @property
    def services(self) -> AsyncServicesResource:
        return AsyncServicesResource(self._http, self._named())

    @property
    def logs(self) -> AsyncLogsResource:
        return AsyncLogsResource(self._http, self._named())

    @property
    def agents(self) -> AsyncVaultAgentsResource:
        return AsyncVaultAgentsResource(self._http, self._named())

    @property
    def users(self) -> AsyncVaultUsersResource:
        return AsyncVaultUsersResource(self._http, self._named())

    @property
    def settings(self) -> AsyncVaultSettingsResource:
        return AsyncVaultSettingsResource(self._http, self._named())

    @property
    def webhooks(self) -> AsyncWebhooksResource:
        return AsyncWebhooksResource(self._http, f"/v1/vaults/{_calls.segment(self._named(), 'a vault')}/webhooks")

    @property
    def store(self) -> AsyncStoreResource:
        return AsyncStoreResource(self._http, self._named())

    async def discover(self) -> m.Discovery:
        """What the vault brokers."""
        return await self._http.run(_calls.discover(), self.name)

    async def close(self) -> None:
        await self._http.close()

    async def __aenter__(self) -> AsyncVaultClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncAgentVault:
    """The instance. Close it, or use it in ``async with``."""

    def __init__(
        self,
        token: str | None = None,
        *,
        address: str | None = None,
        timeout: float | None = 30.0,
        retries: int = 2,
        proxy_host: str | None = None,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        """Token and address come from ``AGENT_VAULT_TOKEN`` and ``AGENT_VAULT_ADDR`` unless they are given.

        ``timeout`` is seconds for a whole call, its retries included, and of a stream for each silence. ``retries`` are of
        reads alone, after a network failure or a 429, 502, 503 or 504; of the rest only a 429, with which nothing was
        done, is tried again. ``client`` is used instead of one of our own, and left open.
        """
        self._http = AsyncConnection(*_wire.settings(token, address, timeout, retries, proxy_host), client)
        self.agents = AsyncAgentsResource(self._http)
        self.users = AsyncUsersResource(self._http)
        self.invites = AsyncInvitesResource(self._http)
        self.audit = AsyncAuditResource(self._http)
        self.settings = AsyncInstanceSettingsResource(self._http)
        self.keys = AsyncKeysResource(self._http)
        self.webhooks = AsyncWebhooksResource(self._http, "/v1/instance/webhooks")

    def vault(self, name: str) -> AsyncVaultClient:
        """A client of one vault, on the same connections."""
        return AsyncVaultClient(vault=name, _connection=self._http)

    async def list_vaults(self) -> Sequence[m.VaultSummary]:
        """Vaults that the caller may see; ``role`` is ``None`` where it is no member."""
        return await self._http.run(_calls.list_vaults())

    async def list_all_vaults(self) -> Sequence[m.InstanceVault]:
        """Every vault, for instance owners."""
        return await self._http.run(_calls.list_all_vaults())

    async def create_vault(self, name: str, *, credential_store: CredentialStore | None = None) -> m.Vault:
        return await self._http.run(_calls.create_vault(name, credential_store))

    async def delete_vault(self, name: str) -> m.DeletedVault:
        return await self._http.run(_calls.delete_vault(name))

    async def rename_vault(self, name: str, new_name: str) -> m.Renamed:
        return await self._http.run(_calls.rename_vault(name, new_name))

    async def join_vault(self, name: str) -> m.JoinedVault:
        """Makes an owner of the instance admin of a vault."""
        return await self._http.run(_calls.join_vault(name))

    async def leave_vault(self, name: str) -> None:
        await self._http.run(_calls.leave_vault(name))

    async def vault_context(self, name: str) -> m.VaultContext:
        """The caller's role in a vault."""
        return await self._http.run(_calls.vault_context(name))

    async def credential_stores(self) -> Sequence[str]:
        """Kinds of stores that a new vault may have its credentials from."""
        return await self._http.run(_calls.credential_stores())

    async def catalog(self) -> Sequence[m.ServiceTemplate]:
        """Templates of services."""
        return await self._http.run(_calls.catalog())

    async def me(self) -> m.Identity:
        """Who the token's holder is."""
        return await self._http.run(_calls.me())

    async def status(self) -> m.ServerStatus:
        return await self._http.run(_calls.status())

    async def health(self) -> str:
        """Whether the server is there at all: ``ok``."""
        return await self._http.run(_calls.health())

    async def ready(self) -> m.Readiness:
        """Whether it can serve; ``reasons`` says why not."""
        response = await self._http.send(_calls.ready())
        return _wire.readiness(response)

    async def skill(self) -> str:
        """What an agent is taught of Agent Vault, as Markdown."""
        response = await self._http.send(_calls.skill())
        return _wire.plain(response)

    async def close(self) -> None:
        await self._http.close()

    async def __aenter__(self) -> AsyncAgentVault:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
