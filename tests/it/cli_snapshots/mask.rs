//! What differs from run to run is replaced by a word in angle brackets, so that two runs read alike.

/// Longest run of letters and digits that is taken for a word that somebody chose.
const LONGEST_WORD: usize = 15;

/// Replacements of a world, in the order in which they are tried.
#[derive(Default)]
pub(super) struct Mask {
    texts: Vec<(String, String)>,
}

impl Mask {
    /// A text that is the world's own.
    pub(super) fn replace(&mut self, text: &str, by: &str) {
        self.texts.push((text.to_owned(), by.to_owned()));
    }

    /// What the build says of itself.
    pub(super) fn build(&mut self) {
        self.replace(env!("CARGO_PKG_VERSION"), "<version>");
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        self.replace(&format!("{os}/{arch}"), "<os>/<arch>");
        self.replace(&format!("\"arch\":\"{arch}\""), "\"arch\":\"<arch>\"");
        self.replace(&format!("\"os\":\"{os}\""), "\"os\":\"<os>\"");
    }

    /// Replaces the world's own texts, then times, ids, tokens and hashes by their looks.
    pub(super) fn apply(&self, text: &str) -> String {
        let text = self
            .texts
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        let lines = certificates(&text);
        let lines = lines
            .iter()
            .filter(|line| !is_side_file(line))
            .map(|line| columns(&words(&base64(&numbers(&built(line))))));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The lines of a text, those inside a certificate as one.
fn certificates(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        inside &= !line.starts_with("-----END");
        if !inside {
            lines.push(line);
        }
        if line.starts_with("-----BEGIN") {
            inside = true;
            lines.push("<certificate>");
        }
    }
    lines
}

/// The build's commit, day and compiler, as text and as JSON.
fn built(line: &str) -> String {
    for label in ["commit", "built", "rust"] {
        if line.starts_with(&format!("{label}: ")) {
            return format!("{label}: <build>");
        }
    }
    ["commit", "built", "rust"]
        .iter()
        .fold(line.to_owned(), |line, label| {
            let before = format!("\"{label}\":\"");
            let Some((head, tail)) = line.split_once(&before) else {
                return line;
            };
            let tail = tail.split_once('"').map_or("", |(_, tail)| tail);
            format!("{head}{before}<build>\"{tail}")
        })
}

/// SQLite's own files beside a database: they go away when its last connection is closed, which is sooner or later.
fn is_side_file(line: &str) -> bool {
    line.ends_with(".db-wal") || line.ends_with(".db-shm")
}

/// What is made of chance in base64, so that its looks differ from run to run: what webhooks sign with, what PKCE sends.
fn base64(line: &str) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_');
    let mut line = line.to_owned();
    for (before, by) in [
        ("whsec_", "<secret>"),
        ("code_challenge=", "code_challenge=<challenge>"),
    ] {
        let mut parts = line.split(before);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for behind in parts {
            out.push_str(by);
            out.push_str(behind.trim_start_matches(part));
        }
        line = out;
    }
    line
}

/// Measured times, process ids and codes.
fn numbers(line: &str) -> String {
    let mut out = line.to_owned();
    for (before, by) in [
        ("latency_ms\":", "<ms>"),
        ("127.0.0.1:", "<port>"),
        ("127.0.0.1%3A", "<port>"),
        ("uptime_seconds\":", "<seconds>"),
        ("size_bytes\":", "<bytes>"),
        ("bytes\":", "<bytes>"),
        ("pid ", "<pid>"),
        ("os error ", "<number>"),
    ] {
        out = after(&out, before, by);
    }
    out
}

/// Replaces the digits behind each `before`.
fn after(line: &str, before: &str, by: &str) -> String {
    let mut out = String::new();
    let mut parts = line.split(before);
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        out.push_str(before);
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() < part.len() {
            out.push_str(by);
        }
        out.push_str(rest);
    }
    out
}

fn words(line: &str) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '.' | '+');
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(part) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !part(c)).unwrap_or(from.len());
        let (word, behind) = from.split_at(end);
        out.push_str(before);
        let bare = word.trim_end_matches(['.', ':']);
        match looks(bare) {
            Some(by) => {
                out.push_str(by);
                out.push_str(word.get(bare.len()..).unwrap_or_default());
            }
            None => out.push_str(word),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// What a word is by its looks.
fn looks(word: &str) -> Option<&'static str> {
    let shape: String = word
        .chars()
        .map(|c| match c {
            '0'..='9' => '9',
            _ => c,
        })
        .collect();
    if shape.starts_with("9999-99-99T") {
        return Some("<time>");
    }
    match shape.as_str() {
        "999999" => return Some("<code>"),
        "9999-99-99" => return Some("<date>"),
        "99:99" | "99:99:99" => return Some("<clock>"),
        _ => {}
    }
    let pieces: Vec<usize> = word.split('-').map(str::len).collect();
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if pieces == [8, 4, 4, 4, 12] && hex(word) {
        return Some("<uuid>");
    }
    if word.starts_with("av_") && word.len() > LONGEST_WORD + 5 {
        return Some("<token>");
    }
    if word.strip_prefix("evt_").is_some_and(hex) {
        return Some("<event>");
    }
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let plain = word.bytes().all(|b| b.is_ascii_alphanumeric());
    // A script's own ids are zeros to nines in order.
    if plain && word.len() > LONGEST_WORD && digits > 1 && !word.starts_with("0123456789") {
        return Some(if hex(word) { "<hex>" } else { "<id>" });
    }
    let mixed = word.bytes().any(|b| b.is_ascii_uppercase())
        && word.bytes().any(|b| b.is_ascii_lowercase())
        && digits > 1;
    (mixed && word.len() > 2 * LONGEST_WORD).then_some("<secret>")
}

/// A table's columns are as wide as what was masked in them: its lines and gaps say nothing.
fn columns(line: &str) -> String {
    if !line.contains(['│', '┆', '─', '═', '╞', '┌', '└']) {
        return line.to_owned();
    }
    let mut out = String::new();
    for c in line.chars() {
        let again = matches!(c, ' ' | '─' | '═') && out.ends_with(c);
        if !again {
            out.push(c);
        }
    }
    out
}
