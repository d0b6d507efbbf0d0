//! Decisions that race, and values that wait while keys change.

use agent_vault_control::{
    Actor, AgentActor, Approval, Control, ErrorKind, InstanceRole, NewAgent, NewProposal, NewSlot,
    ProposalStatus, ProposedAction, VaultRef, VaultRole,
};
use agent_vault_store::Store;

use crate::keys::{secret, start};

async fn agent(store: &Store, control: &Control) -> Actor {
    let new = NewAgent {
        name: "builder".to_owned(),
        role: InstanceRole::NoAccess,
        vaults: vec![("default".to_owned(), VaultRole::Proxy)],
        ttl_seconds: None,
        label: None,
    };
    let agents = control.agents();
    agents.create(&Actor::LocalOperator, new).await.unwrap();
    let row = store.agent_by_name("builder").await.unwrap().unwrap();
    Actor::Agent(AgentActor {
        id: row.id,
        name: row.name,
        session: "00000000000000000000".to_owned(),
    })
}

async fn raise(control: &Control, agent: &Actor) -> u32 {
    let new = NewProposal {
        services: Vec::new(),
        credentials: vec![NewSlot {
            action: ProposedAction::Set,
            key: "OFFERED".to_owned(),
            kind: None,
            description: String::new(),
            obtain: String::new(),
            obtain_instructions: String::new(),
            value: Some(secret("an offered value")),
            oauth: None,
        }],
        message: "for a test".to_owned(),
        user_message: String::new(),
    };
    let raised = control
        .proposals()
        .raise(agent, VaultRef::Named("default"), new, "http://127.0.0.1")
        .await
        .unwrap();
    raised.view.id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h22_of_decisions_that_race_one_is_done_and_the_others_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (store, control) = start(folder.path(), None).await;
    let agent = agent(&store, &control).await;
    let (person, vault) = (&Actor::LocalOperator, VaultRef::Named("default"));
    for _ in 0..5 {
        let id = raise(&control, &agent).await;
        let proposals = control.proposals();
        let (yes, again, no) = tokio::join!(
            proposals.approve(person, vault, id, Approval::default()),
            proposals.approve(person, vault, id, Approval::default()),
            proposals.reject(person, vault, id, "no"),
        );
        let applied = yes.is_ok() || again.is_ok();
        let refused: Vec<ErrorKind> = [yes, again, no]
            .into_iter()
            .filter_map(Result::err)
            .map(|error| error.kind())
            .collect();
        assert_eq!(refused, [ErrorKind::Conflict, ErrorKind::Conflict]);
        let (view, _) = proposals.review(person, vault, id).await.unwrap();
        let wanted = if applied {
            ProposalStatus::Applied
        } else {
            ProposalStatus::Rejected
        };
        assert_eq!(view.status, wanted);
    }
}

#[tokio::test]
async fn an_offered_value_outlives_a_rotation_of_the_data_key() {
    let folder = tempfile::tempdir().unwrap();
    let (store, control) = start(folder.path(), None).await;
    let agent = agent(&store, &control).await;
    let id = raise(&control, &agent).await;
    control.keys().rotate(&Actor::LocalOperator).await.unwrap();
    store.close().await;
    let (store, control) = start(folder.path(), None).await;
    control.reseal().await.unwrap();
    let state = control.keys().state(&Actor::LocalOperator).await.unwrap();
    assert_eq!((state.rotating, state.remaining), (false, 0));
    let vault = VaultRef::Named("default");
    let proposals = control.proposals();
    proposals
        .approve(&Actor::LocalOperator, vault, id, Approval::default())
        .await
        .unwrap();
    let revealed = control
        .credentials()
        .reveal(&Actor::LocalOperator, vault, Some("OFFERED"))
        .await
        .unwrap();
    let value = revealed.credentials.unwrap().remove(0).value.unwrap();
    assert_eq!(value.expose(), b"an offered value");
    store.close().await;
}
