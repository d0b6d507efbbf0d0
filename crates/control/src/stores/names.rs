//! Keys of dynamic secrets: `<SECRET>_<FIELD>`, both in upper snake case.

use agent_vault_policy::CredentialKey;

/// A dynamic secret's name as the beginning of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DynamicKey(String);

impl DynamicKey {
    /// The beginning that a secret's name makes; `None` when no key can begin so.
    pub(crate) fn of_secret(name: &str) -> Option<Self> {
        let prefix = format!("{}_", upper_snake(name)?);
        // The shortest key that could follow.
        CredentialKey::parse(&format!("{prefix}X")).ok()?;
        Some(Self(prefix))
    }

    /// The key of a field; `None` when it would be none.
    pub(crate) fn field(&self, field: &str) -> Option<CredentialKey> {
        CredentialKey::parse(&format!("{}{}", self.0, upper_snake(field)?)).ok()
    }

    /// Stands for all fields while they are not known.
    pub(crate) fn glob(&self) -> String {
        format!("{}*", self.0)
    }

    fn begins(&self, key: &str) -> bool {
        key.len() > self.0.len() && key.starts_with(&self.0)
    }
}

/// The secret that a key belongs to: of those whose name it begins with, the longest.
pub(crate) fn secret_of<'n>(names: &'n [(String, DynamicKey)], key: &str) -> Option<&'n str> {
    names
        .iter()
        .filter(|(_, prefix)| prefix.begins(key))
        .max_by_key(|(name, prefix)| (prefix.0.len(), std::cmp::Reverse(name.as_str())))
        .map(|(name, _)| name.as_str())
}

fn upper_snake(text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    Some(
        text.chars()
            .map(|c| match c {
                '-' | '.' | '/' | ' ' => '_',
                c => c.to_ascii_uppercase(),
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<(String, DynamicKey)> {
        names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), DynamicKey::of_secret(name)?)))
            .collect()
    }

    #[test]
    fn keys_are_upper_snake_case() {
        let secret = DynamicKey::of_secret("main-db.ro").unwrap();
        assert_eq!(
            secret.field("DB_USERNAME").unwrap().as_str(),
            "MAIN_DB_RO_DB_USERNAME"
        );
        assert_eq!(
            secret.field("access key").unwrap().as_str(),
            "MAIN_DB_RO_ACCESS_KEY"
        );
        assert_eq!(secret.glob(), "MAIN_DB_RO_*");
        assert_eq!(secret.field("straße"), None);
        assert_eq!(secret.field(""), None);
        for name in ["", "1db", "über", "-"] {
            assert_eq!(DynamicKey::of_secret(name), None, "{name}");
        }
    }

    #[test]
    fn the_longest_name_wins() {
        let names = names(&["db", "db-main", "other", "9"]);
        assert_eq!(secret_of(&names, "DB_MAIN_USER"), Some("db-main"));
        assert_eq!(secret_of(&names, "DB_USER"), Some("db"));
        assert_eq!(secret_of(&names, "DB_MAIN"), Some("db"));
        assert_eq!(secret_of(&names, "DB_"), None);
        assert_eq!(secret_of(&names, "DATABASE_URL"), None);
    }
}
