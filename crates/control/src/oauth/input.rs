//! What people and agents say about a client at a provider, checked.

use agent_vault_broker::OAuthUrl;
use agent_vault_policy::CredentialKey;
use agent_vault_seal::SecretBytes;
use agent_vault_store::TokenAuthMethod;

use super::MANUAL;
use crate::access;
use crate::error::ControlError;

/// Stands for a secret that is stored already, in requests as in listings.
pub const KEPT: &str = "\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}";

/// Longest client id in bytes.
const MAX_CLIENT_ID_BYTES: usize = 1024;
/// Longest client secret in bytes.
const MAX_CLIENT_SECRET_BYTES: usize = 8 * 1024;
/// Longest list of scopes in bytes.
const MAX_SCOPES_BYTES: usize = 4096;
/// Longest separator of scopes in bytes.
const MAX_SEPARATOR_BYTES: usize = 8;
/// Parameters of an authorization request that are ours to set.
const OWN_PARAMETERS: [&str; 6] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "state",
    "code_challenge",
    "code_challenge_method",
];

/// A client as somebody describes it. What is left out is what is stored already.
#[derive(Debug, Default)]
pub struct OAuthInput {
    /// Where a person consents.
    pub authorization_url: Option<String>,
    /// Where tokens come from.
    pub token_url: Option<String>,
    /// Who we are there.
    pub client_id: Option<String>,
    /// What only we know. [`KEPT`] is what is stored, empty is none.
    pub client_secret: Option<SecretBytes>,
    /// Scopes, as the provider wants them.
    pub scopes: Option<String>,
    /// What stands between them.
    pub scope_separator: Option<String>,
    /// Leaves PKCE out.
    pub disable_pkce: Option<bool>,
    /// `client_secret_post` or `client_secret_basic`; `none` is the first without a secret.
    pub token_auth_method: Option<String>,
}

/// What becomes of a secret.
#[derive(Debug)]
pub(super) enum Given {
    /// Nothing was said, or the mask: what is stored stays.
    Kept,
    /// There is none.
    None,
    /// This one.
    New(SecretBytes),
}

impl Given {
    pub(super) fn of(value: Option<SecretBytes>) -> Self {
        match value {
            None => Self::Kept,
            Some(value) if value.is_empty() => Self::None,
            Some(value) if value.constant_time_eq(KEPT.as_bytes()) => Self::Kept,
            Some(value) => Self::New(value),
        }
    }
}

/// A description in which every field that is there is good.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) authorization_url: Option<OAuthUrl>,
    pub(super) token_url: Option<OAuthUrl>,
    pub(super) client_id: Option<String>,
    pub(super) client_secret: Given,
    pub(super) scopes: Option<String>,
    pub(super) scope_separator: Option<String>,
    pub(super) pkce: Option<bool>,
    pub(super) token_auth_method: Option<TokenAuthMethod>,
}

impl Described {
    /// Checks each field. Errors name it.
    pub(super) fn of(input: OAuthInput, dev_mode: bool) -> Result<Self, ControlError> {
        let authorization_url = url("authorization_url", input.authorization_url, dev_mode)?;
        if let Some(url) = &authorization_url {
            own_parameters(url)?;
        }
        let token_url = match input.token_url.filter(|url| url != MANUAL) {
            Some(text) => url("token_url", Some(text), dev_mode)?,
            None => None,
        };
        let client_id = filled(input.client_id).filter(|id| id != MANUAL);
        if let Some(id) = &client_id {
            plain("client_id", id, MAX_CLIENT_ID_BYTES)?;
        }
        let mut client_secret = Given::of(input.client_secret);
        if let Given::New(secret) = &client_secret {
            let text = secret.expose_str().map_err(|_| {
                bad(
                    "client_secret",
                    "must be text",
                    "the secret as the provider shows it",
                )
            })?;
            plain("client_secret", text, MAX_CLIENT_SECRET_BYTES)?;
        }
        if let Some(scopes) = &input.scopes {
            plain("scopes", scopes, MAX_SCOPES_BYTES)?;
        }
        let scope_separator = input.scope_separator.filter(|text| !text.is_empty());
        if let Some(separator) = &scope_separator {
            plain("scope_separator", separator, MAX_SEPARATOR_BYTES)?;
        }
        let token_auth_method = match filled(input.token_auth_method).as_deref() {
            None => None,
            Some("client_secret_post") => Some(TokenAuthMethod::Post),
            Some("client_secret_basic") => Some(TokenAuthMethod::Basic),
            Some("none") => {
                client_secret = Given::None;
                Some(TokenAuthMethod::Post)
            }
            Some(_) => {
                return Err(bad(
                    "token_auth_method",
                    "must be one of: client_secret_post, client_secret_basic, none",
                    "`client_secret_post`",
                ));
            }
        };
        Ok(Self {
            authorization_url,
            token_url,
            client_id,
            client_secret,
            scopes: input.scopes,
            scope_separator,
            pkce: input.disable_pkce.map(|disabled| !disabled),
            token_auth_method,
        })
    }
}

