//! Secrets of the environment, or of files that it names.

use std::path::Path;

use agent_vault_seal::SecretBytes;

use crate::env::Env;
use crate::env_vars::Variable;
use crate::error::{CliError, Result};

/// A secret of the environment, or of a file that the environment names: its first line.
pub(crate) fn secret_in(
    env: &Env,
    variable: &Variable,
    file: &Variable,
) -> Result<Option<SecretBytes>> {
    let value = env.get(variable)?;
    let path = env.get(file)?;
    match (value, path) {
        (Some(_), Some(_)) => Err(CliError::new(format!(
            "{} and {} are both set",
            variable.name, file.name
        ))),
        (Some(value), None) => Ok(Some(SecretBytes::new(value.as_bytes().to_vec()))),
        (None, Some(path)) => secret_of(env.cwd(), Path::new(path), &file.name).map(Some),
        (None, None) => Ok(None),
    }
}

/// The first line of a file, as a secret; `named_by` is told when it cannot be had.
pub(crate) fn secret_of(
    cwd: &Path,
    path: &Path,
    named_by: &dyn std::fmt::Display,
) -> Result<SecretBytes> {
    let path = cwd.join(path);
    let failed = |why: &dyn std::fmt::Display| {
        CliError::new(format!("{named_by}: {}: {why}", path.display()))
    };
    let bytes =
        crate::home::read_if_there(&path)?.ok_or_else(|| failed(&"there is no such file"))?;
    let bytes = zeroize::Zeroizing::new(bytes);
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(failed(&"its first line is empty"));
    }
    Ok(SecretBytes::new(line.to_vec()))
}
