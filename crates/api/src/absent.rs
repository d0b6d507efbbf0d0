//! Paths that lead nowhere here, although people know them from the original.

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
    use super::is_page;

    #[test]
    fn pages_of_the_original() {
        assert!(is_page("/vaults/work/services"));
        assert!(is_page("/login"));
        assert!(!is_page("/v1/vaults"));
        assert!(!is_page("/"));
    }
}
