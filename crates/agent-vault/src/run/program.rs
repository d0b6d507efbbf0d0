//! The command itself: found before a token is minted for it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::env::Env;
use crate::error::{CliError, Result};

/// A command that can be started.
#[derive(Debug)]
pub(super) struct Program {
    /// The file.
    pub(super) path: PathBuf,
    /// What was typed; the program sees it as its own name.
    pub(super) typed: OsString,
    /// Its arguments.
    pub(super) args: Vec<OsString>,
    /// The last part of the path, for labels.
    pub(super) name: String,
}

/// Finds the command as a shell would: a path as it is, a bare name along `PATH`.
///
/// # Errors
/// Nothing of that name; a file that cannot be executed.
pub(super) fn resolve(env: &Env, command: &[OsString]) -> Result<Program> {
    let Some((typed, args)) = command.split_first() else {
        return Err(CliError::usage("no command was given").hint("agent-vault run -- <command>"));
    };
    let shown = typed.to_string_lossy();
    if typed.is_empty() {
        return Err(CliError::usage("the command is empty"));
    }
    let path = if typed.as_bytes().contains(&b'/') {
        let path = env.cwd().join(typed);
        match check(&path) {
            Found::Yes => path,
            Found::NotExecutable => {
                return Err(CliError::new(format!("`{shown}` cannot be executed")));
            }
            Found::No => return Err(CliError::new(format!("there is no `{shown}`"))),
        }
    } else {
        search(env, typed)?
    };
    Ok(Program {
        name: path
            .file_name()
            .unwrap_or(typed)
            .to_string_lossy()
            .into_owned(),
        path,
        typed: typed.clone(),
        args: args.to_vec(),
    })
}

fn search(env: &Env, name: &OsStr) -> Result<PathBuf> {
    let paths = env
        .raw("PATH")
        .unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
    let mut blocked = None;
    for folder in std::env::split_paths(paths) {
        let path = env.cwd().join(folder).join(name);
        match check(&path) {
            Found::Yes => return Ok(path),
            Found::NotExecutable => blocked = Some(path),
            Found::No => {}
        }
    }
    let shown = name.to_string_lossy();
    Err(match blocked {
        Some(path) => CliError::new(format!("`{}` cannot be executed", path.display())),
        None => {
            CliError::new(format!("command `{shown}` not found")).hint("check the name, and PATH")
        }
    })
}

enum Found {
    Yes,
    NotExecutable,
    No,
}

fn check(path: &Path) -> Found {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() && access(path, Access::EXEC_OK).is_ok() => Found::Yes,
        Ok(_) => Found::NotExecutable,
        Err(_) => Found::No,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::resolve;
    use crate::env::Env;

    #[test]
    fn commands_are_found_before_anything_else_happens() {
        let env = Env::of(&[("PATH", "/nowhere:/bin:/usr/bin")], Path::new("/"));
        let find = |c: &str| resolve(&env, &[OsString::from(c), OsString::from("-x")]);
        let sh = find("sh").unwrap();
        assert!(sh.path.ends_with("sh") && sh.args.len() == 1);
        assert!(find("bin/sh").is_ok());
        assert!(
            find("no-such-command-here")
                .unwrap_err()
                .message()
                .contains("not found")
        );
        assert!(
            find("/etc/passwd")
                .unwrap_err()
                .message()
                .contains("executed")
        );
        assert!(find("/etc").is_err());
        assert!(find("").is_err());
    }
}
