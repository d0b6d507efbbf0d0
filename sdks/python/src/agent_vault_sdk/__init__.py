"""Client of Agent Vault: vaults, credentials, services, sessions, proposals, agents, people, logs; sync and async."""

from . import _models
from ._agent_token import AgentToken
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
from ._oauth import OAuthClient, OAuthConnected, OAuthConnecting, OAuthConsent, OAuthState
from ._service import (
    CredentialSlot,
    FieldChange,
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
    TierChange,
    VaultRole,
)
from ._version import VERSION
from ._webhooks import Webhook, WebhookDelivery, WebhookWithSecret

__all__ = [
    "AgentToken",
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
    "OAuthConnected",
    "OAuthConnecting",
    "OAuthConsent",
    "OAuthState",
    "ProposalStatus",
    "ProposedService",
    "RateLimitChange",
    "RateLimitedError",
    "Service",
    "ServiceAuth",
    "ServiceScrub",
    "ServiceSelect",
    "Session",
    "StreamEndedError",
    "Substitution",
    "TierChange",
    "TimeoutError",
    "UnauthorizedError",
    "VERSION",
    "VaultClient",
    "VaultRole",
    "VersionConflictError",
    "Webhook",
    "WebhookDelivery",
    "WebhookWithSecret",
    "build_proxy_env",
    "diff_service",
]
__all__ += _models.__all__