/// What a proposal says about a client. The secret is never among it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotClient {
    pub(crate) authorization_url: String,
    pub(crate) token_url: String,
    pub(crate) client_id: String,
    pub(crate) scopes: String,
    pub(crate) scope_separator: String,
    pub(crate) pkce: bool,
    pub(crate) token_auth_method: TokenAuthMethod,
}

/// Checks what a proposal says about a client.
pub(crate) fn slot_client(input: OAuthInput, dev_mode: bool) -> Result<SlotClient, ControlError> {
    let described = Described::of(input, dev_mode)?;
    let token_url = described.token_url.ok_or_else(|| {
        bad(
            "token_url",
            "is required",
            "`https://github.com/login/oauth/access_token`",
        )
    })?;
    Ok(SlotClient {
        authorization_url: described
            .authorization_url
            .map(|url| url.as_str().to_owned())
            .unwrap_or_default(),
        token_url: token_url.as_str().to_owned(),
        client_id: described.client_id.unwrap_or_default(),
        scopes: described.scopes.unwrap_or_default(),
        scope_separator: described.scope_separator.unwrap_or_else(|| " ".to_owned()),
        pkce: described.pkce.unwrap_or(true),
        token_auth_method: described.token_auth_method.unwrap_or(TokenAuthMethod::Post),
    })
}

/// Reads the name of a credential that a client sent.
pub(super) fn credential_key(text: &str) -> Result<CredentialKey, ControlError> {
    CredentialKey::parse(text).map_err(|error| {
        ControlError::invalid(format!(
            "Invalid credential key \"{}\": {error}",
            access::shown(text)
        ))
        .hint("use capital letters, digits and `_`, as in `GITHUB`")
    })
}

pub(super) fn bad(field: &str, rule: &str, example: &str) -> ControlError {
    ControlError::invalid(format!("{field}: {rule}")).hint(format!("for example {example}"))
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn url(
    field: &str,
    text: Option<String>,
    dev_mode: bool,
) -> Result<Option<OAuthUrl>, ControlError> {
    let Some(text) = filled(text) else {
        return Ok(None);
    };
    OAuthUrl::parse(&text, dev_mode).map(Some).map_err(|error| {
        bad(
            field,
            &error.to_string(),
            "`https://github.com/login/oauth/authorize`",
        )
    })
}

fn own_parameters(url: &OAuthUrl) -> Result<(), ControlError> {
    for (name, _) in url.url().query_pairs() {
        if OWN_PARAMETERS.contains(&&*name) {
            return Err(bad(
                "authorization_url",
                &format!("must not set `{name}`, which is set for each consent"),
                "`https://accounts.google.com/o/oauth2/v2/auth?access_type=offline`",
            ));
        }
    }
    Ok(())
}

fn plain(field: &str, text: &str, most: usize) -> Result<(), ControlError> {
    if text.len() > most {
        return Err(bad(
            field,
            &format!("at most {most} bytes"),
            "a shorter one",
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(bad(
            field,
            "must not hold control characters",
            "one line of plain text",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(shape: impl FnOnce(&mut OAuthInput)) -> String {
        let mut input = OAuthInput::default();
        shape(&mut input);
        Described::of(input, false)
            .unwrap_err()
            .message()
            .to_owned()
    }

    #[test]
    fn each_bound_names_its_field() {
        let text = |text: &str| Some(text.to_owned());
        for (field, said) in [
            (
                "authorization_url: ",
                refusal(|input| input.authorization_url = text("x")),
            ),
            (
                "authorization_url: ",
                refusal(|input| input.authorization_url = text("https://a.io/?state=1")),
            ),
            (
                "token_url: ",
                refusal(|input| input.token_url = text("http://a.io/t")),
            ),
            (
                "client_id: ",
                refusal(|input| input.client_id = text("a\nb")),
            ),
            (
                "client_secret: ",
                refusal(|input| input.client_secret = Some(SecretBytes::new(vec![0xff]))),
            ),
            (
                "scopes: ",
                refusal(|input| input.scopes = Some("x".repeat(MAX_SCOPES_BYTES + 1))),
            ),
            (
                "scope_separator: ",
                refusal(|input| input.scope_separator = text("123456789")),
            ),
            (
                "token_auth_method: ",
                refusal(|input| input.token_auth_method = text("magic")),
            ),
        ] {
            assert!(said.starts_with(field), "{said}");
        }
    }

    #[test]
    fn h29_a_secret_that_is_left_out_is_kept() {
        assert!(matches!(Given::of(None), Given::Kept));
        assert!(matches!(
            Given::of(Some(SecretBytes::from(KEPT.to_owned()))),
            Given::Kept
        ));
        assert!(matches!(
            Given::of(Some(SecretBytes::new(Vec::new()))),
            Given::None
        ));
        assert!(matches!(
            Given::of(Some(SecretBytes::from("x".to_owned()))),
            Given::New(_)
        ));
    }

    #[test]
    fn no_method_is_no_secret() {
        let input = OAuthInput {
            client_secret: Some(SecretBytes::from("x".to_owned())),
            token_auth_method: Some("none".to_owned()),
            ..OAuthInput::default()
        };
        let described = Described::of(input, false).unwrap();
        assert!(matches!(described.client_secret, Given::None));
        assert_eq!(described.token_auth_method, Some(TokenAuthMethod::Post));
    }
}
