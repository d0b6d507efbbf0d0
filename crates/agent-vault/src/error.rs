//! What a command can fail with: one sentence, what to do next, and the exit code.

use std::fmt;

/// The result of everything a command does.
pub(crate) type Result<T = ()> = std::result::Result<T, CliError>;

/// Exit code of a failure at run time: network, authorisation, refused input, a file that cannot be written.
pub(crate) const FAILURE: u8 = 1;
/// Exit code of a command line that cannot be understood, as clap uses it.
pub(crate) const USAGE: u8 = 2;

/// Exit code of a plan that has something to change.
pub(crate) const PENDING: u8 = 3;

/// A failed command: printed once, as `error: …` and, where something helps, `hint: …`.
#[derive(Debug)]
pub(crate) struct CliError {
    message: String,
    hints: Vec<String>,
    code: u8,
    quiet: bool,
}

impl CliError {
    /// A failure at run time.
    pub(crate) fn new(message: impl Into<String>) -> CliError {
        CliError {
            message: message.into(),
            hints: Vec::new(),
            code: FAILURE,
            quiet: false,
        }
    }

    /// A command line that cannot be obeyed.
    pub(crate) fn usage(message: impl Into<String>) -> CliError {
        CliError {
            code: USAGE,
            ..CliError::new(message)
        }
    }

    /// The reader of our output went away (`| head`): nothing is wrong and nobody is listening.
    pub(crate) fn output_closed() -> CliError {
        CliError {
            code: 0,
            quiet: true,
            ..CliError::new("output closed")
        }
    }

    /// The person declined: says so, and is not a failure.
    pub(crate) fn declined() -> CliError {
        CliError {
            code: 0,
            ..CliError::new("aborted, nothing was changed")
        }
    }

    /// Ctrl-C at a prompt.
    pub(crate) fn interrupted() -> CliError {
        CliError {
            code: 130,
            quiet: true,
            ..CliError::new("interrupted")
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> CliError {
        self.hints.push(hint.into());
        self
    }

    /// Puts what was being done before the message.
    #[must_use]
    pub(crate) fn context(mut self, doing: impl fmt::Display) -> CliError {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}
