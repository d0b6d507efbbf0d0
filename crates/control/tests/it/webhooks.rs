//! Webhooks: what is told to whom, signed how, and what becomes of it when the receiver, or we, do not do well.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_vault_control::{
    Actor, Approval, Control, Courier, Delivering, DeliveryStatus, ErrorKind, LogRow, NewProposal,
    NewSlot, NewWebhook, Parcel, ProposedAction, Receipt, VaultRef, VaultRole, WebhookChange,
    WebhookDelivery, WebhookScope, WebhookState,
};
use agent_vault_seal::{SecretBytes, hmac_sha256};
use agent_vault_store::{
    AuditOutcome, AuditRecord, DEFAULT_VAULT_ID, InstanceRole, MAX_KEPT_DELIVERIES,
    MAX_WAITING_DELIVERIES,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::instance::Instance;
use crate::keys::{secret, start};

const VAULT: WebhookScope<'static> = WebhookScope::Vault("default");
const OWNER: &Actor = &Actor::LocalOperator;

/// Answers as it was told, then with 204, and keeps what it got.
#[derive(Default)]
struct Receiver {
    answers: Mutex<VecDeque<Result<Receipt, String>>>,
    got: Mutex<Vec<Parcel>>,
    /// What it does when told to keep somebody waiting.
    stuck: Mutex<bool>,
    arrived: watch::Sender<usize>,
    released: Notify,
}

impl Courier for Receiver {
    fn deliver(&self, parcel: Parcel) -> Delivering<'_> {
        Box::pin(async move {
            self.got.lock().unwrap().push(parcel);
            self.arrived.send_modify(|count| *count += 1);
            let stuck = *self.stuck.lock().unwrap();
            if stuck {
                self.released.notified().await;
            }
            let answer = self.answers.lock().unwrap().pop_front();
            answer.unwrap_or(Ok(Receipt {
                status: 204,
                retry_after: None,
            }))
        })
    }
}

impl Receiver {
    fn new() -> (Arc<Self>, Arc<dyn Courier>) {
        let receiver = Arc::new(Self::default());
        let courier = Arc::clone(&receiver) as Arc<dyn Courier>;
        (receiver, courier)
    }

    fn will(&self, answer: Result<u16, &str>, times: usize) {
        let mut answers = self.answers.lock().unwrap();
        for _ in 0..times {
            answers.push_back(answer.map_err(str::to_owned).map(|status| Receipt {
                status,
                retry_after: None,
            }));
        }
    }

    fn got(&self) -> Vec<Parcel> {
        self.got.lock().unwrap().clone()
    }

    /// Types of what arrived.
    fn types(&self) -> Vec<String> {
        self.got().iter().map(kind).collect()
    }
}

fn kind(parcel: &Parcel) -> String {
    let body = body(parcel);
    let kind = body.get("type").and_then(Value::as_str);
    kind.unwrap().to_owned()
}

fn body(parcel: &Parcel) -> Value {
    serde_json::from_str(&parcel.body).unwrap()
}

fn detail(record: &AuditRecord) -> Value {
    serde_json::from_str(&record.detail).unwrap()
}

async fn add(control: &Control, scope: WebhookScope<'_>, events: &[&str]) -> (String, String) {
    let new = NewWebhook {
        url: "https://hooks.example.com/in?to=team".to_owned(),
        events: events.iter().map(ToString::to_string).collect(),
        description: String::new(),
    };
    let (view, secret) = control.webhooks().add(OWNER, scope, new).await.unwrap();
    (view.webhook.id.to_string(), secret.0.to_string())
}

