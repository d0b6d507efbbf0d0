"""Client of Agent Vault: vaults, credentials, services, sessions, agents and logs, sync and async."""

from ._async import AsyncAgentVault, AsyncVaultClient
from ._env import build_proxy_env
from ._errors import AgentVaultError, ApiError, NetworkError, TimeoutError
from ._models import (
    Agent,
    AgentToken,
    ContainerConfig,
    Credentials,
    Discovery,
    Grant,
    LogPage,
    LogRow,
    Removed,
    Service,
    ServiceAuth,
    ServiceRef,
    ServiceSelect,
    Session,
    SessionInfo,
    Stored,
    Substitution,
    Vault,
    VaultAgent,
    VaultRole,
)
from ._sync import AgentVault, VaultClient
from ._version import VERSION

__all__ = [
    "Agent",
    "AgentToken",
    "AgentVault",
    "AgentVaultError",
    "ApiError",
    "AsyncAgentVault",
    "AsyncVaultClient",
    "ContainerConfig",
    "Credentials",
    "Discovery",
    "Grant",
    "LogPage",
    "LogRow",
    "NetworkError",
    "Removed",
    "Service",
    "ServiceAuth",
    "ServiceRef",
    "ServiceSelect",
    "Session",
    "SessionInfo",
    "Stored",
    "Substitution",
    "TimeoutError",
    "VERSION",
    "Vault",
    "VaultAgent",
    "VaultClient",
    "VaultRole",
    "build_proxy_env",
]
