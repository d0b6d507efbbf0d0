//! H46: guards and the writes that they guard are one.

use agent_vault_control::{Actor, ErrorKind, InstanceRole, NewToken, VaultRef, VaultRole};
use agent_vault_seal::SecretBytes;
use agent_vault_store::DEFAULT_VAULT_ID;

use crate::instance::Instance;

/// How many of the results are refusals of this kind; everything else must have gone well.
fn refused<T: std::fmt::Debug, const N: usize>(
    results: [Result<T, agent_vault_control::ControlError>; N],
    kind: ErrorKind,
) -> usize {
    results
        .into_iter()
        .filter_map(Result::err)
        .inspect(|error| assert_eq!(error.kind(), kind, "{error}"))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_owners_who_demote_each_other() {
    for _ in 0..5 {
        let instance = Instance::new().await;
        let one = instance.user("one@x.io", InstanceRole::Owner, None).await;
        let two = instance.user("two@x.io", InstanceRole::Owner, None).await;
        let users = instance.control.users();
        let (a, b) = tokio::join!(
            users.set_role(&one, "two@x.io", InstanceRole::Member),
            users.set_role(&two, "one@x.io", InstanceRole::Member),
        );
        // The second has no longer the role to do it.
        assert_eq!(refused([a, b], ErrorKind::Forbidden), 1);
        assert_eq!(instance.store.active_owner_users().await.unwrap(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_owner_agents_of_an_instance_without_people() {
    let instance = Instance::new().await;
    let (one, _) = instance.agent("one", InstanceRole::Owner, Vec::new()).await;
    let (two, _) = instance.agent("two", InstanceRole::Owner, Vec::new()).await;
    let agents = instance.control.agents();
    let (a, b) = tokio::join!(agents.revoke(&one, "two"), agents.revoke(&two, "one"));
    let (a, b) = (
        a.err().map(|error| error.kind()),
        b.err().map(|error| error.kind()),
    );
    assert_eq!([a, b].iter().flatten().count(), 1, "{a:?} {b:?}");
    assert_eq!(instance.store.active_owner_agents().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_admins_who_leave_at_once() {
    for _ in 0..5 {
        let instance = Instance::new().await;
        let one = instance
            .user("one@x.io", InstanceRole::Member, Some(VaultRole::Admin))
            .await;
        let two = instance
            .user("two@x.io", InstanceRole::Member, Some(VaultRole::Admin))
            .await;
        let vaults = instance.control.vaults();
        let (a, b) = tokio::join!(vaults.leave(&one, "default"), vaults.leave(&two, "default"));
        assert_eq!(refused([a, b], ErrorKind::Conflict), 1);
        assert_eq!(
            instance
                .store
                .vault_admin_count(DEFAULT_VAULT_ID)
                .await
                .unwrap(),
            1
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_renames_to_one_name_and_two_creations_of_it() {
    let instance = Instance::new().await;
    let local = Actor::LocalOperator;
    let vaults = instance.control.vaults();
    for name in ["one", "two"] {
        vaults.create(&local, name).await.unwrap();
    }
    let (a, b) = tokio::join!(
        vaults.rename(&local, "one", "target"),
        vaults.rename(&local, "two", "target")
    );
    assert_eq!(refused([a, b], ErrorKind::Conflict), 1);
    let (a, b) = tokio::join!(
        vaults.create(&local, "fresh"),
        vaults.create(&local, "fresh")
    );
    assert_eq!(refused([a, b], ErrorKind::Conflict), 1);
    for name in ["agent-a", "agent-b"] {
        instance
            .agent(name, InstanceRole::NoAccess, Vec::new())
            .await;
    }
    let agents = instance.control.agents();
    let (a, b) = tokio::join!(
        agents.rename(&local, "agent-a", "agent-c"),
        agents.rename(&local, "agent-b", "agent-c")
    );
    assert_eq!(refused([a, b], ErrorKind::Conflict), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_last_is_what_the_broker_shows() {
    let instance = Instance::new().await;
    let local = Actor::LocalOperator;
    let (_, token) = instance
        .agent(
            "bot",
            InstanceRole::NoAccess,
            vec![("default".to_owned(), VaultRole::Proxy)],
        )
        .await;
    let broker = instance.control.broker();
    let open = || {
        broker
            .authenticate(&token, Some("default"), instance.now())
            .is_ok()
    };
    for _ in 0..20 {
        let members = instance.control.members();
        let credentials = instance.control.credentials();
        let value = vec![("KEY".to_owned(), SecretBytes::new(b"v".to_vec()))];
        let (removed, added, set) = tokio::join!(
            members.remove_agent(&local, "default", "bot"),
            members.add_agent(&local, "default", "bot", VaultRole::Proxy),
            credentials.set(&local, VaultRef::Implied, value, None),
        );
        set.unwrap();
        let agent = instance.store.agent_by_name("bot").await.unwrap().unwrap();
        let granted = instance
            .store
            .grant(
                agent_vault_store::ActorRef::agent(agent.id),
                DEFAULT_VAULT_ID,
            )
            .await
            .unwrap()
            .is_some();
        assert_eq!(open(), granted, "{removed:?} {added:?}");
        if !granted {
            members
                .add_agent(&local, "default", "bot", VaultRole::Proxy)
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn a_role_that_ended_a_moment_ago_counts_no_more() {
    let instance = Instance::new().await;
    let owner = instance
        .user("o@x.io", InstanceRole::Owner, Some(VaultRole::Admin))
        .await;
    let member = instance
        .user("m@x.io", InstanceRole::Member, Some(VaultRole::Member))
        .await;
    instance
        .control
        .members()
        .remove_user(&owner, "default", "m@x.io")
        .await
        .unwrap();
    // `member` was authenticated before; what it may do is read when it does it.
    let refused = instance
        .control
        .tokens()
        .mint(&member, VaultRef::Named("default"), NewToken::default())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    instance
        .control
        .users()
        .delete(&owner, "m@x.io", agent_vault_control::MadeAgents::Revoke)
        .await
        .unwrap();
    let refused = instance
        .control
        .vaults()
        .create(&member, "mine")
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
}