/// The signature that a parcel must have under `secret`.
fn signed(parcel: &Parcel, secret: &str) -> String {
    let key = STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    let message = format!("{}.{}.{}", parcel.id, parcel.timestamp, parcel.body);
    let tag = hmac_sha256(&SecretBytes::new(key), message.as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

async fn deliveries(control: &Control, id: &str) -> Vec<WebhookDelivery> {
    control
        .webhooks()
        .deliveries(OWNER, VAULT, id, 200)
        .await
        .unwrap()
}

async fn raise(control: &Control, agent: &Actor, key: &str, value: Option<&str>) -> u32 {
    let new = NewProposal {
        services: Vec::new(),
        credentials: vec![NewSlot {
            action: ProposedAction::Set,
            key: key.to_owned(),
            kind: None,
            description: String::new(),
            obtain: String::new(),
            obtain_instructions: String::new(),
            value: value.map(secret),
            oauth: None,
        }],
        message: "for a test".to_owned(),
        user_message: String::new(),
    };
    let raised = control
        .proposals()
        .raise(agent, VaultRef::Named("default"), new, "https://v.example/")
        .await
        .unwrap();
    raised.view.id
}

async fn agent(instance: &Instance) -> Actor {
    let vaults = vec![("default".to_owned(), VaultRole::Proxy)];
    instance
        .agent("builder", InstanceRole::NoAccess, vaults)
        .await
        .0
}

fn row(instance: &Instance, service: &str, status: u16, code: &str) -> LogRow {
    LogRow {
        vault_id: DEFAULT_VAULT_ID,
        actor: None,
        session_id: "0123456789abcdef0123".to_owned(),
        label: "nightly".to_owned(),
        ingress: "mitm".to_owned(),
        method: "GET".to_owned(),
        host: "api.x.io:443".to_owned(),
        path: "/".to_owned(),
        matched_service: service.to_owned(),
        credential_keys: vec!["X_KEY".to_owned()],
        credential_versions: Vec::new(),
        status,
        latency_ms: 1,
        error_code: code.to_owned(),
        auth_scheme: String::new(),
        auth_header: String::new(),
        decision: if code.is_empty() {
            "brokered".to_owned()
        } else {
            "refused".to_owned()
        },
        warnings: Vec::new(),
        scrubs: 0,
        created_at: instance.now(),
    }
}

#[tokio::test]
async fn a_failed_attempt_is_made_again_with_the_same_id_and_a_new_signature() {
    let instance = Instance::new().await;
    let control = &instance.control;
    let (id, secret) = add(control, VAULT, &[]).await;
    let event = control.webhooks().test(OWNER, VAULT, &id).await.unwrap();
    let (receiver, courier) = Receiver::new();
    receiver.will(Ok(500), 1);
    receiver.will(Err("the connection was reset"), 1);
    receiver.will(Ok(302), 1);
    for (attempt, error) in [
        "it answered 500",
        "the connection was reset",
        "it answered 302: redirects are not followed",
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(control.deliver_due(&courier).await.unwrap(), 1);
        // It is not due again at once.
        assert_eq!(control.deliver_due(&courier).await.unwrap(), 0);
        let shown = deliveries(control, &id).await.remove(0);
        assert_eq!(shown.status, DeliveryStatus::Pending);
        assert_eq!(shown.last_error, error);
        assert_eq!(shown.attempts as usize, attempt + 1);
        assert!(shown.next_at.unwrap() > instance.now());
        instance.advance(SignedDuration::from_mins(3));
    }
    assert_eq!(control.deliver_due(&courier).await.unwrap(), 1);
    let shown = deliveries(control, &id).await.remove(0);
    assert_eq!(shown.status, DeliveryStatus::Delivered);
    assert_eq!((shown.answer, shown.attempts), (Some(204), 4));
    let got = receiver.got();
    assert!(got.iter().all(|parcel| parcel.id == event));
    assert!(
        got.windows(2)
            .all(|two| two[0].timestamp < two[1].timestamp)
    );
    for parcel in &got {
        assert_eq!(parcel.signature, signed(parcel, &secret));
        assert_eq!(parcel.url.target(), "/in?to=team");
        assert_eq!(body(parcel)["type"], "webhook.test");
    }
    let view = control.webhooks().get(OWNER, VAULT, &id).await.unwrap();
    assert_eq!((view.webhook.failures, view.webhook.pending), (0, 0));
}

#[tokio::test]
async fn after_ten_attempts_a_delivery_is_given_up() {
    let instance = Instance::new().await;
    let control = &instance.control;
    let (id, _) = add(control, VAULT, &[]).await;
    control.webhooks().test(OWNER, VAULT, &id).await.unwrap();
    let (receiver, courier) = Receiver::new();
    receiver.will(Ok(503), 99);
    let mut attempts = 0;
    for _ in 0..40 {
        attempts += control.deliver_due(&courier).await.unwrap();
        instance.advance(SignedDuration::from_hours(15));
    }
    assert_eq!(attempts, 10);
    let shown = deliveries(control, &id).await.remove(0);
    assert_eq!(shown.status, DeliveryStatus::Failed);
    assert!(shown.ended_at.is_some() && shown.next_at.is_none());
}

#[tokio::test]
async fn an_endpoint_that_stays_away_is_parked_on_record_and_starts_anew() {
    let instance = Instance::new().await;
    let control = &instance.control;
    let (id, _) = add(control, VAULT, &[]).await;
    let hooks = control.webhooks();
    for _ in 0..30 {
        hooks.test(OWNER, VAULT, &id).await.unwrap();
    }
    let (receiver, courier) = Receiver::new();
    receiver.will(Ok(500), 30);
    let state = async || hooks.get(OWNER, VAULT, &id).await.unwrap().webhook;
    // Many failures at once are a receiver that restarts.
    for _ in 0..25 {
        assert_eq!(control.deliver_due(&courier).await.unwrap(), 1);
    }
    assert_eq!(state().await.state, WebhookState::Active);
    instance.advance(SignedDuration::from_hours(1));
    assert_eq!(control.deliver_due(&courier).await.unwrap(), 1);
    let parked = state().await;
    assert_eq!(parked.state, WebhookState::Parked);
    assert_eq!(parked.last_error, "it answered 500");
    assert_eq!((parked.failures, parked.pending), (26, 30));
    let record = instance.store.audit_page(None, 1).await.unwrap().remove(0);
    assert_eq!(record.action, "webhook.park");
    assert_eq!(record.target, "vault:default");
    assert_eq!(detail(&record)["reason"], "it answered 500");
    // Nothing is sent, and a test says why.
    instance.advance(SignedDuration::from_hours(15));
    assert_eq!(control.deliver_due(&courier).await.unwrap(), 0);
    let refused = hooks.test(OWNER, VAULT, &id).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    // What happens meanwhile is kept.
    let agent = agent(&instance).await;
    raise(control, &agent, "NEWS", None).await;
    receiver.answers.lock().unwrap().clear();
    let enable = WebhookChange {
        enabled: Some(true),
        ..WebhookChange::default()
    };
    let view = hooks.change(OWNER, VAULT, &id, enable).await.unwrap();
    assert_eq!(view.webhook.state, WebhookState::Active);
    assert_eq!((view.webhook.failures, view.webhook.pending), (0, 31));
    let mut sent = 0;
    loop {
        let round = control.deliver_due(&courier).await.unwrap();
        sent += round;
        if round == 0 {
            break;
        }
    }
    assert_eq!(sent, 31);
    assert_eq!(receiver.types().last().unwrap(), "proposal.raised");
}

#[tokio::test]
async fn an_endpoint_that_says_that_it_is_gone_is_parked_at_once() {
    let instance = Instance::new().await;
    let control = &instance.control;
    let (id, _) = add(control, VAULT, &[]).await;
    control.webhooks().test(OWNER, VAULT, &id).await.unwrap();
    let (receiver, courier) = Receiver::new();
    receiver.will(Ok(410), 1);
    control.deliver_due(&courier).await.unwrap();
    let view = control.webhooks().get(OWNER, VAULT, &id).await.unwrap();
    assert_eq!(view.webhook.state, WebhookState::Parked);
    let shown = deliveries(control, &id).await.remove(0);
    assert_eq!(shown.status, DeliveryStatus::Failed);
}

#[tokio::test]
async fn queue_and_history_are_bounded_and_what_is_left_out_is_counted() {
    let instance = Instance::new().await;
    let control = &instance.control;
    let (id, _) = add(control, VAULT, &[]).await;
    let full = MAX_WAITING_DELIVERIES as usize;
    for n in 0..full + 7 {
        let event = agent_vault_store::QueuedEvent {
            id: format!("evt_{n}"),
            event: "limit.hit",
            vault_id: Some(DEFAULT_VAULT_ID),
            only: None,
            subject: n.to_string(),
            quiet: None,
            payload: "{}".to_owned(),
            at: instance.now(),
        };
        instance.store.queue_event(&event).await.unwrap();
    }
    let hooks = control.webhooks();
    let view = hooks.get(OWNER, VAULT, &id).await.unwrap().webhook;
    assert_eq!(
        (view.pending, view.dropped),
        (u64::from(MAX_WAITING_DELIVERIES), 7)
    );
    let refused = hooks.test(OWNER, VAULT, &id).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooMany);
    let (_, courier) = Receiver::new();
    for _ in 0..150 {
        assert_eq!(control.deliver_due(&courier).await.unwrap(), 1);
    }
    let ended = instance
        .store
        .webhook_deliveries(view.id, u32::MAX)
        .await
        .unwrap()
        .into_iter()
        .filter(|delivery| delivery.status != DeliveryStatus::Pending)
        .count();
    assert_eq!(ended, MAX_KEPT_DELIVERIES as usize);
    // What nobody could send for a week is given up.
    instance.advance(SignedDuration::from_hours(8 * 24));
    control.sweep_people().await.unwrap();
    let view = hooks.get(OWNER, VAULT, &id).await.unwrap().webhook;
    assert_eq!(view.pending, 0);
    assert_eq!(
        deliveries(control, &id).await[0].last_error,
        "it waited too long"
    );
}

#[tokio::test]
async fn what_waits_survives_its_process_and_what_was_claimed_comes_again() {
    let instance = Instance::new().await;
    let (id, secret) = add(&instance.control, VAULT, &[]).await;
    let event = instance
        .control
        .webhooks()
        .test(OWNER, VAULT, &id)
        .await
        .unwrap();
    // A process that dies between the claim and the answer.
    let lease = SignedDuration::from_secs(15);
    let claimed = instance
        .store
        .claim_deliveries(instance.now(), lease, 16)
        .await
        .unwrap();
    assert_eq!(claimed.len(), 1);
    let other = instance.other().await;
    let (receiver, courier) = Receiver::new();
    assert_eq!(other.deliver_due(&courier).await.unwrap(), 0);
    instance.advance(lease);
    assert_eq!(other.deliver_due(&courier).await.unwrap(), 1);
    let got = receiver.got();
    assert_eq!(got[0].id, event);
    assert_eq!(got[0].signature, signed(&got[0], &secret));
}

#[tokio::test]
async fn a_server_that_stops_breaks_off_and_the_next_one_sends() {
    let instance = Instance::new().await;
    let (id, _) = add(&instance.control, VAULT, &[]).await;
    let (receiver, courier) = Receiver::new();
    *receiver.stuck.lock().unwrap() = true;
    let serve = || {
        let (control, courier) = (instance.control.clone(), Arc::clone(&courier));
        let closing = CancellationToken::new();
        let ended = closing.clone();
        let task = async move { control.keep_webhooks(courier, ended).await };
        (tokio::task::JoinSet::from_iter([task]), closing)
    };
    let mut arrived = receiver.arrived.subscribe();
    let (mut first, closing) = serve();
    let event = instance
        .control
        .webhooks()
        .test(OWNER, VAULT, &id)
        .await
        .unwrap();
    arrived.wait_for(|count| *count == 1).await.unwrap();
    closing.cancel();
    first.join_next().await.unwrap().unwrap();
    let waiting = deliveries(&instance.control, &id).await.remove(0);
    assert_eq!(
        (waiting.status, waiting.attempts),
        (DeliveryStatus::Pending, 0)
    );
    // The claim was given back: no waiting for its end.
    *receiver.stuck.lock().unwrap() = false;
    let (mut second, closing) = serve();
    arrived.wait_for(|count| *count == 2).await.unwrap();
    while deliveries(&instance.control, &id).await[0].status == DeliveryStatus::Pending {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    closing.cancel();
    second.join_next().await.unwrap().unwrap();
    assert!(receiver.got().iter().all(|parcel| parcel.id == event));
}

#[tokio::test]
async fn two_processes_send_once() {
    let instance = Instance::new().await;
    let (id, _) = add(&instance.control, VAULT, &[]).await;
    for _ in 0..20 {
        let hooks = instance.control.webhooks();
        hooks.test(OWNER, VAULT, &id).await.unwrap();
    }
    let other = instance.other().await;
    let (receiver, courier) = Receiver::new();
    loop {
        let (one, two) = tokio::join!(
            instance.control.deliver_due(&courier),
            other.deliver_due(&courier)
        );
        if one.unwrap() + two.unwrap() == 0 {
            break;
        }
    }
    let mut ids: Vec<String> = receiver.got().into_iter().map(|parcel| parcel.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), receiver.got().len()), (20, 20));
}

