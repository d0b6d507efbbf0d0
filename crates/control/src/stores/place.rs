//! Where in a store a vault's secrets are, as people say it and as rows keep it.

use agent_vault_broker::StorePlace;
use serde::{Deserialize, Serialize};

use crate::error::ControlError;

/// Shortest time between two refreshes, in seconds.
pub const MIN_POLL_SECONDS: u32 = 10;
/// Longest: a week.
pub const MAX_POLL_SECONDS: u32 = 7 * 24 * 3600;
/// Without a wish.
const DEFAULT_POLL_SECONDS: u32 = 60;
/// Longest part of a place, in bytes.
const MAX_PART_BYTES: usize = 512;

/// Which store somebody wants, as it was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreChoice {
    /// `builtin` or `infisical`; empty counts as `builtin`.
    pub kind: String,
    /// Project, environment and path, where a `config` was sent.
    pub place: Option<StorePlace>,
    /// Seconds between two refreshes.
    pub poll_interval_seconds: Option<u32>,
}

/// A place and how often to look there, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoreConfig {
    pub(super) place: StorePlace,
    pub(super) poll_interval_seconds: u32,
}

/// A choice that can be carried out.
pub(super) enum Chosen {
    Builtin,
    Infisical(StoreConfig),
}

impl StoreChoice {
    /// Whether the vault is to keep its own credentials.
    #[must_use]
    pub fn is_builtin(&self) -> bool {
        matches!(self.kind.as_str(), "" | "builtin")
    }

    /// Checks what can be said of a choice on any server, connected to a store or not.
    ///
    /// # Errors
    /// `Invalid` for an unknown kind and for too short or too long a time between refreshes.
    pub(super) fn check(&self) -> Result<(), ControlError> {
        if !matches!(self.kind.as_str(), "" | "builtin" | "infisical") {
            return Err(ControlError::invalid(
                "credential_store.kind must be one of: builtin, infisical",
            )
            .hint("for example `builtin`: the vault keeps its own credentials"));
        }
        match self.poll_interval_seconds {
            Some(seconds) if !(MIN_POLL_SECONDS..=MAX_POLL_SECONDS).contains(&seconds) => {
                Err(ControlError::invalid(format!(
                    "credential_store.poll_interval_seconds must be {MIN_POLL_SECONDS} to {MAX_POLL_SECONDS}"
                ))
                .hint(format!("for example {DEFAULT_POLL_SECONDS}")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn parse(self) -> Result<Chosen, ControlError> {
        self.check()?;
        if self.is_builtin() {
            return Ok(Chosen::Builtin);
        }
        let Some(place) = self.place else {
            return Err(ControlError::invalid("credential_store.config is required")
                .hint("for example {\"project_id\": \"…\", \"environment\": \"prod\", \"secret_path\": \"/\"}"));
        };
        let place = StorePlace {
            project_id: part("project_id", &place.project_id)?,
            environment: part("environment", &place.environment)?,
            secret_path: part("secret_path", &place.secret_path)?,
        };
        if !place.secret_path.starts_with('/') {
            return Err(ControlError::invalid(
                "credential_store.config.secret_path must begin with `/`",
            )
            .hint("for example `/` or `/agents/ci`"));
        }
        Ok(Chosen::Infisical(StoreConfig {
            place,
            poll_interval_seconds: self.poll_interval_seconds.unwrap_or(DEFAULT_POLL_SECONDS),
        }))
    }
}

fn part(field: &str, text: &str) -> Result<String, ControlError> {
    let text = text.trim();
    let wrong = |rule: &str| {
        Err(ControlError::invalid(format!(
            "credential_store.config.{field} {rule}"
        )))
    };
    if text.is_empty() {
        return wrong("is required");
    }
    if text.len() > MAX_PART_BYTES {
        return wrong(&format!("must have at most {MAX_PART_BYTES} bytes"));
    }
    if text.chars().any(char::is_control) {
        return wrong("must have no control characters");
    }
    Ok(text.to_owned())
}

#[derive(Serialize, Deserialize)]
struct Stored {
    project_id: String,
    environment: String,
    secret_path: String,
}

/// As rows keep it.
pub(super) fn to_json(place: &StorePlace) -> String {
    to_value(place).to_string()
}

pub(super) fn to_value(place: &StorePlace) -> serde_json::Value {
    serde_json::json!({
        "project_id": place.project_id,
        "environment": place.environment,
        "secret_path": place.secret_path,
    })
}

/// From a row.
///
/// # Errors
/// When the row is damaged.
pub(super) fn from_json(text: &str) -> Result<StorePlace, ControlError> {
    let Stored {
        project_id,
        environment,
        secret_path,
    } = serde_json::from_str(text).map_err(|error| {
        ControlError::internal(
            "the stored place of an external store cannot be read",
            error,
        )
    })?;
    Ok(StorePlace {
        project_id,
        environment,
        secret_path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice() -> StoreChoice {
        StoreChoice {
            kind: "infisical".to_owned(),
            place: Some(StorePlace {
                project_id: " p1 ".to_owned(),
                environment: "prod".to_owned(),
                secret_path: " /a ".to_owned(),
            }),
            poll_interval_seconds: None,
        }
    }

    #[test]
    fn a_place_is_trimmed_and_comes_back_from_its_row() {
        let Chosen::Infisical(config) = choice().parse().unwrap() else {
            panic!("external");
        };
        assert_eq!(config.place.project_id, "p1");
        assert_eq!(config.place.secret_path, "/a");
        assert_eq!(config.poll_interval_seconds, 60);
        assert_eq!(from_json(&to_json(&config.place)).unwrap(), config.place);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let broken = |edit: &dyn Fn(&mut StoreChoice)| {
            let mut choice = choice();
            edit(&mut choice);
            choice
                .parse()
                .err()
                .map(|error| error.message().to_owned())
                .unwrap()
        };
        assert!(broken(&|c| c.kind = "vault".into()).contains("kind"));
        assert!(broken(&|c| c.place = None).contains("config"));
        assert!(broken(&|c| c.poll_interval_seconds = Some(9)).contains("poll_interval_seconds"));
        let week = MAX_POLL_SECONDS;
        assert!(
            broken(&|c| c.poll_interval_seconds = Some(week + 1)).contains("poll_interval_seconds")
        );
        let own = StoreChoice {
            poll_interval_seconds: Some(0),
            ..StoreChoice::default()
        };
        assert!(own.parse().is_err());
        let place = |edit: fn(&mut StorePlace)| {
            broken(&move |c: &mut StoreChoice| {
                if let Some(place) = &mut c.place {
                    edit(place);
                }
            })
        };
        assert!(place(|p| p.project_id = "  ".into()).contains("project_id"));
        assert!(place(|p| p.environment.clear()).contains("environment"));
        assert!(place(|p| p.secret_path = "a".into()).contains("begin with"));
        assert!(place(|p| p.secret_path = "/a\nb".into()).contains("control"));
    }
}
