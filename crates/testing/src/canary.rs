//! Canary secrets: unique values, and the search for every form in which one may leak.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;

/// A unique secret that must not turn up where it has no business.
#[derive(Clone, PartialEq, Eq)]
pub struct Canary {
    value: String,
}

/// A form in which a canary was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// Byte for byte.
    Raw,
    /// Standard base64, with the number of bytes modulo 3 that stood before it.
    Base64(usize),
    /// URL-safe base64, likewise.
    Base64Url(usize),
    /// Percent-encoded: only what must be, or every byte.
    Percent,
    /// Hexadecimal, either case.
    Hex,
    /// As the inside of a JSON string.
    Json,
    /// UTF-16, little endian.
    Utf16,
}

/// One finding in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file that holds it.
    pub path: PathBuf,
    /// How it is written there.
    pub form: Form,
}

impl Canary {
    /// A fresh value of letters, digits and `_`, that any header can carry: `prefix` and 40 random characters.
    ///
    /// # Panics
    /// When the system gives no randomness.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let mut random = [0_u8; 20];
        aws_lc_rs::rand::fill(&mut random).expect("randomness");
        Self {
            value: format!("{prefix}{}", hex::encode(random)),
        }
    }

    /// A fresh value with the characters that encoders change: quotes, backslash, `%`, `+`, `&`, `=`, `/` and a space.
    #[must_use]
    pub fn awkward(prefix: &str) -> Self {
        let plain = Self::new(prefix);
        Self {
            value: format!("{}\"q\\b%41+a&b=c/d e", plain.value),
        }
    }

    /// A canary of a given value, at least 8 bytes long.
    ///
    /// # Panics
    /// When the value is too short to be looked for.
    #[must_use]
    pub fn of(value: impl Into<String>) -> Self {
        let value = value.into();
        assert!(
            value.len() >= 8,
            "a canary of {} bytes would be found by chance",
            value.len()
        );
        Self { value }
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// Every form that is looked for, as bytes.
    #[must_use]
    pub fn forms(&self) -> Vec<(Form, Vec<u8>)> {
        let raw = self.value.as_bytes();
        let mut forms = vec![(Form::Raw, raw.to_vec())];
        for offset in 0..3 {
            forms.push((
                Form::Base64(offset),
                base64_core(&STANDARD_NO_PAD, raw, offset),
            ));
            forms.push((
                Form::Base64Url(offset),
                base64_core(&URL_SAFE_NO_PAD, raw, offset),
            ));
        }
        for lower in [false, true] {
            forms.push((
                Form::Percent,
                percent(raw, lower, |byte| !unreserved(byte)).into_bytes(),
            ));
            forms.push((Form::Percent, percent(raw, lower, |_| true).into_bytes()));
        }
        // Forms: a space is `+` there.
        forms.push((
            Form::Percent,
            percent(raw, false, |byte| !unreserved(byte))
                .replace("%20", "+")
                .into_bytes(),
        ));
        forms.push((Form::Hex, hex::encode(raw).into_bytes()));
        forms.push((Form::Hex, hex::encode_upper(raw).into_bytes()));
        let json = serde_json::Value::String(self.value.clone()).to_string();
        forms.push((Form::Json, json.trim_matches('"').as_bytes().to_vec()));
        forms.push((
            Form::Utf16,
            self.value
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect(),
        ));
        // A form that equals an earlier one says nothing more.
        let mut unique: Vec<(Form, Vec<u8>)> = Vec::with_capacity(forms.len());
        for (form, bytes) in forms {
            if !unique.iter().any(|(_, seen)| *seen == bytes) {
                unique.push((form, bytes));
            }
        }
        unique
    }

    /// The forms in which `haystack` holds it.
    #[must_use]
    pub fn find(&self, haystack: impl AsRef<[u8]>) -> Vec<Form> {
        let haystack = haystack.as_ref();
        self.forms()
            .into_iter()
            .filter(|(_, needle)| memmem::find(haystack, needle).is_some())
            .map(|(form, _)| form)
            .collect()
    }

    /// Every regular file below `root` that holds it. Links are not followed; what vanishes meanwhile is passed over.
    ///
    /// # Panics
    /// When a file that exists cannot be read.
    #[must_use]
    pub fn find_in_tree(&self, root: impl AsRef<Path>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut folders = vec![root.as_ref().to_path_buf()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries.flatten() {
                let Ok(kind) = entry.file_type() else {
                    continue;
                };
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    let content = read_if_there(&entry.path());
                    findings.extend(self.find(&content).into_iter().map(|form| Finding {
                        path: entry.path(),
                        form,
                    }));
                }
            }
        }
        findings
    }

    /// Fails the test, naming `what`, when `haystack` holds it in any form. The value itself is not printed.
    ///
    /// # Panics
    /// When it is found.
    pub fn assert_absent(&self, what: &str, haystack: impl AsRef<[u8]>) {
        let found = self.find(haystack);
        assert!(found.is_empty(), "a canary leaked into {what} as {found:?}");
    }

    /// Fails the test when a file below `root` holds it in any form.
    ///
    /// # Panics
    /// When it is found.
    pub fn assert_absent_in_tree(&self, root: impl AsRef<Path>) {
        let found = self.find_in_tree(root);
        assert!(found.is_empty(), "a canary leaked into files: {found:?}");
    }
}

