//! A clock that jumps: tokens and certificates go by it, everything that is measured does not.

use std::time::Duration;

use agent_vault_testing::{Upstream, client, within};
use jiff::SignedDuration;

use crate::fixture::{Agent, Far, HOST, Stage, Way, basic};

async fn stage_for(upstream: &Upstream) -> Stage {
    Stage::builder()
        .trusting(upstream)
        .bearer("sk-secret-value")
        .start()
        .await
}

/// Further than half of a leaf's back-dating, so that a new one has to be made when the clock goes back.
const JUMP: SignedDuration = SignedDuration::from_mins(90);

#[tokio::test]
async fn what_is_open_and_what_is_new_goes_on_after_a_jump() {
    let upstream = Far::H2.start();
    let stage = stage_for(&upstream).await;
    let authority = upstream.authority_of(HOST);
    for way in [Way::H1, Way::H2] {
        let mut open = Agent::open(&stage, way, &authority).await;
        assert_eq!(open.get("/", &[]).await.status, 200);
        for jump in [JUMP, -JUMP, -JUMP, JUMP] {
            stage.clock.advance(jump);
            let what = format!("{way:?} after {jump}");
            assert_eq!(open.get("/", &[]).await.status, 200, "{what}");
            // A handshake as well, with a certificate that is good by the agent's clock, which did not jump.
            let mut new = Agent::open(&stage, way, &authority).await;
            assert_eq!(new.get("/", &[]).await.status, 200, "{what}");
        }
    }
}

#[tokio::test]
async fn a_token_ends_by_the_clock_whichever_way_it_jumps() {
    let upstream = Far::H1.start();
    let stage = stage_for(&upstream).await;
    let authority = upstream.authority_of(HOST);
    let token = agent_vault_seal::Token::generate(agent_vault_seal::TokenKind::Scoped).unwrap();
    let mut record = crate::fixture::scoped(&token, stage.vault.id);
    record.expires_at = Some(stage.clock.now() + SignedDuration::from_mins(30));
    stage.broker.put_session(record);
    let auth = basic(token.expose());
    let mut open = Agent::with_auth(&stage, Way::H1, &authority, &auth)
        .await
        .unwrap();
    assert_eq!(open.get("/", &[]).await.status, 200);
    stage.clock.advance(JUMP);
    let after = open.ask("GET", "/", &[], client::empty()).await;
    assert!(after.is_err() || after.is_ok_and(|answer| answer.status == 407));
    assert!(
        Agent::with_auth(&stage, Way::H1, &authority, &auth)
            .await
            .is_err()
    );
    // It has not been forgotten: a clock that was wrong for a moment ends no token for good.
    stage.clock.advance(-JUMP);
    let mut again = Agent::with_auth(&stage, Way::H1, &authority, &auth)
        .await
        .unwrap();
    assert_eq!(again.get("/", &[]).await.status, 200);
}

#[tokio::test]
async fn durations_do_not_jump() {
    let upstream = Far::H1.start();
    let stage = stage_for(&upstream).await;
    let authority = upstream.authority_of(HOST);
    // An exchange does not last longer because the clock was set.
    let mut agent = Agent::open(&stage, Way::H1, &authority).await;
    let asking = tokio::spawn(async move { agent.get("/slow", &[]).await });
    upstream.gate("gate").arrived(1).await;
    stage.clock.advance(JUMP);
    upstream.gate("gate").release(1);
    assert_eq!(within("an answer", asking).await.unwrap().status, 200);
    let record = stage.logged_that(|record| record.path == "/slow").await;
    assert!(record.latency < Duration::from_secs(3600), "{record:?}");
}
