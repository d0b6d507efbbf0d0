//! The process environment as a value: read once, passed down, replaceable in tests.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::env_vars::Variable;
use crate::error::{CliError, Result};

/// Environment variables and working folder of this process at its start.
#[derive(Clone)]
pub(crate) struct Env {
    vars: BTreeMap<OsString, OsString>,
    cwd: PathBuf,
}

impl Env {
    pub(crate) fn from_process() -> Env {
        Env {
            vars: std::env::vars_os().collect(),
            cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(vars: &[(&str, &str)], cwd: &Path) -> Env {
        Env {
            vars: vars
                .iter()
                .map(|(k, v)| (OsString::from(k), OsString::from(v)))
                .collect(),
            cwd: cwd.to_owned(),
        }
    }

    #[cfg(test)]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Env {
        self.vars.insert(name.into(), value.into());
        self
    }

    /// The value of a declared variable; unset and empty are the same.
    ///
    /// # Errors
    /// A value that is not UTF-8, naming the variable.
    pub(crate) fn get(&self, variable: &Variable) -> Result<Option<&str>> {
        match self.vars.get(OsStr::new(variable.name)) {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => value.to_str().map(Some).ok_or_else(|| {
                CliError::new(format!("the value of {} is not valid UTF-8", variable.name))
            }),
        }
    }

    /// The raw value of any variable.
    pub(crate) fn raw(&self, name: &str) -> Option<&OsStr> {
        self.vars.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// Every variable, for a child that inherits them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.vars
            .iter()
            .map(|(k, v)| (k.as_os_str(), v.as_os_str()))
    }

    /// The working folder.
    pub(crate) fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// The home folder, if the environment names one.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.raw("HOME")
            .filter(|h| !h.is_empty())
            .map(PathBuf::from)
    }
}
