//! Which addresses may be dialled.

use std::net::IpAddr;

use agent_vault_policy::{AllowListWarning, BlockKind, EgressPolicy};

fn verdict(policy: &EgressPolicy, address: &str) -> Option<BlockKind> {
    policy
        .check(address.parse::<IpAddr>().unwrap())
        .err()
        .map(|blocked| {
            assert!(!blocked.hint().is_empty());
            assert!(
                blocked
                    .to_string()
                    .starts_with(&blocked.address.to_string())
            );
            blocked.kind
        })
}

const PUBLIC: [&str; 13] = [
    "2001:0:808:808:0:0:f7f7:f7f7",
    "1.1.1.1",
    "8.8.8.8",
    "172.15.255.255",
    "172.32.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "192.0.1.1",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "64:ff9b::101:101",
    "2002:101:101::1",
];

const SPECIAL: [&str; 49] = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.1.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "::10.0.0.1",
    "::2",
    "::ffff:0:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "64:ff9b:1::808:808",
    "100::1",
    "2001:0:a00:1::",
    "2001:0:808:808:0:0:f5ff:fffe",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:100::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "2002:7f00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "ff02::1",
];

const METADATA: [&str; 17] = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "169.254.0.23",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::",
    "2001:0:808:808:0:0:5601:5601",
];

#[test]
fn the_default_reaches_the_public_internet_only() {
    let policy = EgressPolicy::default();
    for address in PUBLIC {
        assert_eq!(verdict(&policy, address), None, "{address}");
    }
    for address in SPECIAL {
        assert_eq!(
            verdict(&policy, address),
            Some(BlockKind::Special),
            "{address}"
        );
    }
    for address in METADATA {
        assert_eq!(
            verdict(&policy, address),
            Some(BlockKind::Metadata),
            "{address}"
        );
    }
    assert_eq!(verdict(&policy, "fec0::1"), Some(BlockKind::Special));
}

#[test]
fn private_ranges_may_be_allowed_but_never_metadata() {
    let policy = EgressPolicy {
        allow_private: true,
        allow: Vec::new(),
    };
    for address in PUBLIC.iter().chain(&SPECIAL) {
        assert_eq!(verdict(&policy, address), None, "{address}");
    }
    let everything = EgressPolicy {
        allow_private: true,
        allow: EgressPolicy::parse_allow_list("0.0.0.0/0,::/0").0,
    };
    for address in METADATA {
        assert_eq!(
            verdict(&policy, address),
            Some(BlockKind::Metadata),
            "{address}"
        );
        assert_eq!(
            verdict(&everything, address),
            Some(BlockKind::Metadata),
            "{address}"
        );
    }
}

#[test]
fn networks_may_be_allowed() {
    let (allow, warnings) = EgressPolicy::parse_allow_list(
        " 10.1.0.0/16, 192.168.1.7 ,nonsense,, fd00::/8,::ffff:172.16.0.0/108, ::1,10.0.0.0/33",
    );
    assert_eq!(
        warnings,
        [
            AllowListWarning::Skipped("nonsense".to_owned()),
            AllowListWarning::Skipped("10.0.0.0/33".to_owned())
        ]
    );
    let policy = EgressPolicy {
        allow_private: false,
        allow,
    };
    for (address, expected) in [
        ("10.1.2.3", None),
        ("::ffff:10.1.2.3", None),
        ("64:ff9b::a01:203", None),
        ("10.2.0.1", Some(BlockKind::Special)),
        ("192.168.1.7", None),
        ("192.168.1.8", Some(BlockKind::Special)),
        ("172.16.0.1", None),
        ("fd12::1", None),
        ("fd00:ec2::254", Some(BlockKind::Metadata)),
        ("::1", None),
        ("127.0.0.1", Some(BlockKind::Special)),
    ] {
        assert_eq!(verdict(&policy, address), expected, "{address}");
    }
    let (nets, warnings) = EgressPolicy::parse_allow_list("0.0.0.0/0");
    assert_eq!((nets.len(), warnings.len()), (1, 1));
    assert_eq!(EgressPolicy::parse_allow_list("").0, []);
}
