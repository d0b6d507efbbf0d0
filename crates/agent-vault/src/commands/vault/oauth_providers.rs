//! Providers that are known by name. The client id and secret are one's own: each provider has a page where an application is
//! registered.

/// Where a provider lets people consent, where it gives tokens, and how a client shows who it is.
pub(super) struct Provider {
    /// What it is called here.
    pub(super) id: &'static str,
    pub(super) authorization_url: &'static str,
    pub(super) token_url: &'static str,
    pub(super) token_auth_method: &'static str,
    /// The key that its credential gets unless another is named.
    pub(super) key: &'static str,
}

const POST: &str = "client_secret_post";
const BASIC: &str = "client_secret_basic";

const fn provider(
    id: &'static str,
    authorization_url: &'static str,
    token_url: &'static str,
    token_auth_method: &'static str,
    key: &'static str,
) -> Provider {
    Provider {
        id,
        authorization_url,
        token_url,
        token_auth_method,
        key,
    }
}

/// In the order in which they are listed.
pub(super) const PROVIDERS: [Provider; 14] = [
    provider(
        "github",
        "https://github.com/login/oauth/authorize",
        "https://github.com/login/oauth/access_token",
        POST,
        "GITHUB",
    ),
    provider(
        "google",
        // Without `offline` there is no refresh token.
        "https://accounts.google.com/o/oauth2/v2/auth?access_type=offline&prompt=consent",
        "https://oauth2.googleapis.com/token",
        POST,
        "GOOGLE",
    ),
    provider(
        "gitlab",
        "https://gitlab.com/oauth/authorize",
        "https://gitlab.com/oauth/token",
        POST,
        "GITLAB",
    ),
    provider(
        "discord",
        "https://discord.com/oauth2/authorize",
        "https://discord.com/api/oauth2/token",
        POST,
        "DISCORD",
    ),
    provider(
        "spotify",
        "https://accounts.spotify.com/authorize",
        "https://accounts.spotify.com/api/token",
        BASIC,
        "SPOTIFY",
    ),
    provider(
        "slack",
        "https://slack.com/oauth/v2/authorize",
        "https://slack.com/api/oauth.v2.access",
        POST,
        "SLACK",
    ),
    provider(
        "microsoft",
        "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
        "https://login.microsoftonline.com/common/oauth2/v2.0/token",
        POST,
        "MICROSOFT",
    ),
    provider(
        "notion",
        "https://api.notion.com/v1/oauth/authorize",
        "https://api.notion.com/v1/oauth/token",
        BASIC,
        "NOTION",
    ),
    provider(
        "linear",
        "https://linear.app/oauth/authorize",
        "https://api.linear.app/oauth/token",
        POST,
        "LINEAR",
    ),
    provider(
        "bitbucket",
        "https://bitbucket.org/site/oauth2/authorize",
        "https://bitbucket.org/site/oauth2/access_token",
        BASIC,
        "BITBUCKET",
    ),
    provider(
        "dropbox",
        "https://www.dropbox.com/oauth2/authorize",
        "https://api.dropboxapi.com/oauth2/token",
        POST,
        "DROPBOX",
    ),
    provider(
        "twitch",
        "https://id.twitch.tv/oauth2/authorize",
        "https://id.twitch.tv/oauth2/token",
        POST,
        "TWITCH",
    ),
    provider(
        "zoom",
        "https://zoom.us/oauth/authorize",
        "https://zoom.us/oauth/token",
        BASIC,
        "ZOOM",
    ),
    provider(
        "hubspot",
        "https://app.hubspot.com/oauth/authorize",
        "https://api.hubapi.com/oauth/v1/token",
        POST,
        "HUBSPOT",
    ),
];

/// The provider of that name.
pub(super) fn named(id: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.id == id)
}

#[cfg(test)]
mod tests {
    use agent_vault_broker::OAuthUrl;
    use agent_vault_policy::CredentialKey;

    use super::*;

    #[test]
    fn every_provider_is_whole() {
        for provider in &PROVIDERS {
            for url in [provider.authorization_url, provider.token_url] {
                OAuthUrl::parse(url, false).unwrap();
            }
            CredentialKey::parse(provider.key).unwrap();
            assert_eq!(named(provider.id).unwrap().key, provider.key);
        }
    }
}
