//! One setting from four places.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::env::Env;
use crate::env_vars::Variable;
use crate::error::{CliError, Result};
use crate::home::read_if_there;

/// A value and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Setting<T> {
    /// The value in force.
    pub(crate) value: T,
    /// What set it.
    pub(crate) origin: Origin,
}

impl<T> Setting<T> {
    /// A value that nobody set.
    pub(crate) fn default_of(value: T) -> Setting<T> {
        Setting {
            value,
            origin: Origin::Default,
        }
    }
}

/// What set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Environment(&'static str),
    File(PathBuf, String),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) | Origin::Environment(name) => f.write_str(name),
            Origin::File(path, key) => write!(f, "{}: {key}", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// The names of one setting.
#[derive(Clone, Copy)]
pub(super) struct Spec<'a> {
    /// Key in `config.toml`.
    pub(super) key: &'static str,
    pub(super) flag: Option<&'static str>,
    /// Variables, the first that is set wins.
    pub(super) vars: &'a [&'static Variable],
}

/// `config.toml`: a flat table.
pub(super) struct FileLayer {
    path: PathBuf,
    values: BTreeMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
}

impl FileLayer {
    /// Reads the file; none there is an empty layer.
    pub(super) fn read(path: &Path) -> Result<FileLayer> {
        let mut values = BTreeMap::new();
        if let Some(bytes) = read_if_there(path)? {
            let bad = |why: &dyn fmt::Display| CliError::new(format!("{}: {why}", path.display()));
            let text = std::str::from_utf8(&bytes).map_err(|e| bad(&e))?;
            let table: toml::Table = text
                .parse()
                .map_err(|e: toml::de::Error| bad(&e.message()))?;
            for (key, value) in table {
                let text = scalar(&value).ok_or_else(|| {
                    bad(&format!(
                        "`{key}` must be a string, number, boolean or list of these"
                    ))
                })?;
                values.insert(key, text);
            }
        }
        Ok(FileLayer {
            path: path.to_owned(),
            values,
            asked: RefCell::default(),
        })
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.asked.borrow_mut().insert(key.to_owned());
        self.values.get(key).map(String::as_str)
    }

    /// A key that no setting asked for is a typo, and a typo must not silently mean the default.
    pub(super) fn refuse_unknown(&self) -> Result {
        let asked = self.asked.borrow();
        match self.values.keys().find(|k| !asked.contains(*k)) {
            None => Ok(()),
            Some(key) => Err(CliError::new(format!(
                "{}: unknown setting `{key}`",
                self.path.display()
            ))
            .hint("`agent-vault server --print-config` lists the settings")),
        }
    }
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(s) => Some(s.clone()),
        toml::Value::Integer(i) => Some(i.to_string()),
        toml::Value::Boolean(b) => Some(b.to_string()),
        toml::Value::Array(items) => items
            .iter()
            .map(scalar)
            .collect::<Option<Vec<_>>>()
            .map(|v| v.join(",")),
        _ => None,
    }
}

/// Environment and file; flags come with each question.
pub(super) struct Layers<'a> {
    pub(super) env: &'a Env,
    pub(super) file: &'a FileLayer,
}

impl Layers<'_> {
    /// Reads one setting from the first place that has it.
    pub(super) fn read<T>(
        &self,
        spec: Spec<'_>,
        flag: Option<&str>,
        parse: impl Fn(&str) -> std::result::Result<T, String>,
        default: impl FnOnce() -> T,
    ) -> Result<Setting<T>> {
        // Asked even when a flag wins, so that the key counts as known.
        let in_file = self.file.get(spec.key);
        if let (Some(text), Some(name)) = (flag, spec.flag) {
            return match parse(text) {
                Ok(value) => Ok(Setting {
                    value,
                    origin: Origin::Flag(name),
                }),
                Err(why) => Err(CliError::usage(format!("{name}: {why}"))),
            };
        }
        for variable in spec.vars {
            if let Some(text) = self.env.get(variable)? {
                return match parse(text) {
                    Ok(value) => Ok(Setting {
                        value,
                        origin: Origin::Environment(variable.name),
                    }),
                    Err(why) => Err(CliError::new(format!(
                        "environment variable {}: {why}",
                        variable.name
                    ))),
                };
            }
        }
        if let Some(text) = in_file {
            let origin = Origin::File(self.file.path.clone(), spec.key.to_owned());
            return match parse(text) {
                Ok(value) => Ok(Setting { value, origin }),
                Err(why) => Err(CliError::new(format!("{origin}: {why}"))),
            };
        }
        Ok(Setting::default_of(default()))
    }

    /// Reads a setting that has one variable and no flag.
    pub(super) fn plain<T>(
        &self,
        key: &'static str,
        variable: &'static Variable,
        parse: impl Fn(&str) -> std::result::Result<T, String>,
        default: impl FnOnce() -> T,
    ) -> Result<Setting<T>> {
        self.read(
            Spec {
                key,
                flag: None,
                vars: &[variable],
            },
            None,
            parse,
            default,
        )
    }
}
