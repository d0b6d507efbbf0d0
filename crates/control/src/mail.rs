//! What people get by mail: short, as plain text and as HTML, every value of it escaped. No link but to the instance itself.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use zeroize::Zeroizing;

/// One mail to one person.
pub struct Mail {
    /// Who gets it: a bare address.
    pub to: String,
    /// Subject, one line.
    pub subject: String,
    /// The plain form.
    pub text: Zeroizing<String>,
    /// The HTML form.
    pub html: Zeroizing<String>,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("to", &self.to)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// Why a mail did not go out, in words for the operator; never the mail's own text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MailError(pub String);

/// A mail on its way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), MailError>> + Send + 'a>>;

/// What takes mail to people. Bounded in time by itself.
pub trait Mailer: Send + Sync {
    /// Hands one mail to the mail server.
    fn send(&self, mail: Mail) -> Sending<'_>;
}

/// The code that confirms an address.
pub(crate) fn verification(to: &str, code: &str) -> Mail {
    with_code(
        to,
        "Agent Vault verification code",
        "Somebody registered this address at Agent Vault. To confirm it, enter this code:",
        code,
    )
}

/// The code that sets a new password.
pub(crate) fn reset(to: &str, code: &str) -> Mail {
    with_code(
        to,
        "Agent Vault password reset code",
        "Somebody asked to set a new password for this address at Agent Vault. To go on, enter this code:",
        code,
    )
}

/// An invitation. `inviter` is an address or an agent's name.
pub(crate) fn invitation(
    to: &str,
    inviter: &str,
    vaults: &[String],
    link: &str,
    again: bool,
) -> Mail {
    let (subject, verb) = if again {
        ("You've been re-invited to Agent Vault", "invites you again")
    } else {
        ("You've been invited to Agent Vault", "invites you")
    };
    let vaults = if vaults.is_empty() {
        "none yet".to_owned()
    } else {
        vaults.join(", ")
    };
    Mail {
        to: to.to_owned(),
        subject: subject.to_owned(),
        text: Zeroizing::new(format!(
            "{inviter} {verb} to Agent Vault.\nVaults: {vaults}\n\nAccept within 48 hours:\n{link}\n\nIf you do not expect this, ignore it.\n"
        )),
        html: page(&format!(
            "<p>{} {verb} to Agent Vault.<br>Vaults: {}</p><p><a href=\"{link}\">Accept the invitation</a> within 48 hours, or open:<br>{link}</p><p>If you do not expect this, ignore it.</p>",
            escaped(inviter),
            escaped(&vaults),
            link = escaped(link),
        )),
    }
}

/// What an agent asks of a vault.
pub(crate) struct ProposalNews<'a> {
    /// The vault's name.
    pub(crate) vault: &'a str,
    /// The proposal's number.
    pub(crate) id: u32,
    /// Name of the agent or label of its token.
    pub(crate) author: &'a str,
    /// Its words, already short.
    pub(crate) message: &'a str,
    /// The page where it is decided. Opens nothing without a login.
    pub(crate) link: &'a str,
}

/// Tells one person who may decide that an agent asks for something.
pub(crate) fn proposal(to: &str, news: &ProposalNews<'_>) -> Mail {
    let ProposalNews {
        vault,
        id,
        author,
        message,
        link,
    } = news;
    let said = if message.is_empty() {
        "It says nothing about why."
    } else {
        message
    };
    Mail {
        to: to.to_owned(),
        subject: format!("New proposal (#{id}) in vault \"{vault}\""),
        text: Zeroizing::new(format!(
            "{author} asks for a change to the vault {vault}.\n\n    {said}\n\nSee what it would do, and decide within 7 days:\n{link}\n\nOr: agent-vault vault proposal show {id} --vault {vault}\n"
        )),
        html: page(&format!(
            "<p>{} asks for a change to the vault {}.</p><blockquote>{}</blockquote><p><a href=\"{link}\">See what it would do</a> and decide within 7 days, or open:<br>{link}</p>",
            escaped(author),
            escaped(vault),
            escaped(said),
            link = escaped(link),
        )),
    }
}

/// Shows that mail arrives.
pub(crate) fn test(to: &str) -> Mail {
    const TEXT: &str = "This is a test: Agent Vault can send mail.";
    Mail {
        to: to.to_owned(),
        subject: "Agent Vault — Test Email".to_owned(),
        text: Zeroizing::new(format!("{TEXT}\n")),
        html: page(&format!("<p>{TEXT}</p>")),
    }
}

fn with_code(to: &str, subject: &str, why: &str, code: &str) -> Mail {
    const REST: &str = "It is good for 15 minutes. If this was not you, ignore this mail and give the code to nobody.";
    Mail {
        to: to.to_owned(),
        subject: subject.to_owned(),
        text: Zeroizing::new(format!("{why}\n\n    {code}\n\n{REST}\n")),
        html: page(&format!(
            "<p>{}</p><p style=\"font-size:1.6em;letter-spacing:.2em\"><strong>{}</strong></p><p>{REST}</p>",
            escaped(why),
            escaped(code)
        )),
    }
}

fn page(body: &str) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"></head><body style=\"font-family:sans-serif\">{body}</body></html>\n"
    ))
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_in_html_and_plain_in_text() {
        let mail = invitation(
            "a@x.io",
            "<img src=x>",
            &["a&b".to_owned()],
            "https://v.example/invite/av_uinv_1",
            false,
        );
        assert!(mail.html.contains("&lt;img src=x&gt;") && mail.html.contains("a&amp;b"));
        assert!(!mail.html.contains("<img"));
        assert!(mail.text.contains("\nhttps://v.example/invite/av_uinv_1\n"));
        assert!(!format!("{mail:?}").contains("av_uinv_1"));
    }

    #[test]
    fn a_mail_with_a_code_is_not_printed_by_accident() {
        let mail = verification("a@x.io", "123456");
        assert!(mail.text.contains("123456") && mail.html.contains("123456"));
        assert!(!format!("{mail:?}").contains("123456"));
    }
}
