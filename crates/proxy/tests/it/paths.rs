//! One table of cases over every protocol path.

use agent_vault_testing::Canary;
use agent_vault_testing::client;

use crate::fixture::{Agent, Far, HOST, PATHS, Stage, Way};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thin_slice() {
    let upstream = Far::H1.start();
    let secret = Canary::new("sk-");
    let stage = Stage::builder()
        .trusting(&upstream)
        .bearer(secret.expose())
        .start()
        .await;
    let mut agent = Agent::open(&stage, Way::H1, &upstream.authority_of(HOST)).await;
    let answer = agent.get("/hello?x=1", &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.received());
    let seen = upstream.latest("/hello").unwrap();
    assert_eq!(
        seen.header("authorization").unwrap(),
        format!("Bearer {}", secret.expose())
    );
    let logged = stage.last_logged(1).await;
    assert_eq!(logged.status, 200);
    assert_eq!(logged.service.as_deref(), Some("bearer"));
    let _ = (client::empty(), PATHS);
}
