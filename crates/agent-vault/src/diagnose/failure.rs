//! Why a request failed: one remedy for each error code of the log.

use super::lacking::lacks;
use super::{Finding, Known, Outcome, outcome};
use crate::client::types::LogRow;

/// What to do about the row's error, where there is something to do.
pub(super) fn failure(row: &LogRow, host: &str, known: Known<'_>) -> Option<Finding> {
    let vault = known.vault;
    let service = &row.matched_service;
    let keys = row.credential_keys.join(" ");
    let (named, typed) = match keys.as_str() {
        "" => ("the credential", "<KEY>"),
        keys => (keys, keys),
    };
    let (what, mend) = match row.error_code.as_str() {
        "no_match" => (
            format!("{host} was refused: no service is for it"),
            format!(
                "agent-vault vault service add --vault {vault} --host {host} --auth-type bearer --token-key <KEY>"
            ),
        ),
        "service_disabled" => (
            format!("{host} was refused: service {service} is disabled"),
            format!("agent-vault vault service enable {service} --vault {vault}"),
        ),
        "credential_not_found" => {
            let missing = known
                .lacking
                .0
                .get(service)
                .map_or(keys, |keys| keys.join(" "));
            return Some(lacks(service, &missing, vault));
        }
        "credential_unreadable" => (
            format!("{host} was refused: a stored value of service {service} cannot be opened"),
            format!("agent-vault vault credential set {typed} --vault {vault}"),
        ),
        "substitution_error" => (
            format!("{host} was refused: {named} does not fit where service {service} puts it"),
            format!(
                "agent-vault vault credential set {typed} --vault {vault}, with a value in one line"
            ),
        ),
        "rules_unreadable" => (
            format!("{host} was refused: the stored services cannot be read"),
            format!("agent-vault vault service set -f <file> --vault {vault}"),
        ),
        "tls_required" => (
            format!("{host} was refused: service {service} brokers only https"),
            format!(
                "use https, or agent-vault vault service add --vault {vault} --name {service} --require-tls=false"
            ),
        ),
        "ambiguous_account" => (
            format!("{host} was refused: several services fit and nothing chooses among them"),
            format!(
                "agent-vault vault service list --vault {vault}; give each `--agents` or `--select-placeholder`"
            ),
        ),
        "ambiguous_path" => (
            format!("{host} was refused: the path can be read in more than one way"),
            String::from("send the path without `//`, `..`, `%2F` or `%2E`"),
        ),
        "malformed_request" | "http2_not_spoken" => (
            format!("a client sent {host} something that is not HTTP/1.1"),
            String::from("look at the client, or at what stands between it and the proxy"),
        ),
        "head_too_large" | "target_too_long" => (
            format!("{host} was refused: the request head is too large"),
            String::from("send fewer or shorter header fields, and long values in the body"),
        ),
        "sni_mismatch" => (
            format!("{host} was refused: the client asked for another host in TLS"),
            String::from("let the client connect through the proxy to the host that it means"),
        ),
        "tls_handshake_failed" | "tls_handshake_timeout" => (
            format!(
                "the client gave up TLS with the proxy for {host}: it may not trust its certificate"
            ),
            String::from("agent-vault ca fetch -o <file>, and let the client trust that file"),
        ),
        "certificate_error" => (
            format!("{host} was refused: no certificate could be made for it"),
            String::from("check the host's name; the server's log says more"),
        ),
        "response_not_scrubbable" => (
            format!("the answer of {host} was held back: it cannot be searched for {named}"),
            String::from("send `Accept-Encoding: gzip` or `identity`"),
        ),
        "upstream_blocked" => (
            format!("{host} was not reached: it is an address that the network guard keeps closed"),
            String::from(
                "if agents may reach it, start the server with AGENT_VAULT_NETWORK_ALLOWLIST=<its network>",
            ),
        ),
        "upstream_tls_untrusted" => (
            format!("{host} was not reached: its certificate is not trusted"),
            String::from("start the server with --upstream-ca <PEM file of its authority>"),
        ),
        "upstream_tls_expired" | "upstream_tls_not_yet_valid" => (
            format!("{host} was not reached: its certificate is not valid at this time"),
            String::from(
                "check the clock of the machine that the server runs on; else the host's operator has to renew it",
            ),
        ),
        "upstream_tls_wrong_name" => (
            format!("{host} was not reached: its certificate is for another name"),
            String::from("use a name that stands in the certificate"),
        ),
        "upstream_tls_revoked" | "upstream_tls_wrong_purpose" => (
            format!("{host} was not reached: its certificate may not be used there"),
            String::from("the host's operator has to replace it"),
        ),
        "upstream_tls" => (
            format!("{host} was not reached: TLS with it failed"),
            String::from("the client's answer says why; the host's operator may know more"),
        ),
        "upstream_unresolved" => (
            format!("{host} was not reached: its name could not be resolved"),
            String::from(
                "check the host's name, and the resolver of the machine that the server runs on",
            ),
        ),
        // The log does not say which of the other reasons it was, so neither is one guessed here.
        "upstream_error" => (
            format!("{host} could not be reached, or did not answer as it should"),
            String::from("the client's answer says why, and what may help"),
        ),
        "" if matches!(row.status, 401 | 403) && outcome(row) == Outcome::Brokered => (
            format!(
                "{host} answered {} to a brokered request: it does not accept {named}",
                row.status
            ),
            format!("agent-vault vault credential set {typed} --vault {vault}"),
        ),
        _ => return None,
    };
    Some(Finding { what, mend })
}
