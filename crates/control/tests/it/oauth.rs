//! OAuth grants: refreshes of several processes, writes that overtake them, and the purge of consents.

use std::sync::Arc;
use std::sync::Mutex;

use agent_vault_broker::{
    Asking, LimitSettings, TokenCall, TokenEndpoint, TokenFault, TokenGrant, Tokens, Verdict,
};
use agent_vault_control::{Actor, Control, ErrorKind, OAuthInput, OAuthUpload, VaultRef};
use agent_vault_policy::{Authority, CredentialKey, Facts, RequestTarget, Scheme};
use agent_vault_seal::SecretBytes;
use http::HeaderMap;
use jiff::SignedDuration;
use tokio::sync::{Semaphore, watch};

use crate::instance::Instance;

const KEY: &str = "GRANT";

/// A provider whose refresh tokens are good once. Lets each question through when the test says so.
struct Provider {
    refresh: Mutex<u32>,
    asked: watch::Sender<u32>,
    gate: Semaphore,
    fault: Mutex<Option<TokenFault>>,
}

impl Provider {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            refresh: Mutex::new(1),
            asked: watch::Sender::new(0),
            gate: Semaphore::new(0),
            fault: Mutex::new(None),
        })
    }
}

impl TokenEndpoint for Provider {
    fn ask(&self, call: TokenCall) -> Asking<'_> {
        Box::pin(async move {
            self.asked.send_modify(|count| *count += 1);
            self.gate.acquire().await.unwrap().forget();
            if let Some(fault) = self.fault.lock().unwrap().clone() {
                return Err(fault);
            }
            let TokenGrant::Refresh { token, .. } = call.grant else {
                return Err(TokenFault::permanent("no refresh"));
            };
            let mut number = self.refresh.lock().unwrap();
            if token.expose() != format!("refresh-{number}").as_bytes() {
                return Err(TokenFault::permanent("the provider refused: invalid_grant"));
            }
            *number += 1;
            Ok(Tokens {
                access: SecretBytes::from(format!("access-token-{number}")),
                refresh: Some(SecretBytes::from(format!("refresh-{number}"))),
                expires_in: Some(3600),
            })
        })
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A grant whose token ends in an hour.
async fn connected(control: &Control, provider: &Arc<Provider>) {
    control.use_token_endpoint(Arc::clone(provider) as Arc<dyn TokenEndpoint>);
    provider.gate.add_permits(1);
    let upload = OAuthUpload {
        client: OAuthInput {
            token_url: text("https://p.io/token"),
            client_id: text("id"),
            ..OAuthInput::default()
        },
        access_token: None,
        refresh_token: Some(SecretBytes::from("refresh-1".to_owned())),
    };
    control
        .oauth()
        .upload(&Actor::LocalOperator, VaultRef::Implied, KEY, upload)
        .await
        .unwrap();
    let services = serde_json::from_str(
        r#"[{"name":"provider","host":"api.p.io","auth":{"type":"bearer","token":"GRANT"}}]"#,
    )
    .unwrap();
    control
        .services()
        .replace(
            &Actor::LocalOperator,
            "default",
            services,
            &agent_vault_control::Conditions::default(),
        )
        .await
        .unwrap();
    control.broker().set_limits(LimitSettings {
        rate: None,
        concurrency: None,
    });
}

/// What a request of an agent would carry, once what has ended was fetched anew.
pub(crate) async fn carried(
    instance: &Instance,
    control: &Control,
    token: &str,
) -> Result<String, String> {
    let authority = Authority::parse("api.p.io:443").unwrap();
    let target = RequestTarget::parse("/").unwrap();
    let headers = HeaderMap::new();
    let facts = Facts {
        scheme: Scheme::Https,
        authority: &authority,
        target: &target,
        agent: None,
        headers: &headers,
    };
    let broker = control.broker();
    for _ in 0..2 {
        let principal = broker
            .authenticate(token, Some("default"), instance.now())
            .unwrap();
        let admission = broker.admit(&principal, instance.now()).unwrap();
        let Verdict::Inject(permit) = admission.decide(&facts) else {
            return Err("no rule".to_owned());
        };
        match permit.grant() {
            Ok(grant) => {
                let (_, value) = grant.headers().first().unwrap();
                return Ok(value.to_str().unwrap().to_owned());
            }
            Err(agent_vault_broker::GrantError::Ended { order }) => {
                permit
                    .renewed(order)
                    .await
                    .map_err(|error| error.to_string())?;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("it ends at once".to_owned())
}

pub(crate) async fn token(control: &Control) -> String {
    let minted = control
        .tokens()
        .mint(
            &Actor::LocalOperator,
            VaultRef::Implied,
            agent_vault_control::NewToken::default(),
        )
        .await
        .unwrap();
    minted.token.expose().to_owned()
}

#[tokio::test]
async fn m28_c4_of_two_processes_one_refreshes_and_both_see_the_token() {
    let instance = Instance::new().await;
    let provider = Provider::new();
    connected(&instance.control, &provider).await;
    let token = token(&instance.control).await;
    let other = instance.other().await;
    other.use_token_endpoint(Arc::clone(&provider) as Arc<dyn TokenEndpoint>);
    assert_eq!(
        carried(&instance, &other, &token).await.unwrap(),
        "Bearer access-token-2"
    );
    instance.advance(SignedDuration::from_hours(1));
    let mut asked = provider.asked.subscribe();
    let both = async {
        tokio::join!(
            carried(&instance, &instance.control, &token),
            carried(&instance, &other, &token)
        )
    };
    let opened = async {
        asked.wait_for(|count| *count == 2).await.unwrap();
        provider.gate.add_permits(100);
    };
    let ((one, two), ()) = tokio::join!(both, opened);
    assert_eq!(one.unwrap(), "Bearer access-token-3");
    assert_eq!(two.unwrap(), "Bearer access-token-3");
    assert_eq!(*provider.asked.borrow(), 2);
}

#[tokio::test]
async fn traffic_goes_on_while_the_next_token_is_fetched_ahead_of_the_end() {
    let instance = Instance::new().await;
    let provider = Provider::new();
    connected(&instance.control, &provider).await;
    let token = token(&instance.control).await;
    let control = &instance.control;
    instance.advance(SignedDuration::from_mins(54));
    assert_eq!(
        carried(&instance, control, &token).await.unwrap(),
        "Bearer access-token-2"
    );
    assert_eq!(*provider.asked.borrow(), 1);
    instance.advance(SignedDuration::from_mins(2));
    for _ in 0..3 {
        assert_eq!(
            carried(&instance, control, &token).await.unwrap(),
            "Bearer access-token-2"
        );
    }
    let mut asked = provider.asked.subscribe();
    asked.wait_for(|count| *count == 2).await.unwrap();
    let mut changes = control.broker().revocations();
    provider.gate.add_permits(1);
    while carried(&instance, control, &token).await.unwrap() != "Bearer access-token-3" {
        changes.changed().await.unwrap();
    }
    assert_eq!(*provider.asked.borrow(), 2);
}

#[tokio::test]
async fn m27_c5_a_failure_leaves_a_token_that_is_good_and_rests() {
    let instance = Instance::new().await;
    let provider = Provider::new();
    connected(&instance.control, &provider).await;
    let token = token(&instance.control).await;
    let control = &instance.control;
    *provider.fault.lock().unwrap() = Some(TokenFault::passing("it is away"));
    provider.gate.add_permits(100);
    instance.advance(SignedDuration::from_mins(56));
    assert_eq!(
        carried(&instance, control, &token).await.unwrap(),
        "Bearer access-token-2"
    );
    let mut asked = provider.asked.subscribe();
    asked.wait_for(|count| *count == 2).await.unwrap();
    let oauth = control.oauth();
    let status = || oauth.status(&Actor::LocalOperator, VaultRef::Implied, KEY, None);
    while status().await.unwrap().last_error.as_deref() != Some("it is away") {}
    // Still good, and nobody asks again at once.
    instance.advance(SignedDuration::from_secs(1));
    assert_eq!(
        carried(&instance, control, &token).await.unwrap(),
        "Bearer access-token-2"
    );
    instance.advance(SignedDuration::from_mins(4));
    let refused = carried(&instance, control, &token).await.unwrap_err();
    assert!(refused.contains("no new one"), "{refused}");
    assert_eq!(*provider.asked.borrow(), 3);
    assert!(carried(&instance, control, &token).await.is_err());
    assert_eq!(*provider.asked.borrow(), 3);
    // The rest is over, and so is the trouble.
    *provider.fault.lock().unwrap() = None;
    instance.advance(SignedDuration::from_mins(5));
    assert_eq!(
        carried(&instance, control, &token).await.unwrap(),
        "Bearer access-token-3"
    );
    assert_eq!(status().await.unwrap().last_error, None);
}

#[tokio::test]
async fn m32_a_value_that_is_typed_in_while_a_refresh_runs_stays() {
    let instance = Instance::new().await;
    let provider = Provider::new();
    connected(&instance.control, &provider).await;
    let token = token(&instance.control).await;
    instance.advance(SignedDuration::from_hours(1));
    let mut asked = provider.asked.subscribe();
    let typed = async {
        asked.wait_for(|count| *count == 2).await.unwrap();
        let value = vec![(KEY.to_owned(), SecretBytes::from("typed-in".to_owned()))];
        instance
            .control
            .credentials()
            .set(&Actor::LocalOperator, VaultRef::Implied, value, None)
            .await
            .unwrap();
        provider.gate.add_permits(1);
    };
    let (carried, ()) = tokio::join!(carried(&instance, &instance.control, &token), typed);
    assert_eq!(carried.unwrap(), "Bearer typed-in");
    let listing = instance
        .control
        .credentials()
        .list(&Actor::LocalOperator, VaultRef::Implied)
        .await
        .unwrap();
    let credential = listing.credentials.unwrap().pop().unwrap();
    assert_eq!(credential.kind.as_str(), "static");
    assert!(credential.oauth.is_none());
    CredentialKey::parse(&credential.key).unwrap();
}

#[tokio::test]
async fn consents_are_bounded_and_purged() {
    let instance = Instance::new().await;
    let control = &instance.control;
    let oauth = control.oauth();
    let begin = || {
        let input = OAuthInput {
            authorization_url: text("https://p.io/a"),
            token_url: text("https://p.io/t"),
            client_id: text("id"),
            ..OAuthInput::default()
        };
        oauth.connect(
            &Actor::LocalOperator,
            VaultRef::Implied,
            KEY,
            input,
            "http://127.0.0.1:14321",
        )
    };
    let first = begin().await.unwrap();
    for _ in 1..50 {
        begin().await.unwrap();
    }
    assert_eq!(begin().await.unwrap_err().kind(), ErrorKind::TooMany);
    let link = first.start_url.split_once("link=").unwrap().1.to_owned();
    assert_eq!(control.oauth().link(&link).await.unwrap().key, KEY);
    instance.advance(SignedDuration::from_mins(10));
    assert!(control.oauth().link(&link).await.is_err());
    let status = || {
        oauth.status(
            &Actor::LocalOperator,
            VaultRef::Implied,
            KEY,
            Some(&first.id),
        )
    };
    let late = status().await.unwrap().consent.unwrap();
    assert!(late.error.contains("in time"), "{}", late.error);
    instance.advance(SignedDuration::from_secs(1));
    control.sweep_people().await.unwrap();
    assert_eq!(status().await.unwrap().consent, None);
    begin().await.unwrap();
}