#[tokio::test]
async fn a_rotation_of_the_secret_overlaps_as_long_as_it_was_told() {
    let instance = Instance::new().await;
    let control = &instance.control;
    let hooks = control.webhooks();
    let (id, old) = add(control, VAULT, &[]).await;
    let (view, new) = hooks.rotate(OWNER, VAULT, &id, Some(3600)).await.unwrap();
    let new = new.0.to_string();
    assert_ne!(old, new);
    let until = instance.now() + SignedDuration::from_hours(1);
    assert_eq!(view.former_secret_until, Some(until));
    let (receiver, courier) = Receiver::new();
    hooks.test(OWNER, VAULT, &id).await.unwrap();
    control.deliver_due(&courier).await.unwrap();
    let parcel = receiver.got().remove(0);
    let both = format!("{} {}", signed(&parcel, &new), signed(&parcel, &old));
    assert_eq!(parcel.signature, both);
    instance.advance(SignedDuration::from_hours(1));
    hooks.test(OWNER, VAULT, &id).await.unwrap();
    control.deliver_due(&courier).await.unwrap();
    let parcel = receiver.got().remove(1);
    assert_eq!(parcel.signature, signed(&parcel, &new));
    // At once, and never for longer than a week.
    let (view, newest) = hooks.rotate(OWNER, VAULT, &id, Some(0)).await.unwrap();
    assert_eq!(view.former_secret_until, None);
    hooks.test(OWNER, VAULT, &id).await.unwrap();
    control.deliver_due(&courier).await.unwrap();
    let parcel = receiver.got().remove(2);
    assert_eq!(parcel.signature, signed(&parcel, &newest.0));
    let refused = hooks.rotate(OWNER, VAULT, &id, Some(604_801)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn secrets_outlive_a_rotation_of_the_data_key() {
    let folder = tempfile::tempdir().unwrap();
    let (store, control) = start(folder.path(), None).await;
    let (id, secret) = add(&control, VAULT, &[]).await;
    let (own, own_secret) = add(&control, WebhookScope::Instance, &[]).await;
    control.keys().rotate(OWNER).await.unwrap();
    store.close().await;
    let (store, control) = start(folder.path(), None).await;
    control.reseal().await.unwrap();
    let state = control.keys().state(OWNER).await.unwrap();
    assert_eq!((state.rotating, state.remaining), (false, 0));
    let (receiver, courier) = Receiver::new();
    let hooks = control.webhooks();
    hooks.test(OWNER, VAULT, &id).await.unwrap();
    hooks
        .test(OWNER, WebhookScope::Instance, &own)
        .await
        .unwrap();
    assert_eq!(control.deliver_due(&courier).await.unwrap(), 2);
    for parcel in receiver.got() {
        let wanted = if parcel.endpoint.to_string() == id {
            &secret
        } else {
            &own_secret
        };
        assert_eq!(parcel.signature, signed(&parcel, wanted));
    }
    store.close().await;
}

#[tokio::test]
async fn each_hears_what_it_asked_for_of_its_own_vault() {
    let instance = Instance::new().await;
    let control = &instance.control;
    let vaults = control.vaults();
    vaults.create(OWNER, "other").await.unwrap();
    let (all, _) = add(control, VAULT, &[]).await;
    let (some, _) = add(control, VAULT, &["limit.hit", "proposal.decided"]).await;
    let (strange, _) = add(control, WebhookScope::Vault("other"), &[]).await;
    let (own, _) = add(control, WebhookScope::Instance, &["proposal.raised"]).await;
    let (off, _) = add(control, VAULT, &[]).await;
    let hooks = control.webhooks();
    let disable = WebhookChange {
        enabled: Some(false),
        ..WebhookChange::default()
    };
    hooks.change(OWNER, VAULT, &off, disable).await.unwrap();
    let agent = agent(&instance).await;
    let raised = raise(control, &agent, "ONE", None).await;
    let proposals = control.proposals();
    proposals
        .reject(OWNER, VaultRef::Named("default"), raised, "not this")
        .await
        .unwrap();
    let (receiver, courier) = Receiver::new();
    while control.deliver_due(&courier).await.unwrap() > 0 {}
    let mut heard: Vec<(String, String)> = receiver
        .got()
        .iter()
        .map(|parcel| (parcel.endpoint.to_string(), kind(parcel)))
        .collect();
    heard.sort();
    let mut wanted = vec![
        (all.clone(), "proposal.decided".to_owned()),
        (all, "proposal.raised".to_owned()),
        (some, "proposal.decided".to_owned()),
        (own.clone(), "proposal.raised".to_owned()),
    ];
    wanted.sort();
    assert_eq!(heard, wanted);
    // An endpoint of one vault is not there in another, nor in the instance.
    for (scope, id) in [
        (VAULT, &strange),
        (WebhookScope::Instance, &strange),
        (VAULT, &own),
        (WebhookScope::Vault("other"), &own),
    ] {
        let refused = hooks.get(OWNER, scope, id).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotFound);
        let refused = hooks.remove(OWNER, scope, id).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotFound);
    }
    // It goes with its vault.
    vaults.delete(OWNER, "other").await.unwrap();
    let id = strange.parse().unwrap();
    assert_eq!(instance.store.webhook(id).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_told_of_a_proposal_holds_no_value_and_no_token() {
    let instance = Instance::new().await;
    let control = &instance.control;
    let (_, signing) = add(control, VAULT, &[]).await;
    let agent = agent(&instance).await;
    let offered = "canary-offered-value-7f3a";
    let given = "canary-given-value-91bc";
    let applied = raise(control, &agent, "OFFERED", Some(offered)).await;
    let approval = Approval {
        values: vec![("OFFERED".to_owned(), secret(given))],
        revision: None,
    };
    control
        .proposals()
        .approve(OWNER, VaultRef::Named("default"), applied, approval)
        .await
        .unwrap();
    let (receiver, courier) = Receiver::new();
    while control.deliver_due(&courier).await.unwrap() > 0 {}
    assert_eq!(receiver.types(), ["proposal.raised", "proposal.decided"]);
    let got = receiver.got();
    for parcel in &got {
        for hidden in [offered, given, "av_", "whsec_", &signing] {
            assert!(!parcel.body.contains(hidden), "{hidden} in {}", parcel.body);
        }
    }
    let raised = body(&got[0]);
    assert_eq!(raised["vault"], "default");
    assert_eq!(raised["id"], got[0].id);
    let data = &raised["data"];
    assert_eq!(data["author"], "builder");
    assert_eq!(data["link"], "https://v.example/approve/1?vault=default");
    assert_eq!(data["credentials"][0]["key"], "OFFERED");
    let decided = &body(&got[1])["data"];
    assert_eq!(decided["status"], "applied");
    assert_eq!(decided["decided_by"], "local operator");
}

#[tokio::test]
async fn a_proposal_that_runs_out_is_on_record_and_told() {
    let instance = Instance::new().await;
    let control = &instance.control;
    add(control, VAULT, &["proposal.expired"]).await;
    let agent = agent(&instance).await;
    let id = raise(control, &agent, "LATE", Some("a value")).await;
    control.expire_proposals().await.unwrap();
    let (receiver, courier) = Receiver::new();
    assert_eq!(control.deliver_due(&courier).await.unwrap(), 0);
    instance.advance(SignedDuration::from_hours(7 * 24));
    let other = instance.other().await;
    let (one, two) = tokio::join!(control.expire_proposals(), other.expire_proposals());
    one.unwrap();
    two.unwrap();
    let records: Vec<_> = instance
        .store
        .audit_page(None, 50)
        .await
        .unwrap()
        .into_iter()
        .filter(|record| record.action == "proposal.expire")
        .collect();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0].target, "vault:default");
    assert_eq!(records[0].outcome, AuditOutcome::Done);
    assert_eq!(detail(&records[0])["proposal"], id);
    assert_eq!(detail(&records[0])["author"], "builder");
    let values = instance
        .store
        .proposal_values(DEFAULT_VAULT_ID, id)
        .await
        .unwrap();
    assert!(values.is_empty());
    assert_eq!(control.deliver_due(&courier).await.unwrap(), 1);
    assert_eq!(receiver.types(), ["proposal.expired"]);
    assert_eq!(body(&receiver.got()[0])["data"]["proposal"], id);
}

