/** What a container needs to send its requests through the proxy. */
export interface ContainerConfig {
  env: { HTTPS_PROXY: string; HTTP_PROXY: string; NO_PROXY: string };
  /** PEM text of the CA that the proxy signs with. */
  caCertificate: string;
}

/** More than the eleven variables that most runtimes read. */
export interface ProxyEnvOptions {
  /** Adds every spelling that `agent-vault run` sets: lower-case names, WebSocket, gRPC, AWS, pip, cargo, npm and others. */
  everyRuntime?: boolean | undefined;
}

const BUNDLES = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "DENO_CERT"];
const MORE_PROXIES = ["https_proxy", "http_proxy", "WSS_PROXY", "WS_PROXY", "wss_proxy", "ws_proxy", "grpc_proxy"];
const MORE_BUNDLES = [
  "AWS_CA_BUNDLE",
  "PIP_CERT",
  "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
  "CARGO_HTTP_CAINFO",
  "npm_config_cafile",
  "HTTPLIB2_CA_CERTS",
  "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
  "NIX_SSL_CERT_FILE",
  "BUNDLE_SSL_CA_CERT",
];

/**
 * Environment of a child behind the proxy. `certPath` is where the child finds the PEM file; most of these variables replace
 * the runtime's roots, so a child that also connects directly wants a file with the system's roots and `caCertificate`.
 */
export function buildProxyEnv(config: ContainerConfig, certPath: string, options: ProxyEnvOptions = {}): Record<string, string> {
  const proxy = config.env.HTTPS_PROXY;
  const env: Record<string, string> = {
    HTTPS_PROXY: proxy,
    HTTP_PROXY: config.env.HTTP_PROXY,
    NO_PROXY: config.env.NO_PROXY,
    NODE_USE_ENV_PROXY: "1",
    OPENCLAW_PROXY_URL: proxy,
  };
  for (const name of BUNDLES) env[name] = certPath;
  if (options.everyRuntime) {
    for (const name of MORE_PROXIES) env[name] = proxy;
    env["no_proxy"] = config.env.NO_PROXY;
    for (const name of MORE_BUNDLES) env[name] = certPath;
  }
  return env;
}