impl fmt::Debug for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canary([redacted])")
    }
}

/// The characters of `raw`'s base64 that do not depend on what stands around it, when `offset` bytes (modulo 3) stand before.
fn base64_core(engine: &impl base64::Engine, raw: &[u8], offset: usize) -> Vec<u8> {
    let mut shifted = vec![0_u8; offset];
    shifted.extend_from_slice(raw);
    let text = engine.encode(&shifted).into_bytes();
    let start = (offset * 8).div_ceil(6);
    let end = shifted.len() * 8 / 6;
    text.get(start..end).unwrap_or_default().to_vec()
}

fn percent(raw: &[u8], lower: bool, escape: impl Fn(u8) -> bool) -> String {
    use fmt::Write as _;

    let mut text = String::with_capacity(raw.len() * 3);
    for &byte in raw {
        if !escape(byte) {
            text.push(char::from(byte));
        } else if lower {
            write!(text, "%{byte:02x}").expect("a string takes all");
        } else {
            write!(text, "%{byte:02X}").expect("a string takes all");
        }
    }
    text
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn read_if_there(path: &Path) -> Vec<u8> {
    let mut content = Vec::new();
    match std::fs::File::open(path) {
        Ok(mut file) => {
            file.read_to_end(&mut content).expect("a readable file");
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => panic!("cannot search {}: {error}", path.display()),
    }
    content
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    #[test]
    fn every_form_is_found_and_nothing_else() {
        let canary = Canary::awkward("cn_");
        let secret = canary.expose();
        for before in ["", "x", "xy", "xyz"] {
            let text = STANDARD_NO_PAD.encode(format!("{before}{secret}:and more"));
            assert!(
                canary
                    .find(&text)
                    .iter()
                    .any(|form| matches!(form, Form::Base64(_))),
                "not found after {before:?}"
            );
        }
        assert_eq!(canary.find(format!("a{secret}b")), [Form::Raw]);
        assert_eq!(canary.find(hex::encode_upper(secret)), [Form::Hex]);
        assert_eq!(
            canary.find(serde_json::json!({ "k": secret }).to_string()),
            [Form::Json]
        );
        assert_eq!(
            canary.find(percent(secret.as_bytes(), true, |byte| !unreserved(byte))),
            [Form::Percent]
        );
        assert!(canary.find("nothing here").is_empty());
        assert!(Canary::new("cn_").find(secret).is_empty(), "another canary");
    }

    #[test]
    fn a_tree_is_searched_to_its_leaves() {
        let home = crate::Home::new();
        let canary = Canary::new("cn_");
        home.write("a/b/c", format!("..{}..", canary.expose()));
        home.write("a/d", "clean");
        let found = canary.find_in_tree(home.path());
        assert_eq!(
            found,
            [Finding {
                path: home.join("a/b/c"),
                form: Form::Raw
            }]
        );
        assert!(!format!("{canary:?}").contains(canary.expose()));
    }
}