#[tokio::test]
async fn the_log_tells_of_what_fails_once_an_hour_whoever_writes_it() {
    let instance = Instance::new().await;
    let control = &instance.control;
    add(control, VAULT, &[]).await;
    let other = instance.other().await;
    let (receiver, courier) = Receiver::new();
    let write = async |control: &Control| {
        let rows = [
            row(&instance, "x", 401, ""),
            row(&instance, "x", 403, ""),
            row(&instance, "y", 502, "credential_not_found"),
            row(&instance, "", 429, "rate_limit_scope"),
            row(&instance, "x", 200, ""),
        ];
        let rows: Vec<_> = rows.iter().map(LogRow::as_append).collect();
        control.log_writer().write(&rows).await.unwrap();
        while control.deliver_due(&courier).await.unwrap() > 0 {}
    };
    write(control).await;
    write(control).await;
    // Another process has not seen these, and finds that they were told.
    write(&other).await;
    let wanted = ["upstream.auth_failing", "credential.missing", "limit.hit"];
    assert_eq!(receiver.types(), wanted);
    let got = receiver.got();
    let data = |n: usize| body(&got[n])["data"].clone();
    assert_eq!(data(0)["status"], 401);
    assert_eq!(data(0)["service"], "x");
    assert_eq!(data(1)["missing"], serde_json::json!(["X_KEY"]));
    assert_eq!(data(2)["limit"], "rate");
    assert_eq!(data(2)["token_label"], "nightly");
    instance.advance(SignedDuration::from_hours(1));
    write(control).await;
    assert_eq!(receiver.types().len(), 6);
    assert_eq!(control.lost_events(), 0);
}

