//! Path patterns: literal text with `*` that runs across `/`.

use std::fmt;

use memchr::memmem;

/// Longest pattern in characters.
pub const MAX_PATH_GLOB_CHARS: usize = 256;

/// A path pattern. Without `*` it is compared for equality; `*` takes any run of bytes, `/` included.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PathGlob {
    text: String,
}

impl PathGlob {
    /// Checks the form.
    ///
    /// # Errors
    /// When it does not start with `/`, is over [`MAX_PATH_GLOB_CHARS`], holds `**`, control characters, one of `? # [ ] \ | < > "`
    /// or a space, or could never match because paths are compared decoded and resolved: percent-escapes, `//`, dot segments.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if !text.starts_with('/') {
            return Err(GlobError::NoSlash);
        }
        if text.chars().count() > MAX_PATH_GLOB_CHARS {
            return Err(GlobError::TooLong);
        }
        if text.contains("**") {
            return Err(GlobError::DoubleStar);
        }
        if let Some(bad) = text.chars().find(|&c| is_forbidden(c)) {
            return Err(GlobError::Forbidden(bad));
        }
        if text.contains("//") {
            return Err(GlobError::EmptySegment);
        }
        if text
            .split('/')
            .any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
        {
            return Err(GlobError::DotSegment);
        }
        let escape = text
            .as_bytes()
            .windows(3)
            .any(|w| matches!(w, [b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()));
        if escape {
            return Err(GlobError::Escape);
        }
        Ok(Self {
            text: text.to_owned(),
        })
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Bytes before the first `*`: the longer, the more specific.
    #[must_use]
    pub fn literal_prefix_len(&self) -> usize {
        memchr::memchr(b'*', self.text.as_bytes()).unwrap_or(self.text.len())
    }

    /// Whether the whole path fits the pattern. Linear in the path for each literal piece.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        let pattern = self.text.as_bytes();
        let Some(first_star) = memchr::memchr(b'*', pattern) else {
            return pattern == path;
        };
        let last_star = memchr::memrchr(b'*', pattern).unwrap_or(first_star);
        let (Some(prefix), Some(suffix)) = (
            pattern.get(..first_star),
            pattern.get(last_star.saturating_add(1)..),
        ) else {
            return false;
        };
        let Some(rest) = path.strip_prefix(prefix) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(suffix) else {
            return false;
        };
        let middle = pattern
            .get(first_star.saturating_add(1)..last_star)
            .unwrap_or_default();
        for piece in middle.split(|&b| b == b'*') {
            let Some(found) = memmem::find(rest, piece) else {
                return false;
            };
            rest = rest
                .get(found.saturating_add(piece.len())..)
                .unwrap_or_default();
        }
        true
    }
}

impl fmt::Display for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// Why a text is not a path pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GlobError {
    /// Does not start with `/`.
    #[error("a path starts with /")]
    NoSlash,
    /// Over [`MAX_PATH_GLOB_CHARS`].
    #[error("a path has at most 256 characters")]
    TooLong,
    /// `**`.
    #[error("a single * already runs across /; write * instead of **")]
    DoubleStar,
    /// A character that a path pattern may not hold.
    #[error("a path must not contain {0:?}")]
    Forbidden(char),
    /// `//`.
    #[error("a path must not contain //")]
    EmptySegment,
    /// `.` or `..`.
    #[error("a path must not contain . or .. as a segment")]
    DotSegment,
    /// `%XX`.
    #[error("paths are matched decoded; write the character itself instead of its percent-escape")]
    Escape,
}

fn is_forbidden(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(c, '?' | '#' | '[' | ']' | '\\' | '|' | '<' | '>' | '"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching() {
        for (pattern, path, expected) in [
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a", "/A", false),
            ("/*", "/", true),
            ("/*", "/a/b", true),
            ("/api/*", "/api/", true),
            ("/api/*", "/api", false),
            (
                "/api/apps.connections.*",
                "/api/apps.connections.open",
                true,
            ),
            ("/api/apps.connections.*", "/api/chat.postMessage", false),
            ("/a/*/c", "/a/b/c", true),
            ("/a/*/c", "/a/c", false),
            ("/a/*/c", "/a//c", true),
            ("/a/*/c", "/a/b/x/c", true),
            ("/a/*/c", "/a/b/c/d", false),
            ("/a*a", "/a", false),
            ("/a*a", "/aa", true),
            ("/*/x/*/y", "/1/x/2/y", true),
            ("/*/x/*/y", "/1/x/y", false),
            ("/*ab*bc*", "/abc", false),
            ("/*ab*bc*", "/abbc", true),
            ("/ä*", "/äb", true),
        ] {
            assert_eq!(
                PathGlob::parse(pattern).unwrap().matches(path.as_bytes()),
                expected,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn refused() {
        let long = format!("/{}", "a".repeat(256));
        for bad in [
            "", "a", "*", "/**", "/a b", "/a?b", "/a#", "/[a]", "/a\\b", "/a|b", "/<a>", "/\"",
            "/a\n", "/a//b", "/a/../b", "/..", "/.", "/a/./b", "/..;x/a", "/%41", &long,
        ] {
            assert!(PathGlob::parse(bad).is_err(), "{bad:?}");
        }
        assert!(PathGlob::parse("/100%/x").is_ok());
    }
}
