//! What an agent's environment holds instead of a credential.
//!
//! SDKs refuse a key that does not look like one of theirs (`sk-ant-…`, `ghp_…`), so a placeholder
//! has the shape that goes with the credential's name. It is derived from the instance, the vault
//! and the key: the same in every run, different in every vault, and holding no secret. Its
//! alphabet stays within RFC 3986 unreserved characters, so that it passes through URLs, headers and
//! forms unchanged.
//!
//! Each placeholder carries a fixed marker so that [`is_placeholder`] knows ours anywhere: the word
//! `agentvault` (upper-case in upper-case shapes), or [`HEX_MARKER`] where only hex fits. So a
//! leaked or forwarded placeholder is told from a real key at a glance, by people and by scanners.

use aws_lc_rs::digest::{Context, SHA256};

/// The marker in every shape whose alphabet has letters.
pub const MARKER: &str = "agentvault";
/// The marker in shapes that only allow hex digits.
pub const HEX_MARKER: &str = "a6e27fa017";

/// Longest placeholder that any shape makes, in bytes.
pub const MAX_PLACEHOLDER_BYTES: usize = 192;

/// The placeholder for credential `key` of a vault.
///
/// Deterministic; at least 10 and at most [`MAX_PLACEHOLDER_BYTES`] unreserved characters, with a
/// `-`, `_` or `.` or a marker that no ordinary text holds.
pub fn for_key(instance_id: &[u8], vault_id: &str, key: &str) -> String {
    shape_of(key).fill(&mut Stream::new(instance_id, vault_id, key))
}

/// Whether `text` contains a placeholder's marker.
pub fn is_placeholder(text: &str) -> bool {
    let upper = "AGENTVAULT";
    text.contains(MARKER) || text.contains(HEX_MARKER) || text.contains(upper)
}

/// The characters of a shape's variable part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    /// `A-Z a-z 0-9`
    Alphanumeric,
    /// `A-Z 2-7`, as AWS key ids use
    Base32,
    /// `0-9 a-f`
    Hex,
    /// `0-9`
    Digits,
}

impl Alphabet {
    fn characters(self) -> &'static [u8] {
        match self {
            Self::Alphanumeric => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            Self::Base32 => b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
            Self::Hex => b"0123456789abcdef",
            Self::Digits => b"0123456789",
        }
    }
}

