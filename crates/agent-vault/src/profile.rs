//! Profiles: one person's logins at several servers, each under a name.
//!
//! A profile is a folder `profiles/<name>` of the data folder with what the client remembers of one server: `profile.json`
//! (its address), the saved login and the active vault. The profile `default` is the data folder itself. The rule that
//! chooses one: `--profile`, `AGENT_VAULT_PROFILE`, `profile use`, else `default`. `AGENT_VAULT_TOKEN` is an identity of its
//! own and needs none.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cli::App;
use crate::connect::Address;
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::home::{Home, read_if_there, write_atomically};

/// The profile that is there without being made.
pub(crate) const DEFAULT: &str = "default";
/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// File of the data folder with the name that `profile use` chose.
const CHOICE: &str = "profile";
/// Folder of the data folder with the profiles.
const FOLDER: &str = "profiles";
/// File of a profile that says where its server is.
const FILE: &str = "profile.json";

/// The name of a profile: 1 to 64 of a-z, 0-9, `-` and `_`, the first a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProfileName(String);

impl ProfileName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_default(&self) -> bool {
        self.0 == DEFAULT
    }
}

impl FromStr for ProfileName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<ProfileName, String> {
        let first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let other = |b: u8| first(b) || b == b'-' || b == b'_';
        let fits = text.len() <= MAX_NAME_BYTES
            && text.bytes().next().is_some_and(first)
            && text.bytes().all(other);
        if fits {
            Ok(ProfileName(text.to_owned()))
        } else {
            Err(String::from(
                "a profile's name is 1 to 64 of a-z, 0-9, `-` and `_`, and begins with a letter or digit, such as `work`",
            ))
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What chose the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChosenBy {
    Flag,
    Environment,
    Used,
    Nothing,
}

impl ChosenBy {
    /// For people.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            ChosenBy::Flag => "--profile",
            ChosenBy::Environment => "AGENT_VAULT_PROFILE",
            ChosenBy::Used => "`agent-vault profile use`",
            ChosenBy::Nothing => "no other is chosen",
        }
    }
}

/// A profile and why it is this one.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) name: ProfileName,
    pub(crate) by: ChosenBy,
}

