"""Client of Agent Vault: vaults, credentials, services, sessions, proposals, agents, people, logs; sync and async."""

from . import _models
from ._async import AsyncAgentVault, AsyncVaultClient
from ._env import build_proxy_env
from ._errors import (
    AgentVaultError,
    ApiError,
    ConflictError,
    ForbiddenError,
    NetworkError,
    NotFoundError,
    RateLimitedError,
    StreamEndedError,
    TimeoutError,
    UnauthorizedError,
    VersionConflictError,
)
from ._models import *  # noqa: F403
from ._oauth import OAuthClient
from ._service import (
    CredentialSlot,
    FieldChange,
    OAuthSlot,
    ProposedService,
    Service,
    ServiceAuth,
    ServiceScrub,
    ServiceSelect,
    Substitution,
    diff_service,
)
from ._sync import AgentVault, VaultClient
from ._values import (
    AuditFilter,
    ContainerConfig,
    Credentials,
    CredentialStore,
    LogConditions,
    LogFilter,
    LogRetentionChange,
    ProposalStatus,
    RateLimitChange,
    Session,
    StorePlaceGiven,
    TierChange,
    VaultRole,
)
from ._version import VERSION

__all__ = [
    "AgentVault",
    "AgentVaultError",
    "ApiError",
    "AsyncAgentVault",
    "AsyncVaultClient",
    "AuditFilter",
    "ConflictError",
    "ContainerConfig",
    "CredentialSlot",
    "CredentialStore",
    "Credentials",
    "FieldChange",
    "ForbiddenError",
    "LogConditions",
    "LogFilter",
    "LogRetentionChange",
    "NetworkError",
    "NotFoundError",
    "OAuthClient",
    "OAuthSlot",
    "ProposalStatus",
    "ProposedService",
    "RateLimitChange",
    "RateLimitedError",
    "Service",
    "ServiceAuth",
    "ServiceScrub",
    "ServiceSelect",
    "Session",
    "StorePlaceGiven",
    "StreamEndedError",
    "Substitution",
    "TierChange",
    "TimeoutError",
    "UnauthorizedError",
    "VERSION",
    "VaultClient",
    "VaultRole",
    "VersionConflictError",
    "build_proxy_env",
    "diff_service",
]
__all__ += _models.__all__
