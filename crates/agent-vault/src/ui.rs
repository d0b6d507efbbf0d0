//! Everything that is shown or asked. Results go to stdout, all else to stderr; the terminal is never queried.
//!
//! Text that came from elsewhere may hold control characters: [`clean`] makes them visible before they are shown.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use agent_vault_seal::SecretBytes;
use anstream::{AutoStream, ColorChoice};
use comfy_table::{ContentArrangement, Table, presets};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

use crate::error::{CliError, Result};

/// Longest line read at a prompt or from `--password-stdin`, in bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Largest document read from stdin, in bytes: the server takes bodies up to 1 MiB.
const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const GREY: &str = "\x1b[90m";
const RESET: &str = "\x1b[0m";

/// The two output streams, the input, and whether a person can answer.
pub(crate) struct Ui {
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
    input: Input,
    interactive: bool,
}

enum Input {
    Stdin,
    Bytes(Mutex<std::collections::VecDeque<u8>>),
}

impl Ui {
    /// The process's own streams. Colours appear only on a terminal and without `NO_COLOR`.
    pub(crate) fn from_process() -> Ui {
        Ui {
            out: Mutex::new(Box::new(AutoStream::auto(io::stdout()))),
            err: Mutex::new(Box::new(AutoStream::auto(io::stderr()))),
            input: Input::Stdin,
            interactive: io::stdin().is_terminal(),
        }
    }

    /// Streams in memory, without colours and without a person: for completion and tests.
    pub(crate) fn captured(stdin: &str) -> (Ui, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        let ui = Ui {
            out: Mutex::new(Box::new(AutoStream::new(
                Box::new(out.clone()) as Box<dyn Write + Send>,
                ColorChoice::Never,
            ))),
            err: Mutex::new(Box::new(AutoStream::new(
                Box::new(err.clone()) as Box<dyn Write + Send>,
                ColorChoice::Never,
            ))),
            input: Input::Bytes(Mutex::new(stdin.bytes().collect())),
            interactive: false,
        };
        (ui, out, err)
    }

    /// True if stdin is a terminal, so that a question can be answered.
    pub(crate) fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Writes a result to stdout exactly as given.
    ///
    /// # Errors
    /// A closed or failing stdout; a closed one ends the program quietly.
    pub(crate) fn data(&self, text: &str) -> Result {
        write_to(&self.out, text.as_bytes())
    }