/// One piece of a shape.
#[derive(Debug, Clone, Copy)]
enum Piece {
    /// Exactly this text.
    Text(&'static str),
    /// So many characters of the alphabet.
    Variable(Alphabet, usize),
}

use Alphabet::{Alphanumeric, Base32, Digits, Hex};
use Piece::{Text, Variable};

/// How a placeholder looks: its pieces in order.
#[derive(Debug, Clone, Copy)]
struct Shape(&'static [Piece]);

impl Shape {
    fn fill(self, stream: &mut Stream) -> String {
        let mut text = String::new();
        for piece in self.0 {
            match *piece {
                Text(fixed) => text.push_str(fixed),
                Variable(alphabet, count) => {
                    text.extend((0..count).map(|_| stream.pick(alphabet.characters())));
                }
            }
        }
        text
    }
}

/// Which names a shape goes with.
#[derive(Debug, Clone, Copy)]
enum Name {
    /// The whole name.
    Is(&'static str),
    /// One or more whole words of the name, in order and adjacent (`GITHUB` in `MY_GITHUB_TOKEN`).
    Has(&'static str),
}

impl Name {
    fn matches(self, key: &str) -> bool {
        match self {
            Self::Is(name) => key == name,
            Self::Has(words) => format!("_{key}_").contains(&format!("_{words}_")),
        }
    }
}

/// The first entry whose name matches gives the shape, so the narrow ones stand first. Lengths and
/// prefixes are those that the vendors' SDKs, CLIs and secret scanners check.
const SHAPES: &[(Name, Shape)] = &[
    // OAuth access tokens of Claude subscriptions, checked by prefix.
    (
        Name::Is("CLAUDE_CODE_OAUTH_TOKEN"),
        Shape(&[
            Text("sk-ant-oat01-agentvault-"),
            Variable(Alphanumeric, 82),
            Text("AA"),
        ]),
    ),
    (
        Name::Has("ANTHROPIC"),
        Shape(&[
            Text("sk-ant-api03-agentvault-"),
            Variable(Alphanumeric, 82),
            Text("AA"),
        ]),
    ),
    (
        Name::Has("CLAUDE"),
        Shape(&[
            Text("sk-ant-api03-agentvault-"),
            Variable(Alphanumeric, 82),
            Text("AA"),
        ]),
    ),
    (
        Name::Has("OPENROUTER"),
        Shape(&[Text("sk-or-v1-a6e27fa017"), Variable(Hex, 54)]),
    ),
    (
        Name::Has("OPENAI"),
        Shape(&[Text("sk-proj-agentvault-"), Variable(Alphanumeric, 137)]),
    ),
    (
        Name::Has("DEEPSEEK"),
        Shape(&[Text("sk-a6e27fa017"), Variable(Hex, 22)]),
    ),
    (
        Name::Has("GROQ"),
        Shape(&[Text("gsk_agentvault"), Variable(Alphanumeric, 42)]),
    ),
    (
        Name::Has("PERPLEXITY"),
        Shape(&[Text("pplx-agentvault"), Variable(Alphanumeric, 38)]),
    ),
    (
        Name::Has("XAI"),
        Shape(&[Text("xai-agentvault"), Variable(Alphanumeric, 70)]),
    ),
    (
        Name::Has("GROK"),
        Shape(&[Text("xai-agentvault"), Variable(Alphanumeric, 70)]),
    ),
    (
        Name::Has("FIREWORKS"),
        Shape(&[Text("fw_agentvault"), Variable(Alphanumeric, 14)]),
    ),
    (
        Name::Has("REPLICATE"),
        Shape(&[Text("r8_agentvault"), Variable(Alphanumeric, 27)]),
    ),
    (
        Name::Is("HF_TOKEN"),
        Shape(&[Text("hf_agentvault"), Variable(Alphanumeric, 24)]),
    ),
    (
        Name::Has("HUGGINGFACE"),
        Shape(&[Text("hf_agentvault"), Variable(Alphanumeric, 24)]),
    ),
    (
        Name::Has("HUGGING_FACE"),
        Shape(&[Text("hf_agentvault"), Variable(Alphanumeric, 24)]),
    ),
    (
        Name::Has("HUGGING_FACE_HUB"),
        Shape(&[Text("hf_agentvault"), Variable(Alphanumeric, 24)]),
    ),
    // Google API keys are 39 characters.
    (
        Name::Has("GEMINI"),
        Shape(&[Text("AIzaSyagentvault"), Variable(Alphanumeric, 23)]),
    ),
    (
        Name::Has("GOOGLE_API_KEY"),
        Shape(&[Text("AIzaSyagentvault"), Variable(Alphanumeric, 23)]),
    ),
    (
        Name::Has("GOOGLE_MAPS"),
        Shape(&[Text("AIzaSyagentvault"), Variable(Alphanumeric, 23)]),
    ),
    (
        Name::Has("FIREBASE"),
        Shape(&[Text("AIzaSyagentvault"), Variable(Alphanumeric, 23)]),
    ),
    // Forges. A classic GitHub token has 36 characters after its prefix, a fine-grained one 22 + 59.
    (
        Name::Has("GITHUB_PAT"),
        Shape(&[
            Text("github_pat_agentvault"),
            Variable(Alphanumeric, 12),
            Text("_"),
            Variable(Alphanumeric, 59),
        ]),
    ),
    (
        Name::Has("GITHUB"),
        Shape(&[Text("ghp_agentvault"), Variable(Alphanumeric, 26)]),
    ),
    (
        Name::Is("GH_TOKEN"),
        Shape(&[Text("ghp_agentvault"), Variable(Alphanumeric, 26)]),
    ),
    (
        Name::Is("GH_ENTERPRISE_TOKEN"),
        Shape(&[Text("ghp_agentvault"), Variable(Alphanumeric, 26)]),
    ),
    (
        Name::Has("GITLAB"),
        Shape(&[Text("glpat-agentvault"), Variable(Alphanumeric, 10)]),
    ),
    // Package registries.
    (
        Name::Has("NPM"),
        Shape(&[Text("npm_agentvault"), Variable(Alphanumeric, 26)]),
    ),
    (
        Name::Has("PYPI"),
        Shape(&[
            Text("pypi-AgEIcHlwaS5vcmcagentvault"),
            Variable(Alphanumeric, 80),
        ]),
    ),
    (
        Name::Has("TWINE"),
        Shape(&[
            Text("pypi-AgEIcHlwaS5vcmcagentvault"),
            Variable(Alphanumeric, 80),
        ]),
    ),
    (
        Name::Has("CARGO_REGISTRY"),
        Shape(&[Text("cioagentvault"), Variable(Alphanumeric, 22)]),
    ),
    (
        Name::Has("DOCKER"),
        Shape(&[Text("dckr_pat_agentvault"), Variable(Alphanumeric, 17)]),
    ),
    (
        Name::Has("DOCKERHUB"),
        Shape(&[Text("dckr_pat_agentvault"), Variable(Alphanumeric, 17)]),
    ),
    // Chat and mail.
    (
        Name::Has("SLACK_APP"),
        Shape(&[
            Text("xapp-1-agentvault-"),
            Variable(Digits, 13),
            Text("-"),
            Variable(Hex, 64),
        ]),
    ),
    (
        Name::Has("SLACK_USER"),
        Shape(&[
            Text("xoxp-agentvault-"),
            Variable(Digits, 13),
            Text("-"),
            Variable(Alphanumeric, 24),
        ]),
    ),
    (
        Name::Has("SLACK"),
        Shape(&[
            Text("xoxb-agentvault-"),
            Variable(Digits, 13),
            Text("-"),
            Variable(Alphanumeric, 24),
        ]),
    ),
    (
        Name::Has("SENDGRID"),
        Shape(&[
            Text("SG.agentvault"),
            Variable(Alphanumeric, 12),
            Text("."),
            Variable(Alphanumeric, 43),
        ]),
    ),
    (
        Name::Has("RESEND"),
        Shape(&[Text("re_agentvault_"), Variable(Alphanumeric, 24)]),
    ),
    (
        Name::Has("POSTMARK"),
        Shape(&[
            Text("a6e27fa0-17"),
            Variable(Hex, 2),
            Text("-4"),
            Variable(Hex, 3),
            Text("-8"),
            Variable(Hex, 3),
            Text("-"),
            Text("a6e27fa017"),
            Variable(Hex, 2),
        ]),
    ),
    (
        Name::Has("MAILGUN"),
        Shape(&[Text("key-a6e27fa017"), Variable(Hex, 22)]),
    ),
    // Twilio: account and API key ids are `AC`/`SK` and 32 hex digits.
    (
        Name::Has("TWILIO_ACCOUNT_SID"),
        Shape(&[Text("ACa6e27fa017"), Variable(Hex, 22)]),
    ),
    (
        Name::Has("TWILIO_API_KEY"),
        Shape(&[Text("SKa6e27fa017"), Variable(Hex, 22)]),
    ),
    (
        Name::Has("TWILIO"),
        Shape(&[Text("a6e27fa017"), Variable(Hex, 22)]),
    ),
    // Payments: always the test-mode prefix, so that a stray one never looks live.
    (
        Name::Has("STRIPE_WEBHOOK"),
        Shape(&[Text("whsec_agentvault"), Variable(Alphanumeric, 22)]),
    ),
    (
        Name::Has("STRIPE_PUBLISHABLE"),
        Shape(&[Text("pk_test_agentvault"), Variable(Alphanumeric, 89)]),
    ),
    (
        Name::Has("STRIPE"),
        Shape(&[Text("sk_test_agentvault"), Variable(Alphanumeric, 89)]),
    ),
    // Clouds and operations.
    (
        Name::Has("AWS_ACCESS_KEY_ID"),
        Shape(&[Text("AKIAAGENTVAULT"), Variable(Base32, 6)]),
    ),
    (
        Name::Has("AWS_SECRET_ACCESS_KEY"),
        Shape(&[Text("agentvault"), Variable(Alphanumeric, 30)]),
    ),
    (
        Name::Has("DIGITALOCEAN"),
        Shape(&[Text("dop_v1_a6e27fa017"), Variable(Hex, 54)]),
    ),
    (
        Name::Has("CLOUDFLARE"),
        Shape(&[Text("agentvault-"), Variable(Alphanumeric, 29)]),
    ),
    (
        Name::Has("VAULT_TOKEN"),
        Shape(&[Text("hvs.agentvault"), Variable(Alphanumeric, 86)]),
    ),
    (
        Name::Has("DATADOG"),
        Shape(&[Text("a6e27fa017"), Variable(Hex, 22)]),
    ),
    (
        Name::Has("DD_API_KEY"),
        Shape(&[Text("a6e27fa017"), Variable(Hex, 22)]),
    ),
    (
        Name::Has("DD_APP_KEY"),
        Shape(&[Text("a6e27fa017"), Variable(Hex, 30)]),
    ),
    (
        Name::Has("SENTRY"),
        Shape(&[Text("sntrys_agentvault"), Variable(Alphanumeric, 60)]),
    ),
    (
        Name::Has("GRAFANA"),
        Shape(&[
            Text("glsa_agentvault"),
            Variable(Alphanumeric, 22),
            Text("_"),
            Variable(Hex, 8),
        ]),
    ),
    (
        Name::Has("LINEAR"),
        Shape(&[Text("lin_api_agentvault"), Variable(Alphanumeric, 30)]),
    ),
    (
        Name::Has("NOTION"),
        Shape(&[Text("ntn_agentvault"), Variable(Alphanumeric, 36)]),
    ),
    (
        Name::Has("AIRTABLE"),
        Shape(&[
            Text("patagentvault"),
            Variable(Alphanumeric, 4),
            Text("."),
            Variable(Hex, 64),
        ]),
    ),
    (
        Name::Has("FIGMA"),
        Shape(&[Text("figd_agentvault"), Variable(Alphanumeric, 30)]),
    ),
    (
        Name::Has("SHOPIFY"),
        Shape(&[Text("shpat_a6e27fa017"), Variable(Hex, 22)]),
    ),
    (
        Name::Has("ATLASSIAN"),
        Shape(&[Text("ATATT3xFfGF0agentvault"), Variable(Alphanumeric, 160)]),
    ),
    (
        Name::Has("JIRA"),
        Shape(&[Text("ATATT3xFfGF0agentvault"), Variable(Alphanumeric, 160)]),
    ),
    (
        Name::Has("POSTHOG"),
        Shape(&[Text("phx_agentvault"), Variable(Alphanumeric, 33)]),
    ),
    (
        Name::Has("TAVILY"),
        Shape(&[Text("tvly-agentvault"), Variable(Alphanumeric, 22)]),
    ),
    (
        Name::Has("FIRECRAWL"),
        Shape(&[Text("fc-a6e27fa017"), Variable(Hex, 22)]),
    ),
    (
        Name::Has("LANGSMITH"),
        Shape(&[
            Text("lsv2_pt_a6e27fa017"),
            Variable(Hex, 22),
            Text("_"),
            Variable(Hex, 10),
        ]),
    ),
    (
        Name::Has("LANGCHAIN"),
        Shape(&[
            Text("lsv2_pt_a6e27fa017"),
            Variable(Hex, 22),
            Text("_"),
            Variable(Hex, 10),
        ]),
    ),
    (
        Name::Has("PINECONE"),
        Shape(&[Text("pcsk_agentvault"), Variable(Alphanumeric, 60)]),
    ),
];

/// Any other name.
const DEFAULT_SHAPE: Shape = Shape(&[Text("av_ph__agentvault_"), Variable(Hex, 32)]);

fn shape_of(key: &str) -> Shape {
    SHAPES
        .iter()
        .find(|(name, _)| name.matches(key))
        .map_or(DEFAULT_SHAPE, |(_, shape)| *shape)
}

/// An endless, repeatable stream of characters for one (instance, vault, key): SHA-256 in counter
/// mode over the length-prefixed identity.
struct Stream {
    seed: [u8; 32],
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Stream {
    fn new(instance_id: &[u8], vault_id: &str, key: &str) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(b"agent-vault placeholder v1");
        for field in [instance_id, vault_id.as_bytes(), key.as_bytes()] {
            context.update(&(field.len() as u64).to_be_bytes());
            context.update(field);
        }
        let mut seed = [0; 32];
        seed.copy_from_slice(context.finish().as_ref());
        Self {
            seed,
            counter: 0,
            block: [0; 32],
            used: 32,
        }
    }

    fn byte(&mut self) -> u8 {
        if self.used >= self.block.len() {
            let mut context = Context::new(&SHA256);
            context.update(&self.seed);
            context.update(&self.counter.to_be_bytes());
            self.block.copy_from_slice(context.finish().as_ref());
            self.counter += 1;
            self.used = 0;
        }
        let byte = self.block.get(self.used).copied().unwrap_or_default();
        self.used += 1;
        byte
    }

    /// One character; a slight bias towards the first characters does not matter here, since the
    /// text is an identifier and not a secret.
    fn pick(&mut self, characters: &[u8]) -> char {
        let index = usize::from(self.byte()) % characters.len().max(1);
        characters.get(index).copied().map_or('0', char::from)
    }
}

#[cfg(test)]
mod tests;