#[tokio::test]
async fn who_keeps_webhooks_and_what_is_on_record() {
    let instance = Instance::new().await;
    let control = &instance.control;
    let hooks = control.webhooks();
    let admin = instance
        .user("admin@x.io", InstanceRole::NoAccess, Some(VaultRole::Admin))
        .await;
    let new = NewWebhook {
        url: "https://hooks.example.com/services/T0/secret-path".to_owned(),
        ..NewWebhook::default()
    };
    let (view, shown) = hooks.add(&admin, VAULT, new.clone()).await.unwrap();
    assert_eq!(format!("{shown:?}"), "[redacted]");
    let refused = hooks.add(&admin, WebhookScope::Instance, new.clone()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Forbidden);
    let id = view.webhook.id.to_string();
    hooks.rotate(&admin, VAULT, &id, None).await.unwrap();
    hooks.remove(&admin, VAULT, &id).await.unwrap();
    let records = instance.store.audit_page(None, 50).await.unwrap();
    for action in ["webhook.add", "webhook.rotate", "webhook.remove"] {
        let record = records
            .iter()
            .find(|record| record.action == action && record.outcome == AuditOutcome::Done);
        let record = record.unwrap_or_else(|| panic!("no {action}"));
        assert_eq!(record.actor_name, "admin@x.io");
        assert_eq!(detail(record)["webhook"], id);
    }
    let all = format!("{records:?}");
    assert!(all.contains("hooks.example.com"));
    assert!(
        !all.contains("secret-path") && !all.contains("whsec_"),
        "{all}"
    );
    // Twenty are enough.
    for _ in 0..20 {
        hooks.add(&admin, VAULT, new.clone()).await.unwrap();
    }
    let refused = hooks.add(&admin, VAULT, new).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooMany);
}
