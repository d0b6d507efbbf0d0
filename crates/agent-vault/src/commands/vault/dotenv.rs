//! `.env` files: what `agent-vault vault credential import` reads.
//!
//! One `KEY=VALUE` per line, `export` before it allowed. A value stands bare (a comment may follow after a blank), in single
//! quotes (as it is), or in double quotes (`\\n`, `\\r`, `\\t`, `\\"`, `\\\\`, `\\$` and line breaks). Nothing is expanded: tools differ on
//! that, and a value that is not quite the right one is worse than an error.

use std::fmt;

use agent_vault_seal::SecretBytes;

/// One assignment of a file.
#[derive(Debug)]
pub(super) struct Assignment {
    /// Line that it starts on, from 1.
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) value: SecretBytes,
}

/// A line that cannot be read. Shows no part of the line, which may hold a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    line: usize,
    what: &'static str,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// The assignments of a file, in order.
pub(super) fn parse(text: &str) -> Result<Vec<Assignment>, BadLine> {
    let mut rest = Rest {
        text: text.strip_prefix('\u{feff}').unwrap_or(text),
        line: 1,
    };
    let mut found = Vec::new();
    loop {
        rest.skip(|c| c.is_ascii_whitespace());
        match rest.peek() {
            None => return Ok(found),
            Some('#') => rest.skip(|c| c != '\n'),
            Some(_) => found.push(assignment(&mut rest)?),
        }
    }
}

/// What is left of the file.
struct Rest<'t> {
    text: &'t str,
    line: usize,
}

impl<'t> Rest<'t> {
    fn peek(&self) -> Option<char> {
        self.text.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let mut chars = self.text.chars();
        let next = chars.next()?;
        self.text = chars.as_str();
        self.line += usize::from(next == '\n');
        Some(next)
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.take();
        }
    }

    /// Up to a character that stops, on one line.
    fn until(&mut self, stops: impl Fn(char) -> bool) -> &'t str {
        let end = self
            .text
            .find(|c| c == '\n' || stops(c))
            .unwrap_or(self.text.len());
        let (taken, left) = self.text.split_at(end);
        self.text = left;
        taken
    }
}

fn assignment(rest: &mut Rest<'_>) -> Result<Assignment, BadLine> {
    let line = rest.line;
    let bad = |what| BadLine { line, what };
    let name = rest.until(|c| c == '=');
    if rest.take() != Some('=') {
        return Err(bad("is no `KEY=VALUE`"));
    }
    let name = name.trim();
    let name = match name.strip_prefix("export") {
        Some(after) if after.starts_with([' ', '\t']) => after.trim_start(),
        _ => name,
    };
    if name.is_empty() {
        return Err(bad("has no key before the `=`"));
    }
    let name = name.to_owned();
    rest.skip(|c| matches!(c, ' ' | '\t'));
    let value = match rest.peek() {
        Some('\'') => single(rest).ok_or(bad("a single quote is not closed"))?,
        Some('"') => double(rest).map_err(bad)?,
        Some('`') => return Err(bad("back quotes are not read; use single or double quotes")),
        _ => bare(rest).map_err(bad)?,
    };
    Ok(Assignment {
        line,
        name,
        value: SecretBytes::from(value),
    })
}

fn single(rest: &mut Rest<'_>) -> Option<String> {
    rest.take();
    let mut value = String::new();
    loop {
        match rest.take()? {
            '\'' => break,
            other => value.push(other),
        }
    }
    ends(rest).then_some(value)
}

fn double(rest: &mut Rest<'_>) -> Result<String, &'static str> {
    const OPEN: &str = "a double quote is not closed";
    rest.take();
    let mut value = String::new();
    loop {
        match rest.take().ok_or(OPEN)? {
            '"' => break,
            '\\' => match rest.take().ok_or(OPEN)? {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                same @ ('"' | '\\' | '$') => value.push(same),
                other => {
                    value.push('\\');
                    value.push(other);
                }
            },
            '$' if rest.peek() == Some('{') => return Err(EXPANDED),
            other => value.push(other),
        }
    }
    if ends(rest) {
        Ok(value)
    } else {
        Err("something follows the closing quote")
    }
}

const EXPANDED: &str = "`${…}` is not expanded: write the value itself, or put it in single quotes to mean it as it is";

fn bare(rest: &mut Rest<'_>) -> Result<String, &'static str> {
    let text = rest.until(|_| false);
    // A `#` starts a comment after a blank only: values may hold one.
    let end = text
        .char_indices()
        .find(|(at, c)| *c == '#' && text[..*at].ends_with([' ', '\t']))
        .map_or(text.len(), |(at, _)| at);
    let value = text.get(..end).unwrap_or(text).trim();
    if value.starts_with('#') {
        return Ok(String::new());
    }
    if value.contains("${") {
        return Err(EXPANDED);
    }
    Ok(value.to_owned())
}

/// Whether nothing but a comment is left on the line.
fn ends(rest: &mut Rest<'_>) -> bool {
    let left = rest.until(|_| false).trim();
    left.is_empty() || left.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, String, String)> {
        parse(text)
            .unwrap()
            .into_iter()
            .map(|a| (a.line, a.name, a.value.expose_str().unwrap().to_owned()))
            .collect()
    }

    fn one(text: &str) -> String {
        let mut all = read(text);
        assert_eq!(all.len(), 1, "{text}");
        assert_eq!(all[0].1, "K");
        all.remove(0).2
    }

    #[test]
    fn values() {
        for (text, value) in [
            ("K=v", "v"),
            ("  K = v  ", "v"),
            ("export K=v", "v"),
            ("export\tK=v", "v"),
            ("\u{feff}K=v", "v"),
            ("K=a=b==", "a=b=="),
            ("K=a b", "a b"),
            ("K=v # a comment", "v"),
            ("K=v#not", "v#not"),
            ("K=# a comment", ""),
            ("K= # a comment", ""),
            ("K=", ""),
            ("K=v\r\n", "v"),
            ("K='a # $b ${C} \\n'", "a # $b ${C} \\n"),
            ("K='a\nb' # c", "a\nb"),
            ("K=\"a # b\" # c", "a # b"),
            (r#"K="a\n\"b\"\\ \$ \q""#, "a\n\"b\"\\ $ \\q"),
            ("K=\"-----BEGIN\nEND-----\"", "-----BEGIN\nEND-----"),
            ("K=\"\\${X}\"", "${X}"),
            ("K=pa$$word", "pa$$word"),
            ("K=ключ", "ключ"),
        ] {
            assert_eq!(one(text), value, "{text}");
        }
    }

    #[test]
    fn lines_are_counted() {
        let found = read("# first\n\nA=1\nB=\"x\ny\"\n\n  C=3");
        let at: Vec<_> = found
            .iter()
            .map(|(line, name, _)| (*line, name.as_str()))
            .collect();
        assert_eq!(at, [(3, "A"), (4, "B"), (7, "C")]);
    }

    #[test]
    fn what_is_not_clear_names_its_line_and_no_value() {
        for text in [
            "canary",
            "=canary",
            "K='canary",
            "K=\"canary",
            "K=\"canary\\",
            "K='canary' canary",
            "K=\"canary\" canary",
            "K=`canary`",
            "K=${canary}",
            "K=\"${canary}\"",
        ] {
            let bad = parse(&format!("OK=1\n{text}")).unwrap_err();
            assert_eq!(bad.line, 2, "{text}");
            assert!(!bad.to_string().contains("canary"), "{bad}");
        }
    }
}
