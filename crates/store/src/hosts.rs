//! Hosts that agents asked for and no service covers, found in the request log.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use crate::StoreError;
use crate::dialect::Connection;
use crate::row::Columns;

/// Most (host, port) groups that are looked at.
pub const MAX_DISCOVERED_HOSTS: u32 = 500;

/// A host that went unmatched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveredHost {
    /// The host, without a port.
    pub host: String,
    /// How many requests went there, over all ports.
    pub request_count: u64,
    /// When the last one did.
    pub last_seen: Timestamp,
    /// How the client authenticated in the last one; may be empty.
    pub auth_scheme: String,
    /// In which header; may be empty.
    pub auth_header: String,
}

/// Groups by host and port first, so that the bound is one on rows read; ports are merged here.
async fn discovered_hosts(
    connection: &mut Connection,
    vault_id: Uuid,
) -> Result<Vec<DiscoveredHost>, StoreError> {
    let rows = sqlx::query(
        "select g.host, g.requests, l.created_at as last_seen, l.auth_scheme, l.auth_header
         from (select host, count(*) as requests, max(id) as last_id from request_log
               where vault_no = (select no from request_log_vaults where vault_id = $1) and matched_service = '' and (error_code = 'no_match' or status in (401, 403))
               group by host order by last_id desc limit $2) g
         join request_log l
             on l.vault_no = (select no from request_log_vaults where vault_id = $1) and l.id = g.last_id
         order by g.last_id desc",
    )
    .bind(vault_id.to_string())
    .bind(i64::from(MAX_DISCOVERED_HOSTS))
    .fetch_all(connection)
    .await?;
    let mut hosts: BTreeMap<String, DiscoveredHost> = BTreeMap::new();
    for row in &rows {
        let host = without_port(&row.text("host")?).to_owned();
        let found = DiscoveredHost {
            host: host.clone(),
            request_count: row.int("requests")?.unsigned_abs(),
            last_seen: row.time("last_seen")?,
            auth_scheme: row.text("auth_scheme")?,
            auth_header: row.text("auth_header")?,
        };
        hosts
            .entry(host)
            .and_modify(|seen| {
                // Rows come latest first: what is there already is the newer one.
                seen.request_count = seen.request_count.saturating_add(found.request_count);
                seen.last_seen = seen.last_seen.max(found.last_seen);
            })
            .or_insert(found);
    }
    let mut hosts: Vec<_> = hosts.into_values().collect();
    hosts.sort_by(|a, b| {
        b.last_seen
            .cmp(&a.last_seen)
            .then_with(|| a.host.cmp(&b.host))
    });
    Ok(hosts)
}

reads! {
    /// Hosts of unmatched requests that were refused, last seen first. Those that a service covers by
    /// now are still among them: the rule language is the caller's.
    discovered_hosts(vault_id: Uuid) -> Vec<DiscoveredHost>;
}

/// `[::1]:443` → `[::1]`, `api.x.io:443` → `api.x.io`; a text without a port stays.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::without_port;

    #[test]
    fn ports_are_cut() {
        for (host, bare) in [
            ("api.x.io:443", "api.x.io"),
            ("api.x.io", "api.x.io"),
            ("[::1]:8443", "[::1]"),
            ("[::1]", "[::1]"),
            ("odd:", "odd:"),
        ] {
            assert_eq!(without_port(host), bare);
        }
    }
}
