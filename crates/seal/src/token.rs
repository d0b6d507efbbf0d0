//! Bearer tokens, and the hashes that the database keeps instead of them.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::{SealError, random};

/// Random bytes in a token.
const TOKEN_BYTES: usize = 32;

/// What a token is for, told by its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenKind {
    /// A person's login, `av_sess_…`.
    UserSession,
    /// A session bound to one vault, `av_sess_…` too: clients expect the one prefix for both.
    Scoped,
    /// An agent's standing token, `av_agt_…`.
    Agent,
    /// A read-only view of one proposal, `av_appr_…`.
    Approval,
    /// An invitation, `av_uinv_…`.
    Invite,
    /// What a device polls with that waits for a person to approve its login, `av_dev_…`.
    Device,
    /// What an OAuth provider brings back with a consent, `av_oast_…`.
    OAuthState,
    /// A link that binds a browser to a consent, `av_oali_…`.
    OAuthLink,
    /// The cookie of that browser, `av_oabr_…`.
    OAuthBrowser,
}

impl TokenKind {
    /// What tokens of this kind start with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::UserSession | Self::Scoped => "av_sess_",
            Self::Agent => "av_agt_",
            Self::Approval => "av_appr_",
            Self::Invite => "av_uinv_",
            Self::Device => "av_dev_",
            Self::OAuthState => "av_oast_",
            Self::OAuthLink => "av_oali_",
            Self::OAuthBrowser => "av_oabr_",
        }
    }
}

/// A new bearer token: prefix and 64 lower-case hex characters. Shown once, never stored.
pub struct Token(Zeroizing<String>);

impl Token {
    /// A token with 256 random bits.
    ///
    /// # Errors
    /// [`SealError::Crypto`] when the operating system has no randomness to give.
    pub fn generate(kind: TokenKind) -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        random::fill(bytes.as_mut_slice())?;
        let prefix = kind.prefix();
        let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 2 * TOKEN_BYTES));
        text.push_str(prefix);
        text.push_str(&Zeroizing::new(hex::encode(bytes.as_slice())));
        Ok(Self(text))
    }

    /// The token as its holder sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored and looked up.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// SHA-256 of a token. Tokens carry 256 random bits, so a plain hash cannot be turned back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Hashes whatever a client presented; an unknown shape simply matches nothing.
    pub fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }

    /// 64 lower-case hex characters, as stored.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`SealError::Format`] unless it is 64 hex characters.
    pub fn from_hex(text: &str) -> Result<Self, SealError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| SealError::Format)?;
        Ok(Self(bytes))
    }

    /// The hash itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.to_hex();
        write!(f, "TokenHash({}…)", hex.get(..8).unwrap_or_default())
    }
}
