//! One letter to one person.

use std::fmt;

use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::SmtpError;

/// A letter, not yet sent.
pub struct Letter {
    /// Who gets it: a bare address.
    pub to: String,
    /// Subject.
    pub subject: String,
    /// The plain form.
    pub text: Zeroizing<String>,
    /// The HTML form.
    pub html: Zeroizing<String>,
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter")
            .field("to", &self.to)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// Who letters are from, checked.
#[derive(Debug, Clone)]
pub(crate) struct Sender(Mailbox);

impl Sender {
    /// `name` loses its control characters.
    pub(crate) fn new(name: &str, address: &str) -> Result<Self, SmtpError> {
        let address = address
            .trim()
            .parse::<Address>()
            .map_err(|_| SmtpError::config(format!("`{address}` is no address to send from")))?;
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        let name = name.trim();
        Ok(Self(Mailbox::new(
            (!name.is_empty()).then(|| name.to_owned()),
            address,
        )))
    }
}

impl Letter {
    /// The message as it is sent, with `Date` and `Message-ID` (RFC 5322 section 3.6).
    pub(crate) fn message(&self, from: &Sender) -> Result<Message, SmtpError> {
        let to = self
            .to
            .parse::<Address>()
            .map_err(|_| SmtpError::letter("the address of the letter is not one"))?;
        let id = format!("<{}@{}>", Uuid::new_v4(), from.0.email.domain());
        let subject: String = self.subject.chars().filter(|c| !c.is_control()).collect();
        Message::builder()
            .from(from.0.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .message_id(Some(id))
            .multipart(MultiPart::alternative_plain_html(
                self.text.to_string(),
                self.html.to_string(),
            ))
            .map_err(|error| SmtpError::letter(format!("the letter cannot be written: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_what_it_needs_and_no_header_of_its_readers_making() {
        let from = Sender::new("Agent\r\nBcc: a@b.c Vault", "vault@x.example").unwrap();
        let letter = Letter {
            to: "ada@x.io".to_owned(),
            subject: "Hello\r\nBcc: evil@x.io".to_owned(),
            text: Zeroizing::new("plain 1\n".to_owned()),
            html: Zeroizing::new("<p>html 1</p>".to_owned()),
        };
        let bytes = letter.message(&from).unwrap().formatted();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        for header in ["Date: ", "Message-ID: <", "To: ada@x.io", "Subject: Hello"] {
            assert!(
                head.lines().any(|line| line.starts_with(header)),
                "{header}: {head}"
            );
        }
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        assert!(body.contains("plain 1") && body.contains("<p>html 1</p>"));
        assert!(Sender::new("x", "not an address").is_err());
        assert!(!format!("{letter:?}").contains("plain 1"));
    }
}
