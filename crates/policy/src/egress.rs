//! Which addresses the outbound door may connect to.
//!
//! A name resolves to whatever its owner likes, so the judgement is on the address that will be dialled. Addresses that only wrap an
//! IPv4 address (mapped, compatible, NAT64, 6to4, Teredo) are judged by what they wrap.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What may be dialled besides the public internet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    /// Lifts all blocks except those on metadata services.
    pub allow_private: bool,
    /// Networks that may be dialled although they are special; consulted while `allow_private` is off.
    pub allow: Vec<IpNet>,
}

/// Why an address is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {reason}")]
pub struct Blocked {
    /// The address as it was resolved.
    pub address: IpAddr,
    /// Whether configuration can lift the block.
    pub kind: BlockKind,
    /// What the address is for.
    pub reason: &'static str,
}

/// How firm a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// A cloud's metadata service: never dialled, whatever is allowed.
    Metadata,
    /// A special-purpose network: dialled when allowed.
    Special,
}

impl Blocked {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self.kind {
            BlockKind::Metadata => "metadata services hand out credentials and are never brokered",
            BlockKind::Special => {
                "allow the network with AGENT_VAULT_NETWORK_ALLOWLIST=<cidr>, or all private ones with AGENT_VAULT_ALLOW_PRIVATE_RANGES=true"
            }
        }
    }
}

/// What is odd about an entry of the allow-list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowListWarning {
    /// Neither an address nor a network; skipped.
    #[error("`{0}` is neither an IP address nor a CIDR network and is skipped")]
    Skipped(String),
    /// A /0: allows everything.
    #[error("`{0}` allows every address")]
    Everything(String),
}

impl EgressPolicy {
    /// Judges an address that is about to be dialled.
    ///
    /// # Errors
    /// Says what the address is for.
    pub fn check(&self, address: IpAddr) -> Result<(), Blocked> {
        let blocked = |kind, reason| {
            Err(Blocked {
                address,
                kind,
                reason,
            })
        };
        let mut wrapped = [None; 2];
        let own = address.to_canonical();
        if let IpAddr::V6(v6) = own {
            wrapped = embedded(v6);
        }
        let judged = wrapped
            .into_iter()
            .flatten()
            .map(IpAddr::V4)
            .chain(std::iter::once(own));
        for judged in judged.clone() {
            if METADATA.contains(&judged) {
                return blocked(BlockKind::Metadata, "a cloud metadata service");
            }
        }
        if self.allow_private || self.allows(own) {
            return Ok(());
        }
        for judged in judged {
            if let Some(reason) = special(judged)
                && !self.allows(judged)
            {
                return blocked(BlockKind::Special, reason);
            }
        }
        Ok(())
    }

    /// Reads a comma-separated list of networks and addresses. What cannot be read is skipped with a warning.
    #[must_use]
    pub fn parse_allow_list(text: &str) -> (Vec<IpNet>, Vec<AllowListWarning>) {
        let mut nets = Vec::new();
        let mut warnings = Vec::new();
        for entry in text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
        {
            let net = entry.parse::<IpNet>().ok().or_else(|| {
                entry
                    .parse::<IpAddr>()
                    .ok()
                    .map(|ip| IpNet::from(ip.to_canonical()))
            });
            match net {
                None => warnings.push(AllowListWarning::Skipped(entry.to_owned())),
                Some(net) => {
                    if net.prefix_len() == 0 {
                        warnings.push(AllowListWarning::Everything(entry.to_owned()));
                    }
                    nets.push(unmapped(net));
                }
            }
        }
        (nets, warnings)
    }

    fn allows(&self, address: IpAddr) -> bool {
        self.allow.iter().any(|net| net.contains(&address))
    }
}

/// A network of IPv4-mapped addresses as the IPv4 network that it is; addresses are compared in that form.
fn unmapped(net: IpNet) -> IpNet {
    if let IpNet::V6(v6) = net
        && v6.prefix_len() >= 96
        && let Some(address) = v6.network().to_ipv4_mapped()
        && let Ok(v4) = Ipv4Net::new(address, v6.prefix_len().saturating_sub(96))
    {
        return IpNet::V4(v4);
    }
    net
}

/// Metadata services of the clouds: who reaches one gets the machine's credentials.
const METADATA: [IpAddr; 13] = [
    // AWS, Azure, Google, DigitalOcean, Oracle, and most others.
    v4(169, 254, 169, 254),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]),
    // AWS: task credentials of ECS, pod identity of EKS.
    v4(169, 254, 170, 2),
    v4(169, 254, 170, 23),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23]),
    // Azure's wire server.
    v4(168, 63, 129, 16),
    // Alibaba.
    v4(100, 100, 100, 200),
    // Google over IPv6.
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]),
    // Oracle.
    v4(192, 0, 0, 192),
    // Tencent.
    v4(169, 254, 0, 23),
    // Scaleway.
    v4(169, 254, 42, 42),
    v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]),
    // OpenStack over IPv6.
    v6([0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe]),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(s: [u16; 8]) -> IpAddr {
    let [a, b, c, d, e, f, g, h] = s;
    IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h))
}

