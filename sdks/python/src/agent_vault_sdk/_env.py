"""The environment of a child behind the proxy."""

from __future__ import annotations

from ._values import ContainerConfig

_BUNDLES = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "DENO_CERT")
_MORE_PROXIES = ("https_proxy", "http_proxy", "WSS_PROXY", "WS_PROXY", "wss_proxy", "ws_proxy", "grpc_proxy")
_MORE_BUNDLES = (
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CARGO_HTTP_CAINFO",
    "npm_config_cafile",
    "HTTPLIB2_CA_CERTS",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "NIX_SSL_CERT_FILE",
    "BUNDLE_SSL_CA_CERT",
)


def build_proxy_env(config: ContainerConfig, cert_path: str, *, every_runtime: bool = False) -> dict[str, str]:
    """``cert_path`` is where the child finds the PEM file. With ``every_runtime``, every spelling that ``agent-vault run`` sets.

    Most of these variables replace the runtime's roots, so a child that also connects directly wants a file with the
    system's roots and ``ca_certificate``.
    """
    env = {
        "HTTPS_PROXY": config.proxy_url,
        "HTTP_PROXY": config.proxy_url,
        "NO_PROXY": config.no_proxy,
        "NODE_USE_ENV_PROXY": "1",
        "OPENCLAW_PROXY_URL": config.proxy_url,
    }
    env.update(dict.fromkeys(_BUNDLES, cert_path))
    if every_runtime:
        env.update(dict.fromkeys(_MORE_PROXIES, config.proxy_url))
        env["no_proxy"] = config.no_proxy
        env.update(dict.fromkeys(_MORE_BUNDLES, cert_path))
    return env
