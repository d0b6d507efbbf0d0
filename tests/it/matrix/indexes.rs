//! Package indexes with one package each, made by `tests/clients/packages/make`.

use agent_vault_testing::Upstream;

use super::DOMAIN;

const WHEEL: &[u8] = include_bytes!("../../clients/packages/demo_package-1.0-py3-none-any.whl");
const TARBALL: &[u8] = include_bytes!("../../clients/packages/demo-package-1.0.0.tgz");
const CRATE: &[u8] = include_bytes!("../../clients/packages/demo-package-1.0.0.crate");
const CRATES: &[u8] = include_bytes!("../../clients/packages/cargo-index");
const DEB: &[u8] = include_bytes!("../../clients/packages/demo-package_1.0_all.deb");
const DEBS: &[u8] = include_bytes!("../../clients/packages/apt-index");

/// Puts all four on an upstream.
pub(super) fn serve(upstream: &Upstream) {
    const BYTES: &str = "application/octet-stream";
    let wheel = "demo_package-1.0-py3-none-any.whl";
    let page =
        format!("<!DOCTYPE html><html><body><a href=\"../../{wheel}\">{wheel}</a></body></html>");
    upstream.serve_file("/pypi/simple/demo-package/", "text/html", page);
    upstream.serve_file(&format!("/pypi/{wheel}"), BYTES, WHEEL);

    let package = serde_json::json!({
        "name": "demo-package",
        "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": {
            "name": "demo-package",
            "version": "1.0.0",
            "dist": {"tarball": format!("https://npm-download.{DOMAIN}/npm/demo-package/-/demo-package-1.0.0.tgz")},
        }},
    });
    upstream.serve_file("/npm/demo-package", "application/json", package.to_string());
    upstream.serve_file("/npm/demo-package/-/demo-package-1.0.0.tgz", BYTES, TARBALL);

    let config = serde_json::json!({
        "dl": format!("https://cargo-download.{DOMAIN}/cargo/dl/{{crate}}-{{version}}.crate"),
        "auth-required": true,
    });
    upstream.serve_file("/cargo/config.json", "application/json", config.to_string());
    upstream.serve_file("/cargo/de/mo/demo-package", "text/plain", CRATES);
    upstream.serve_file("/cargo/dl/demo-package-1.0.0.crate", BYTES, CRATE);

    upstream.serve_file("/apt/./Packages", "text/plain", DEBS);
    upstream.serve_file("/apt/Packages", "text/plain", DEBS);
    for path in ["/apt/./", "/apt/"] {
        upstream.serve_file(&format!("{path}demo-package_1.0_all.deb"), BYTES, DEB);
    }
}
