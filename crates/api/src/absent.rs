//! Paths that clients of the original know and that lead nowhere here, with what to do instead.

/// Why nothing answers at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Absent {
    /// What is not there.
    pub(crate) error: &'static str,
    /// What does the job.
    pub(crate) hint: &'static str,
}

const OAUTH: Absent = Absent {
    error: "Credentials that are fetched by OAuth are not in this version",
    hint: "store an access token as it is: `agent-vault vault credential set`",
};
const EXTERNAL_STORE: Absent = Absent {
    error: "Credentials of external stores are not in this version",
    hint: "every vault keeps its own: `agent-vault vault credential set`",
};

/// The part of the API that `path` asks for, where this version does not have that part.
pub(crate) fn part(path: &str) -> Option<Absent> {
    let segments: Vec<&str> = path.trim_start_matches('/').splitn(6, '/').collect();
    match segments.as_slice() {
        ["v1", "oauth", "callback"]
        | [
            "v1",
            "credentials",
            "oauth",
            "connect" | "status" | "tokens",
        ]
        | ["oauth", "complete"] => Some(OAUTH),
        ["v1", "vaults", _, "credential-store" | "sync"] => Some(EXTERNAL_STORE),
        _ => None,
    }
}

/// Whether a person's browser went where the original's web interface has a page.
pub(crate) fn is_page(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next();
    matches!(
        first,
        Some(
            "login"
                | "register"
                | "forgot-password"
                | "users"
                | "agents"
                | "vaults"
                | "manage"
                | "account"
                | "change-password"
        )
    )
}

#[cfg(test)]
mod tests {
    use super::{EXTERNAL_STORE, OAUTH, is_page, part};

    #[test]
    fn known_parts_that_are_absent() {
        assert_eq!(part("/v1/credentials/oauth/connect"), Some(OAUTH));
        assert_eq!(part("/v1/vaults/work/sync"), Some(EXTERNAL_STORE));
        assert_eq!(part("/v1/vaults/work/sync/more"), None);
        assert_eq!(part("/v1/vaults/work"), None);
        assert_eq!(part("/"), None);
    }

    #[test]
    fn pages_of_the_original() {
        assert!(is_page("/vaults/work/services"));
        assert!(is_page("/login"));
        assert!(!is_page("/v1/vaults"));
        assert!(!is_page("/"));
    }
}
