//! What is measured: the rows of the table.

use std::fmt;

/// What an HTTP client or upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    H1,
    H2,
}

impl Version {
    pub(crate) fn alpn(self) -> &'static str {
        match self {
            Self::H1 => "http/1.1",
            Self::H2 => "h2",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
        })
    }
}

/// What a round does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// The same request over and over in kept tunnels, as fast as answers come.
    Requests(Ask),
    /// The same at half of the relay's rate, to see what a request takes when nothing waits in line.
    HalfLoad,
    /// A new tunnel with a full TLS handshake for each request.
    Tunnels,
    /// The first tunnel to a host that no certificate was issued for yet. Only where a leaf is issued at all.
    ColdHosts,
    /// One large answer.
    Down,
    /// One large request body.
    Up,
    /// Event streams that all last.
    Events,
    /// Tunnels that do nothing.
    Idle,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A small answer.
    Small,
    /// The same in a vault with 200 services.
    ManyRules,
    /// 64 KiB of JSON up, in which the product replaces a placeholder.
    Substituted,
    /// 64 KiB down, without anything to mask.
    Clean,
    /// 64 KiB down, in which the product finds the credential.
    Reflected,
}

/// One line of the table for each target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) work: Work,
    pub(crate) client: Version,
    pub(crate) upstream: Version,
    pub(crate) connections: usize,
}

impl Row {
    /// What is counted.
    pub(crate) fn unit(&self) -> &'static str {
        match self.work {
            Work::Requests(_) | Work::HalfLoad => "request",
            Work::Tunnels | Work::ColdHosts | Work::Idle => "tunnel",
            Work::Down | Work::Up => "MiB",
            Work::Events => "event",
        }
    }

    /// Whether a proxy that speaks HTTP/1.1 only, and knows nothing of vaults, can run it.
    pub(crate) fn is_for_peers(&self) -> bool {
        self.client == H1
            && self.upstream == H1
            && matches!(
                self.work,
                Work::Requests(Ask::Small | Ask::Clean) | Work::Tunnels | Work::Down | Work::Up
            )
    }
}

const fn row(
    name: &'static str,
    work: Work,
    client: Version,
    upstream: Version,
    connections: usize,
) -> Row {
    Row {
        name,
        work,
        client,
        upstream,
        connections,
    }
}

use Version::{H1, H2};
const SMALL: Work = Work::Requests(Ask::Small);

/// All rows, in the order of the table.
pub(crate) const ROWS: [Row; 27] = [
    row("small h1-h1 x1", SMALL, H1, H1, 1),
    row("small h1-h1 x16", SMALL, H1, H1, 16),
    row("small h1-h1 x128", SMALL, H1, H1, 128),
    row("small h1-h2 x1", SMALL, H1, H2, 1),
    row("small h1-h2 x16", SMALL, H1, H2, 16),
    row("small h1-h2 x128", SMALL, H1, H2, 128),
    row("small h2-h2 x1", SMALL, H2, H2, 1),
    row("small h2-h2 x16", SMALL, H2, H2, 16),
    row("small h2-h2 x128", SMALL, H2, H2, 128),
    row("small h2-h1 x16", SMALL, H2, H1, 16),
    row("half load h1-h1 x16", Work::HalfLoad, H1, H1, 16),
    row("half load h2-h2 x16", Work::HalfLoad, H2, H2, 16),
    row("tunnels h1-h1 x16", Work::Tunnels, H1, H1, 16),
    row("tunnels h1-h2 x16", Work::Tunnels, H1, H2, 16),
    row("tunnels h2-h2 x16", Work::Tunnels, H2, H2, 16),
    row("cold hosts", Work::ColdHosts, H1, H1, 1),
    row("down h1-h1", Work::Down, H1, H1, 1),
    row("down h2-h2", Work::Down, H2, H2, 1),
    row("up h1-h1", Work::Up, H1, H1, 1),
    row("up h2-h2", Work::Up, H2, H2, 1),
    // As many as the product opens towards one HTTP/1.1 upstream for one vault, and no more.
    row("events h1-h1", Work::Events, H1, H1, 500),
    row("events h2-h2", Work::Events, H2, H2, 1000),
    row("idle tunnels", Work::Idle, H1, H1, 5000),
    row(
        "200 rules h1-h1 x16",
        Work::Requests(Ask::ManyRules),
        H1,
        H1,
        16,
    ),
    row(
        "substitution h1-h1 x16",
        Work::Requests(Ask::Substituted),
        H1,
        H1,
        16,
    ),
    row(
        "64 KiB clean h1-h1 x16",
        Work::Requests(Ask::Clean),
        H1,
        H1,
        16,
    ),
    row(
        "64 KiB masked h1-h1 x16",
        Work::Requests(Ask::Reflected),
        H1,
        H1,
        16,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_tell_rows_apart() {
        let names: BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
    }
}
