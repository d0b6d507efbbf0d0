//! The token client against a provider that behaves, and one that does not.

use std::sync::Arc;
use std::time::Duration;

use agent_vault_broker::{
    ClientAuth, OAuthUrl, TokenCall, TokenEndpoint, TokenFault, TokenGrant, Tokens,
};
use agent_vault_policy::EgressPolicy;
use agent_vault_seal::SecretBytes;
use agent_vault_sources::oauth::{TOKEN_DEADLINE, TokenClient};
use agent_vault_testing::oauth::Mode;
use agent_vault_testing::{Certificate, OAuthProvider, Upstream as Listener};
use agent_vault_upstream::{
    Dialer, DialerOptions, ExtraRoots, Limits, SystemResolver, Trust, Upstream,
};
use uuid::Uuid;

fn client(provider: &OAuthProvider, allow_private: bool) -> TokenClient {
    let root = provider.upstream().ca_pem();
    let dialer = Dialer::new(DialerOptions {
        resolver: Arc::new(SystemResolver::new()),
        egress: EgressPolicy {
            allow_private,
            allow: Vec::new(),
        },
        trust: Trust::only(&ExtraRoots::parse("test", root).unwrap()).unwrap(),
        proxy: None,
        limits: Limits::default(),
    })
    .unwrap();
    TokenClient::new(Arc::new(Upstream::new(dialer)))
}

fn call(provider: &OAuthProvider, refresh: &str) -> TokenCall {
    TokenCall {
        vault: Uuid::from_u128(1),
        url: OAuthUrl::parse(&provider.token_url(), false).unwrap(),
        client_id: "id with space".to_owned(),
        client_secret: Some(SecretBytes::from("p+s:canary/".to_owned())),
        client_auth: ClientAuth::Basic,
        grant: TokenGrant::Refresh {
            token: SecretBytes::from(refresh.to_owned()),
            scope: Some("a b".to_owned()),
        },
    }
}

async fn refreshed(provider: &OAuthProvider) -> Result<Tokens, TokenFault> {
    let refresh = provider.refresh().unwrap_or_default();
    client(provider, true).ask(call(provider, &refresh)).await
}

#[tokio::test]
async fn a_refresh_is_one_form_and_one_answer() {
    let provider = OAuthProvider::start();
    let (_, before) = provider.make_tokens();
    let tokens = refreshed(&provider).await.unwrap();
    assert_eq!(
        tokens.access.expose(),
        provider.access().unwrap().as_bytes()
    );
    assert_eq!(tokens.expires_in, Some(3600));
    let rotated = tokens.refresh.unwrap();
    assert_ne!(rotated.expose(), before.as_bytes());
    let sent = provider.token_requests().pop().unwrap();
    assert_eq!(sent.form["refresh_token"], before);
    assert_eq!(sent.form["scope"], "a b");
    assert_eq!(sent.form["client_id"], "id with space");
    assert!(!sent.form.contains_key("client_secret"));
    // `id+with+space:p%2Bs%3Acanary%2F`: each half is encoded as in a form.
    assert_eq!(
        sent.authorization.unwrap(),
        "Basic aWQrd2l0aCtzcGFjZTpwJTJCcyUzQWNhbmFyeSUyRg=="
    );
    // The one that was used is spent.
    let spent = client(&provider, true).ask(call(&provider, &before)).await;
    let fault = spent.unwrap_err();
    assert!(
        fault.permanent && fault.message.contains("invalid_grant"),
        "{fault}"
    );
}

#[tokio::test]
async fn s20_m31_misbehaviour_is_bounded_and_quoted_nowhere() {
    let other = OAuthProvider::start();
    for (mode, permanent) in [
        (Mode::Redirect(other.token_url()), true),
        (Mode::Giant, false),
        (Mode::Status(400), true),
        (Mode::Status(503), false),
        (Mode::ErrorInOk, true),
        (Mode::NoToken, false),
        (Mode::Refuse("canary-code".to_owned()), true),
    ] {
        let provider = OAuthProvider::start();
        let (_, refresh) = provider.make_tokens();
        provider.set_mode(mode.clone());
        let fault = refreshed(&provider).await.unwrap_err();
        assert_eq!(fault.permanent, permanent, "{mode:?}: {fault}");
        for secret in [&refresh, "canary"] {
            assert!(!fault.message.contains(secret), "{mode:?}: {fault}");
        }
    }
    assert!(other.token_requests().is_empty());
}

#[tokio::test]
async fn a_provider_that_never_answers_is_given_up() {
    let provider = OAuthProvider::start();
    let (_, refresh) = provider.make_tokens();
    provider.set_mode(Mode::Hang);
    provider.set_gated(true);
    let client = client(&provider, true);
    let mut asking = client.ask(call(&provider, &refresh));
    tokio::select! {
        answered = &mut asking => panic!("{answered:?}"),
        () = provider.gate().arrived(1) => {}
    }
    tokio::time::pause();
    tokio::time::advance(TOKEN_DEADLINE + Duration::from_secs(1)).await;
    let fault = asking.await.unwrap_err();
    assert!(
        !fault.permanent && fault.message.contains("30 seconds"),
        "{fault}"
    );
}

#[tokio::test]
async fn the_address_is_guarded_and_the_certificate_verified() {
    let provider = OAuthProvider::start();
    provider.make_tokens();
    let refresh = provider.refresh().unwrap();
    let fault = client(&provider, false)
        .ask(call(&provider, &refresh))
        .await
        .unwrap_err();
    assert!(fault.message.contains("cannot be reached"), "{fault}");
    let stranger = OAuthProvider::on(Listener::builder().certificate(Certificate::Stranger));
    stranger.make_tokens();
    let fault = refreshed(&stranger).await.unwrap_err();
    assert!(!fault.permanent, "{fault}");
    assert!(provider.token_requests().is_empty() && stranger.token_requests().is_empty());
}