impl Profile {
    /// The profile of somebody who never asked for one.
    pub(crate) fn unnamed() -> Profile {
        Profile {
            name: ProfileName(String::from(DEFAULT)),
            by: ChosenBy::Nothing,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    address: String,
}

/// The data folder as the chosen profile sees it.
///
/// # Errors
/// No data folder; a name that is none, from the environment or from the file of `profile use`.
pub(crate) fn home(app: &App) -> Result<Home> {
    let home = Home::locate(&app.env)?;
    let profile = chosen(app, &home)?;
    Ok(home.seen_by(profile))
}

/// Applies the rule that chooses a profile.
pub(crate) fn chosen(app: &App, home: &Home) -> Result<Profile> {
    if let Some(name) = app.profile() {
        return Ok(Profile {
            name: name.clone(),
            by: ChosenBy::Flag,
        });
    }
    if let Some(text) = app.env.get(&env_vars::PROFILE)? {
        let name = text
            .parse()
            .map_err(|e| CliError::new(format!("{}: {e}", env_vars::PROFILE.name)))?;
        return Ok(Profile {
            name,
            by: ChosenBy::Environment,
        });
    }
    Ok(match used(home)? {
        Some(name) => Profile {
            name,
            by: ChosenBy::Used,
        },
        None => Profile::unnamed(),
    })
}

/// The profile that `profile use` chose.
///
/// # Errors
/// A file that does not hold a name.
pub(crate) fn used(home: &Home) -> Result<Option<ProfileName>> {
    let path = home.path(CHOICE);
    let Some(bytes) = read_if_there(&path)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    text.trim().parse().map(Some).map_err(|e: String| {
        CliError::new(format!("{} cannot be read: {e}", path.display()))
            .hint("`agent-vault profile use default` writes it anew")
    })
}

/// Makes `name` the profile of commands that name none.
pub(crate) fn choose(home: &Home, name: &ProfileName) -> Result {
    home.create()?;
    write_atomically(&home.path(CHOICE), format!("{name}\n").as_bytes(), 0o600)
}

/// The folder of a profile; the data folder for `default`.
pub(crate) fn folder(home: &Home, name: &ProfileName) -> PathBuf {
    if name.is_default() {
        home.dir().to_owned()
    } else {
        home.path(FOLDER).join(name.as_str())
    }
}

/// Where a profile's server is; `None` for a profile that is not there, and for `default`, whose address is its login's.
///
/// # Errors
/// A file that is there and cannot be read.
pub(crate) fn address(home: &Home, name: &ProfileName) -> Result<Option<Address>> {
    let path = folder(home, name).join(FILE);
    if name.is_default() {
        return Ok(None);
    }
    let Some(bytes) = read_if_there(&path)? else {
        return Ok(None);
    };
    let damaged = |why: String| {
        CliError::new(format!("{} cannot be read: {why}", path.display())).hint(format!(
            "`agent-vault auth login --profile {name} --address <url>` writes it anew; `agent-vault profile remove {name}` removes the profile"
        ))
    };
    let file: ProfileFile = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    Address::parse(&file.address)
        .map(Some)
        .map_err(|e| damaged(e.message().to_owned()))
}

/// Remembers where a profile's server is.
pub(crate) fn save_address(home: &Home, name: &ProfileName, address: &Address) -> Result {
    if name.is_default() {
        return Ok(());
    }
    let mut text = serde_json::to_vec_pretty(&ProfileFile {
        address: address.to_string(),
    })
    .map_err(|e| CliError::new(format!("cannot write the profile: {e}")))?;
    text.push(b'\n');
    write_atomically(&folder(home, name).join(FILE), &text, 0o600)
}

/// Every profile by name, `default` first. What else lies in the folder is left out.
pub(crate) fn all(home: &Home) -> Result<Vec<ProfileName>> {
    let mut names = Vec::new();
    let path = home.path(FOLDER);
    match fs::read_dir(&path) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(|e| unreadable(&path, &e))?;
                let name = entry.file_name();
                let name = name.to_str().and_then(|n| n.parse::<ProfileName>().ok());
                names.extend(name.filter(|n| !n.is_default() && entry.path().is_dir()));
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(unreadable(&path, &e)),
    }
    names.sort();
    names.insert(0, ProfileName(String::from(DEFAULT)));
    Ok(names)
}

fn unreadable(path: &std::path::Path, error: &io::Error) -> CliError {
    CliError::new(format!("cannot read {}: {error}", path.display()))
}

/// Whether a profile was made.
pub(crate) fn exists(home: &Home, name: &ProfileName) -> bool {
    name.is_default() || folder(home, name).is_dir()
}

/// That a profile is not there, with those that are.
pub(crate) fn missing(home: &Home, profile: &Profile) -> CliError {
    let name = &profile.name;
    let by = match profile.by {
        ChosenBy::Flag | ChosenBy::Nothing => String::new(),
        by => format!(" (from {})", by.describe()),
    };
    let error = CliError::new(format!("there is no profile `{name}`{by}")).hint(format!(
        "make it with `agent-vault auth login --profile {name} --address <url>`"
    ));
    match all(home) {
        Ok(names) => {
            let names: Vec<_> = names.iter().map(ProfileName::as_str).collect();
            error.hint(format!("there are: {}", names.join(", ")))
        }
        Err(_) => error,
    }
}

/// Removes a profile with its logins; where it was the chosen one, `default` is chosen again.
///
/// # Errors
/// `default`; a folder that cannot be removed.
pub(crate) fn remove(home: &Home, name: &ProfileName) -> Result {
    let path = folder(home, name);
    fs::remove_dir_all(&path)
        .map_err(|e| CliError::new(format!("cannot remove {}: {e}", path.display())))?;
    if matches!(used(home), Ok(Some(used)) if used == *name) {
        let choice = home.path(CHOICE);
        fs::remove_file(&choice)
            .map_err(|e| CliError::new(format!("cannot remove {}: {e}", choice.display())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::ProfileName;

    #[test]
    fn names_are_safe_as_folders() {
        for good in ["a", "work", "7", "a-b_c", &"x".repeat(64)] {
            assert!(good.parse::<ProfileName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "-x",
            "_x",
            "A",
            "a b",
            "ü",
            "a\0",
            &"x".repeat(65),
        ] {
            assert!(bad.parse::<ProfileName>().is_err(), "{bad:?}");
        }
    }
}
