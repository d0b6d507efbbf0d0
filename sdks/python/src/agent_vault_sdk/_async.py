"""The client for an event loop; made of `_sync.py` by scripts/make_async.py."""

from __future__ import annotations

import os
from types import TracebackType
from typing import AsyncIterator, Mapping, Sequence

import httpx

from . import _calls, _wire
from ._errors import AgentVaultError
from ._models import (
    Agent,
    AgentToken,
    Credentials,
    Discovery,
    LogPage,
    LogRow,
    Removed,
    Service,
    ServiceRef,
    Session,
    SessionInfo,
    Stored,
    Vault,
    VaultAgent,
    VaultRole,
)
from ._async_http import AsyncConnection


class AsyncCredentialsResource:
    """Credentials of a vault."""

    def __init__(self, http: AsyncConnection, vault: str | None) -> None:
        self._http = http
        self._vault = vault

    async def list(self, *, reveal: bool = False, key: str | None = None) -> Credentials:
        """Names; with ``reveal`` values too, which needs the role ``member``."""
        return await self._http.run(_calls.list_credentials(self._vault, reveal, key), self._vault)

    async def set(self, values: Mapping[str, str], *, expires_at: str | None = None) -> Stored:
        """Adds or replaces, all or none. ``expires_at`` is RFC 3339."""
        return await self._http.run(_calls.set_credentials(self._vault, values, expires_at), self._vault)

    async def delete(self, keys: Sequence[str]) -> Sequence[str]:
        """All or none."""
        return await self._http.run(_calls.delete_credentials(self._vault, keys), self._vault)


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

        ``services`` are the only ones that the token may use, ``request_budget`` is how many requests it has, ``sources`` are the
        networks or addresses that it may be used from.
        ``proxy_host`` is where the container finds the proxy; by default the client's, else the host of its address.
        """
        # First: a failure here leaves no token behind. Only a success is kept.
        if self._ca is None:
            self._ca = _wire.authority(await self._http.send(_wire.CA, self._vault))
        call = _calls.mint_session(self._vault, ttl_seconds, label, services, request_budget, sources)
        minted = await self._http.run(call, self._vault)
        host = proxy_host if proxy_host is not None else self._http.settings.proxy_host
        config = None
        if self._ca is not None:
            config = _wire.container(self._ca, self._http.settings.address, host, self._vault, minted["token"])
        return Session(minted["id"], minted["token"], minted["expires_at"], minted["av_addr"], config)

    async def list(self) -> Sequence[SessionInfo]:
        """Live tokens, newest first."""
        return await self._http.run(_calls.list_sessions(self._vault), self._vault)

    async def revoke(self, id: str) -> None:
        """Ends a token by its public id, its open connections too."""
        await self._http.run(_calls.revoke_session(self._vault, id), self._vault)


class AsyncServicesResource:
    """Services of a vault."""

    def __init__(self, http: AsyncConnection, vault: str) -> None:
        self._http = http
        self._vault = vault

    async def list(self) -> Sequence[Service]:
        return await self._http.run(_calls.list_services(self._vault), self._vault)

    async def get(self, reference: str) -> Service:
        """One service, by name or host."""
        return await self._http.run(_calls.get_service(self._vault, reference), self._vault)

    async def set(self, services: Sequence[Service]) -> Sequence[str]:
        """Adds services, or replaces those of the same names; their names."""
        return await self._http.run(_calls.set_services(self._vault, services), self._vault)

    async def replace_all(self, services: Sequence[Service]) -> int:
        """Makes these the only services; how many there are."""
        return await self._http.run(_calls.replace_services(self._vault, services), self._vault)

    async def set_enabled(self, reference: str, enabled: bool) -> ServiceRef:
        return await self._http.run(_calls.enable_service(self._vault, reference, enabled), self._vault)

    async def remove(self, reference: str) -> Removed:
        """By host or name. Where several share the host: ``ApiError`` 409, with ``candidates``."""
        return await self._http.run(_calls.remove_service(self._vault, reference), self._vault)

    async def clear(self) -> None:
        """Removes every service."""
        await self._http.run(_calls.clear_services(self._vault), self._vault)

    async def credential_usage(self, key: str) -> Sequence[ServiceRef]:
        """Which services use a credential."""
        return await self._http.run(_calls.credential_usage(self._vault, key), self._vault)


class AsyncLogsResource:
    """Request log of a vault."""

    def __init__(self, http: AsyncConnection, vault: str) -> None:
        self._http = http
        self._vault = vault

    async def list(self, **filters: str | int | None) -> LogPage:
        """One page, newest first. Narrowed by the query's names: ``limit``, ``before``, ``session``, ``status_bucket`` …"""
        return await self._http.run(_calls.list_logs(self._vault, filters), self._vault)

    async def all(self, **filters: str | int | None) -> AsyncIterator[LogRow]:
        """Every row, page after page."""
        while True:
            page = await self.list(**filters)
            for row in page.logs:
                yield row
            if page.next_cursor is None:
                return
            filters["before"] = page.next_cursor