    /// Writes bytes to stdout exactly as given.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result {
        write_to(&self.out, bytes)
    }

    /// Writes a line of a result to stdout.
    pub(crate) fn line(&self, text: &str) -> Result {
        self.data(&format!("{text}\n"))
    }

    /// Confirms on stdout what was done.
    pub(crate) fn success(&self, text: &str) -> Result {
        self.line(&format!("{GREEN}✓{RESET} {text}"))
    }

    /// Writes `label value` of a detail view, the label bold and 12 columns wide.
    pub(crate) fn field(&self, label: &str, value: &str) -> Result {
        self.line(&format!("{BOLD}{label:<12}{RESET} {}", clean(value)))
    }

    /// Writes a table with light borders and a bold header; an empty one as the muted sentence `empty`.
    pub(crate) fn table(&self, headers: &[&str], rows: Vec<Vec<String>>, empty: &str) -> Result {
        if rows.is_empty() {
            self.note(empty);
            return Ok(());
        }
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(headers.iter().copied());
        for row in rows {
            table.add_row(row.iter().map(|cell| clean(cell)));
        }
        let mut text = String::new();
        for (index, line) in table.to_string().lines().enumerate() {
            if index == 1 {
                let _ = writeln!(text, "{BOLD}{line}{RESET}");
            } else {
                let _ = writeln!(text, "{line}");
            }
        }
        self.data(&text)
    }

    /// Tells something on stderr that is neither result nor warning.
    pub(crate) fn progress(&self, text: &str) {
        self.tell(&format!("{text}\n"));
    }

    /// A muted remark on stderr.
    pub(crate) fn note(&self, text: &str) {
        self.tell(&format!("{GREY}{text}{RESET}\n"));
    }

    /// A warning on stderr.
    pub(crate) fn warn(&self, text: &str) {
        self.tell(&format!("{YELLOW}warning:{RESET} {text}\n"));
    }

    /// A failure, once, with what to do next.
    pub(crate) fn error(&self, error: &CliError) {
        if error.is_quiet() {
            return;
        }
        if error.code() == 0 {
            self.tell(&format!("{}\n", error.message()));
            return;
        }
        self.tell(&format!("{RED}error:{RESET} {}\n", clean(error.message())));
        for hint in error.hints() {
            self.tell(&format!("{GREY}hint:{RESET} {}\n", clean(hint)));
        }
    }

    /// Writes a green word, for inline use.
    pub(crate) fn green(text: &str) -> String {
        format!("{GREEN}{text}{RESET}")
    }

    /// Writes a red word, for inline use.
    pub(crate) fn red(text: &str) -> String {
        format!("{RED}{text}{RESET}")
    }

    /// Writes a grey word, for inline use.
    pub(crate) fn grey(text: &str) -> String {
        format!("{GREY}{text}{RESET}")
    }

    /// stderr may be closed too: then there is nobody to tell.
    fn tell(&self, text: &str) {
        if let Ok(mut err) = self.err.lock() {
            let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
        }
    }

    /// Asks for a yes before something that cannot be undone.
    ///
    /// # Errors
    /// No terminal and no `--yes`; a decline.
    pub(crate) fn confirm(&self, question: &str, yes: bool) -> Result {
        if yes {
            return Ok(());
        }
        self.require_terminal("this needs a confirmation", "--yes")?;
        self.tell(&format!("{question} [y/N] "));
        let answer = self.read_line()?.to_ascii_lowercase();
        match answer.trim() {
            "y" | "yes" => Ok(()),
            _ => Err(CliError::declined()),
        }
    }

    /// Asks to type `word` before something that destroys a whole vault.
    pub(crate) fn confirm_typed(&self, question: &str, word: &str, yes: bool) -> Result {
        if yes {
            return Ok(());
        }
        self.require_terminal("this needs a confirmation", "--yes")?;
        self.tell(&format!("{question}\nType `{word}` to go on: "));
        if self.read_line()?.trim() == word {
            Ok(())
        } else {
            Err(CliError::declined())
        }
    }

    /// Asks for one line of text.
    pub(crate) fn ask(&self, question: &str, instead: &str) -> Result<String> {
        self.require_terminal(&format!("{question} is needed"), instead)?;
        self.tell(&format!("{question}: "));
        Ok(self.read_line()?.trim().to_owned())
    }

    /// Asks for a secret without showing it.
    pub(crate) fn ask_secret(&self, question: &str, instead: &str) -> Result<SecretBytes> {
        self.require_terminal(&format!("{question} is needed"), instead)?;
        // Echo ends before the question shows: whoever sees it may type or paste at once.
        let hidden = Hidden::begin()?;
        self.tell(&format!("{question}: "));
        let secret = hidden.read();
        drop(hidden);
        self.tell("\n");
        secret
    }

    /// Asks twice for a new secret and insists that both agree.
    pub(crate) fn ask_new_secret(&self, question: &str, instead: &str) -> Result<SecretBytes> {
        let first = self.ask_secret(question, instead)?;
        let second = self.ask_secret(&format!("{question} (again)"), instead)?;
        if first.expose() == second.expose() {
            Ok(first)
        } else {
            Err(CliError::new("the two entries differ"))
        }
    }

    fn require_terminal(&self, what: &str, instead: &str) -> Result {
        if self.interactive {
            Ok(())
        } else {
            Err(
                CliError::new(format!("{what}, but stdin is not a terminal"))
                    .hint(format!("use `{instead}`")),
            )
        }
    }

    /// Reads one line from stdin and not a byte more, without its line end.
    ///
    /// # Errors
    /// End of input before any byte; a line over 64 KiB; not UTF-8.
    pub(crate) fn read_line(&self) -> Result<String> {
        let secret = self.read_secret_line()?;
        String::from_utf8(secret.expose().to_vec())
            .map_err(|_| CliError::new("the input is not valid UTF-8"))
    }

    /// Reads one line from stdin as a secret.
    pub(crate) fn read_secret_line(&self) -> Result<SecretBytes> {
        let mut line = Vec::with_capacity(256);
        loop {
            match self.read_byte()? {
                None if line.is_empty() => {
                    return Err(CliError::new("stdin ended before the expected line"));
                }
                None | Some(b'\n') => break,
                Some(byte) if line.len() < MAX_LINE_BYTES => line.push(byte),
                Some(_) => {
                    return Err(CliError::new(format!(
                        "the line on stdin is longer than {MAX_LINE_BYTES} bytes"
                    )));
                }
            }
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(SecretBytes::new(line))
    }

    /// Reads all of stdin, up to 1 MiB.
    pub(crate) fn read_document(&self) -> Result<SecretBytes> {
        let mut document = Vec::new();
        while let Some(byte) = self.read_byte()? {
            if document.len() == MAX_DOCUMENT_BYTES {
                return Err(CliError::new("stdin holds more than 1 MiB"));
            }
            document.push(byte);
        }
        Ok(SecretBytes::new(document))
    }

    fn read_byte(&self) -> Result<Option<u8>> {
        match &self.input {
            Input::Stdin => read_stdin_byte(),
            Input::Bytes(bytes) => Ok(bytes.lock().map_or(None, |mut b| b.pop_front())),
        }
    }
}