const fn net4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn net6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// The IANA special-purpose registry for IPv4, with multicast and the reserved class E.
const SPECIAL_V4: [(Ipv4Net, &str); 14] = [
    (
        net4(0, 0, 0, 0, 8),
        "an address of this very network (0.0.0.0/8)",
    ),
    (net4(10, 0, 0, 0, 8), "a private address (10.0.0.0/8)"),
    (
        net4(100, 64, 0, 0, 10),
        "a shared address behind carrier NAT (100.64.0.0/10)",
    ),
    (net4(127, 0, 0, 0, 8), "a loopback address (127.0.0.0/8)"),
    (
        net4(169, 254, 0, 0, 16),
        "a link-local address (169.254.0.0/16)",
    ),
    (net4(172, 16, 0, 0, 12), "a private address (172.16.0.0/12)"),
    (
        net4(192, 0, 0, 0, 24),
        "an address for protocol assignments (192.0.0.0/24)",
    ),
    (
        net4(192, 0, 2, 0, 24),
        "a documentation address (192.0.2.0/24)",
    ),
    (
        net4(192, 88, 99, 0, 24),
        "a 6to4 relay address (192.88.99.0/24)",
    ),
    (
        net4(192, 168, 0, 0, 16),
        "a private address (192.168.0.0/16)",
    ),
    (
        net4(198, 18, 0, 0, 15),
        "a benchmarking address (198.18.0.0/15)",
    ),
    (
        net4(198, 51, 100, 0, 24),
        "a documentation address (198.51.100.0/24)",
    ),
    (
        net4(203, 0, 113, 0, 24),
        "a documentation address (203.0.113.0/24)",
    ),
    (
        net4(224, 0, 0, 0, 3),
        "a multicast or reserved address (224.0.0.0/3)",
    ),
];

/// The IANA special-purpose registry for IPv6. `::/96`, `64:ff9b::/96`, `2002::/16` and `2001::/32` are judged by what they wrap.
const SPECIAL_V6: [(Ipv6Net, &str); 16] = [
    (
        net6(0x64, 0xff9b, 1, 48),
        "a local NAT64 address (64:ff9b:1::/48)",
    ),
    (net6(0x100, 0, 0, 64), "a discard-only address (100::/64)"),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0x100, 0, 0, 1, 0, 0, 0, 0), 64),
        "a dummy address (100:0:0:1::/64)",
    ),
    (
        net6(0x2001, 0x2, 0, 48),
        "a benchmarking address (2001:2::/48)",
    ),
    (
        net6(0x2001, 0x10, 0, 28),
        "a retired ORCHID address (2001:10::/28)",
    ),
    (
        net6(0x2001, 0x20, 0, 28),
        "an ORCHID address (2001:20::/28)",
    ),
    (
        net6(0x2001, 0x30, 0, 28),
        "a drone identity address (2001:30::/28)",
    ),
    (
        net6(0x2001, 0xdb8, 0, 32),
        "a documentation address (2001:db8::/32)",
    ),
    (
        net6(0x2001, 0, 0, 23),
        "an address for protocol assignments (2001::/23)",
    ),
    (
        net6(0x2620, 0x4f, 0x8000, 48),
        "an AS112 address (2620:4f:8000::/48)",
    ),
    (
        net6(0x3fff, 0, 0, 20),
        "a documentation address (3fff::/20)",
    ),
    (
        net6(0x5f00, 0, 0, 16),
        "a segment-routing address (5f00::/16)",
    ),
    (net6(0xfc00, 0, 0, 7), "a unique local address (fc00::/7)"),
    (net6(0xfe80, 0, 0, 10), "a link-local address (fe80::/10)"),
    (net6(0xfec0, 0, 0, 10), "a site-local address (fec0::/10)"),
    (net6(0xff00, 0, 0, 8), "a multicast address (ff00::/8)"),
];

/// What a special address is for; nothing for the public internet.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => SPECIAL_V4
            .iter()
            .find(|(net, _)| net.contains(&address))
            .map(|(_, reason)| *reason),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some("the unspecified address (::)"),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some("the loopback address (::1)"),
        // Judged by what it wraps.
        IpAddr::V6(address) if is_teredo(address) => None,
        IpAddr::V6(address) => SPECIAL_V6
            .iter()
            .find(|(net, _)| net.contains(&address))
            .map(|(_, reason)| *reason),
    }
}

fn is_teredo(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0x2001, 0, ..])
}

/// The IPv4 addresses that an IPv6 address leads to. Two for Teredo: its server, and the peer behind it.
fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let pair = |high: u16, low: u16| {
        let [p, q] = high.to_be_bytes();
        let [r, s] = low.to_be_bytes();
        Some(Ipv4Addr::new(p, q, r, s))
    };
    match (a, b) {
        // `::` and `::1` are their own.
        (0, 0) if (c, d, e, f, g) == (0, 0, 0, 0, 0) && h <= 1 => [None, None],
        // IPv4-compatible (RFC 4291 section 2.5.5.1), and the translated form of RFC 2765.
        (0, 0) if (c, d, e) == (0, 0, 0) && f == 0 => [pair(g, h), None],
        (0, 0) if (c, d, e, f) == (0, 0, 0xffff, 0) => [pair(g, h), None],
        // NAT64 (RFC 6052).
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => [pair(g, h), None],
        (0x64, 0xff9b) if c == 1 => [pair(g, h), None],
        // 6to4 (RFC 3056).
        (0x2002, _) => [pair(b, c), None],
        // Teredo (RFC 4380): the server in the clear, the peer inverted.
        (0x2001, 0) => [pair(c, d), pair(!g, !h)],
        _ => [None, None],
    }
}