class AsyncVaultAgentsResource:
    """Agents in one vault."""

    def __init__(self, http: AsyncConnection, vault: str) -> None:
        self._http = http
        self._vault = vault

    async def list(self) -> Sequence[VaultAgent]:
        return await self._http.run(_calls.list_vault_agents(self._vault), self._vault)

    async def add(self, name: str, role: VaultRole = "proxy") -> None:
        await self._http.run(_calls.add_vault_agent(self._vault, name, role), self._vault)

    async def set_role(self, name: str, role: VaultRole) -> None:
        await self._http.run(_calls.set_vault_agent_role(self._vault, name, role), self._vault)

    async def remove(self, name: str) -> None:
        """The vault's tokens that it minted end too."""
        await self._http.run(_calls.remove_vault_agent(self._vault, name), self._vault)


class AsyncAgentsResource:
    """Agents of the instance."""

    def __init__(self, http: AsyncConnection) -> None:
        self._http = http

    async def list(self) -> Sequence[Agent]:
        return await self._http.run(_calls.list_agents())

    async def get(self, name: str) -> Agent:
        return await self._http.run(_calls.get_agent(name))

    async def create(
        self,
        name: str,
        *,
        role: str | None = None,
        vaults: Mapping[str, VaultRole] | None = None,
        ttl_seconds: int | None = None,
    ) -> AgentToken:
        """``vaults`` gives its role in each vault."""
        return await self._http.run(_calls.create_agent(name, role, vaults, ttl_seconds))

    async def rotate(self, name: str, *, ttl_seconds: int | None = None) -> AgentToken:
        """Replaces its tokens by a new one."""
        return await self._http.run(_calls.rotate_agent(name, ttl_seconds))

    async def revoke(self, name: str) -> None:
        """Ends its tokens; its name stays taken."""
        await self._http.run(_calls.revoke_agent(name))

    async def delete(self, name: str) -> None:
        """Deletes it; its name becomes free."""
        await self._http.run(_calls.delete_agent(name))


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
        #: ``None`` where nothing says it; a vault's own token needs none for ``credentials`` and ``discover``.
        self.name = vault if vault is not None else os.environ.get("AGENT_VAULT_VAULT") or None
        self.credentials = AsyncCredentialsResource(_connection, self.name)

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

    async def discover(self) -> Discovery:
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

        ``timeout`` is seconds for a whole call, its retries included; ``retries`` are of reads alone, after a network
        failure or a 429, 502, 503 or 504. ``client`` is used instead of one of our own, and left open.
        """
        self._http = AsyncConnection(*_wire.settings(token, address, timeout, retries, proxy_host), client)
        self.agents = AsyncAgentsResource(self._http)

    def vault(self, name: str) -> AsyncVaultClient:
        """A client of one vault, on the same connections."""
        return AsyncVaultClient(vault=name, _connection=self._http)

    async def list_vaults(self) -> Sequence[Vault]:
        return await self._http.run(_calls.list_vaults())

    async def create_vault(self, name: str) -> Vault:
        return await self._http.run(_calls.create_vault(name))

    async def delete_vault(self, name: str) -> None:
        await self._http.run(_calls.delete_vault(name))

    async def close(self) -> None:
        await self._http.close()

    async def __aenter__(self) -> AsyncAgentVault:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