/// Makes control characters visible, so that a log path or a name cannot steer the terminal.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if (c.is_control() && c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

fn write_to(sink: &Mutex<Box<dyn Write + Send>>, bytes: &[u8]) -> Result {
    let Ok(mut sink) = sink.lock() else {
        return Err(CliError::output_closed());
    };
    match sink.write_all(bytes).and_then(|()| sink.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(CliError::output_closed()),
        Err(e) => Err(CliError::new(format!("cannot write to stdout: {e}"))),
    }
}

/// Unbuffered, so that what follows the line stays for whoever reads next.
fn read_stdin_byte() -> Result<Option<u8>> {
    let mut byte = [0_u8; 1];
    loop {
        return match rustix::io::read(rustix::stdio::stdin(), &mut byte) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(byte.first().copied()),
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => Err(CliError::new(format!(
                "cannot read stdin: {}",
                io::Error::from(e)
            ))),
        };
    }
}

/// A terminal with echo, line editing and signals off; it is put back as it was on drop, however the prompt ends.
struct Hidden {
    saved: rustix::termios::Termios,
}

impl Hidden {
    /// Switches echo off, and forgets what was typed before the question.
    fn begin() -> Result<Hidden> {
        let io_error = |e: rustix::io::Errno| {
            CliError::new(format!("cannot use the terminal: {}", io::Error::from(e)))
        };
        let stdin = rustix::stdio::stdin();
        let saved = tcgetattr(stdin).map_err(io_error)?;
        let mut raw = saved.clone();
        raw.local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(stdin, OptionalActions::Flush, &raw).map_err(io_error)?;
        Ok(Hidden { saved })
    }

    /// Reads one line of keys; those that end or edit a line are handled here, so that Ctrl-C never leaves a terminal
    /// without echo.
    fn read(&self) -> Result<SecretBytes> {
        let mut typed = Vec::with_capacity(256);
        loop {
            match read_stdin_byte()? {
                None | Some(0x04) if typed.is_empty() => {
                    return Err(CliError::new("end of input at the prompt"));
                }
                None | Some(0x04 | b'\n' | b'\r') => return Ok(SecretBytes::new(typed)),
                Some(0x03) => return Err(CliError::interrupted()),
                Some(0x7f | 0x08) => {
                    // One character, not one byte.
                    while typed.pop().is_some_and(|b| b & 0xC0 == 0x80) {}
                }
                Some(0x15) => typed.clear(),
                Some(byte) if typed.len() < MAX_LINE_BYTES => typed.push(byte),
                Some(_) => return Err(CliError::new("the input is too long")),
            }
        }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Without a flush: what was typed after the line end is for whoever reads next.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &self.saved);
    }
}

/// A stream in memory.
#[derive(Clone, Default)]
pub(crate) struct Captured(std::sync::Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub(crate) fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
