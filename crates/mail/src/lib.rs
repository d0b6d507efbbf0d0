//! The only crate that speaks SMTP: a letter, a mail server, and the conversation between.
//!
//! The connection comes from `upstream`, like every other: resolved, guarded, connected. TLS is ours too, verified against the
//! same roots; after STARTTLS (RFC 3207) the conversation begins anew on the encrypted stream, so that nothing said in clear before
//! it counts. A password is never sent in clear. Every letter is bounded in time as a whole.

mod letter;
mod link;
mod smtp;

pub use letter::Letter;
pub use smtp::{MailServer, Smtp, SmtpError, TlsMode};
