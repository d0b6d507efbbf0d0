//! What ends a token ends what it opened: at the next request, and in open tunnels, streams and WebSockets.

use agent_vault_testing::{Upstream, client, within};
use http_body_util::BodyExt as _;
use jiff::SignedDuration;
use tokio::io::AsyncReadExt as _;

use crate::doors::tunnel;
use crate::fixture::{Agent, Far, HOST, PATHS, Stage, Way, basic};

/// How a token comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Session,
    Grant,
    Agent,
    Vault,
}

struct Scene {
    stage: Stage,
    auth: String,
    hash: agent_vault_seal::TokenHash,
    record: agent_vault_broker::AgentRecord,
}

async fn scene(upstream: &Upstream) -> Scene {
    let stage = Stage::builder()
        .trusting(upstream)
        .bearer("sk-secret-value")
        .start()
        .await;
    let (token, record) = stage.agent("worker", &[stage.vault.id]);
    Scene {
        auth: basic(&format!("{}:main", token.expose())),
        hash: token.hash(),
        stage,
        record,
    }
}

impl Scene {
    fn end(&self, how: End) {
        let broker = &self.stage.broker;
        match how {
            End::Session => broker.drop_sessions(|session| session.token == self.hash),
            End::Grant => {
                let mut record = self.record.clone();
                record.grants.clear();
                broker.put_agent(record);
            }
            End::Agent => {
                let mut record = self.record.clone();
                record.active = false;
                broker.put_agent(record);
            }
            End::Vault => broker.drop_vault(self.stage.vault.id),
        }
    }
}

const ENDS: [End; 4] = [End::Session, End::Grant, End::Agent, End::Vault];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_connection_serves_no_further_request() {
    for (way, far) in PATHS {
        let upstream = far.start();
        for how in ENDS {
            let scene = scene(&upstream).await;
            let mut agent =
                Agent::with_auth(&scene.stage, way, &upstream.authority_of(HOST), &scene.auth)
                    .await
                    .unwrap();
            assert_eq!(agent.get("/", &[]).await.status, 200);
            upstream.clear();
            scene.end(how);
            // Refused, or cut before it could be.
            if let Ok(answer) = agent.ask("GET", "/after", &[], client::empty()).await {
                assert!(
                    [403, 407, 400].contains(&answer.status.as_u16()),
                    "{way:?} {far:?} {how:?} {}",
                    answer.received()
                );
            }
            assert!(
                upstream.latest("/after").is_none(),
                "{way:?} {far:?} {how:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_end() {
    for (way, far) in PATHS {
        let upstream = far.start();
        for how in ENDS {
            let scene = scene(&upstream).await;
            let mut agent =
                Agent::with_auth(&scene.stage, way, &upstream.authority_of(HOST), &scene.auth)
                    .await
                    .unwrap();
            let response = agent
                .send("GET", "/sse?n=100", &[], client::empty())
                .await
                .unwrap();
            let mut body = response.into_body();
            upstream.gate("gate").release(1);
            within("an event", body.frame()).await.unwrap().unwrap();
            scene.end(how);
            let rest = within("the stream to end", body.collect()).await;
            assert!(
                rest.is_err(),
                "{way:?} {far:?} {how:?}: a cut stream is no complete one"
            );
            let seen = upstream.requests().pop().unwrap();
            seen.ended().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_websockets_end() {
    for (way, far) in PATHS {
        let upstream = far.start();
        for how in ENDS {
            let scene = scene(&upstream).await;
            let authority = upstream.authority_of(HOST);
            let mut agent = Agent::with_auth(&scene.stage, way, &authority, &scene.auth)
                .await
                .unwrap();
            assert_eq!(agent.get("/", &[]).await.status, 200);
            let (mut socket, _) = crate::upgrades::open(&mut agent, "/ws", &[])
                .await
                .unwrap()
                .unwrap();
            socket.send_text("x").await.unwrap();
            assert_eq!(socket.expect_text().await, "x");
            let seen = upstream.latest("/ws").unwrap();
            scene.end(how);
            within("the socket to end", async {
                while let Ok(Some(_)) = socket.next().await {}
            })
            .await;
            seen.ended().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_not_touched() {
    let upstream = Far::H1.start();
    let scene = scene(&upstream).await;
    let mut other = Agent::open(&scene.stage, Way::H1, &upstream.authority_of(HOST)).await;
    let response = other
        .send("GET", "/sse?n=2", &[], client::empty())
        .await
        .unwrap();
    let mut body = response.into_body();
    scene.end(End::Session);
    scene.end(End::Agent);
    scene.stage.publish();
    for _ in 0..2 {
        upstream.gate("gate").release(1);
        within("an event", body.frame()).await.unwrap().unwrap();
    }
    drop(body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_tunnel_ends_with_its_token() {
    let upstream = Far::H1.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let mut stream = tunnel(&stage, &upstream.authority_of(HOST)).await;
    stage.broker.drop_sessions(|_| true);
    let mut rest = Vec::new();
    // Closed cleanly or not: closed.
    let _ = within("the tunnel to end", stream.read_to_end(&mut rest)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expiry_bites_at_the_next_request() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .bearer("sk-secret-value")
            .start()
            .await;
        let token = agent_vault_seal::Token::generate(agent_vault_seal::TokenKind::Scoped).unwrap();
        let mut record = crate::fixture::scoped(&token, stage.vault.id);
        record.expires_at = Some(stage.clock.now() + SignedDuration::from_secs(60));
        stage.broker.put_session(record);
        let auth = basic(token.expose());
        let mut agent = Agent::with_auth(&stage, way, &upstream.authority_of(HOST), &auth)
            .await
            .unwrap();
        assert_eq!(agent.get("/", &[]).await.status, 200);
        stage.clock.advance(SignedDuration::from_secs(60));
        assert_eq!(
            agent.get("/", &[]).await.status,
            200,
            "not yet strictly after"
        );
        stage.clock.advance(SignedDuration::from_secs(1));
        if let Ok(answer) = agent.ask("GET", "/after", &[], client::empty()).await {
            assert_eq!(answer.status, 407, "{way:?} {far:?}");
        }
        assert!(upstream.latest("/after").is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expiry_ends_open_streams() {
    let upstream = Far::H1.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let token = agent_vault_seal::Token::generate(agent_vault_seal::TokenKind::Scoped).unwrap();
    let mut record = crate::fixture::scoped(&token, stage.vault.id);
    record.expires_at = Some(stage.clock.now() + SignedDuration::from_secs(60));
    stage.broker.put_session(record);
    let auth = basic(token.expose());
    let mut agent = Agent::with_auth(&stage, Way::H2, &upstream.authority_of(HOST), &auth)
        .await
        .unwrap();
    let response = agent
        .send("GET", "/sse", &[], client::empty())
        .await
        .unwrap();
    stage.clock.advance(SignedDuration::from_secs(61));
    // Noticed at the connection's next look at the clock, or when anything changes.
    stage.session(stage.vault.id);
    assert!(
        within("the stream to end", response.into_body().collect())
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_lets_open_exchanges_end_and_takes_no_new_ones() {
    let upstream = Far::H1.start();
    let mut stage = Stage::builder().trusting(&upstream).start().await;
    let mut agent = Agent::open(&stage, Way::H1, &upstream.authority_of(HOST)).await;
    let mut idle = Agent::open(&stage, Way::H2, &upstream.authority_of(HOST)).await;
    assert_eq!(idle.get("/", &[]).await.status, 200);
    let asking = tokio::spawn(async move { agent.get("/slow", &[]).await });
    upstream.gate("gate").arrived(1).await;
    stage.closing.cancel();
    upstream.gate("gate").release(1);
    assert_eq!(asking.await.unwrap().status, 200);
    within("the proxy to end", stage.serving.take().unwrap())
        .await
        .unwrap();
    assert!(client::dial(stage.addr).await.is_err());
    within("upstream connections to end", stage.upstream.close()).await;
}
