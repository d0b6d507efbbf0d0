//! Many agents at once, some of whom leave in the middle: nobody gets another's answer, and everything is given back.

use agent_vault_testing::{Upstream, client};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::task::JoinSet;

use crate::fixture::{Agent, HOST, Stage, Way};

/// A small generator, so that each run does the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

const AGENTS: u64 = 12;
const REQUESTS: u64 = 60;

async fn one_agent(mut agent: Agent, seed: u64) -> u64 {
    let mut dice = Dice(seed);
    let mut whole = 0;
    for number in 0..REQUESTS {
        let mark = format!("{seed}-{number}");
        let size = usize::try_from(dice.roll(40_000)).unwrap();
        let body = format!("{mark}:{}", "b".repeat(size));
        match dice.roll(6) {
            // Leaves before or while the answer comes. Over HTTP/1.1 that costs the connection.
            0 if agent.way.is_h2() => {
                let response = agent
                    .send("GET", "/bytes/3000000", &[], client::empty())
                    .await
                    .unwrap();
                let mut body = response.into_body();
                if dice.roll(2) == 0 {
                    body.frame().await.unwrap().unwrap();
                }
            }
            1 => {
                let answer = agent.get(&format!("/status/404?{mark}"), &[]).await;
                assert_eq!(answer.status, 404);
            }
            2 => {
                let length = dice.roll(200_000);
                let answer = agent.get(&format!("/chunks/{length}"), &[]).await;
                assert_eq!(answer.body.len() as u64, length);
            }
            _ => {
                let answer = agent
                    .ask(
                        "POST",
                        "/echo",
                        &[("x-mark", &mark)],
                        client::full(body.clone()),
                    )
                    .await
                    .unwrap();
                let echo = answer.json();
                assert_eq!(echo["headers"]["x-mark"], mark);
                assert_eq!(echo["body"], body);
                whole += 1;
            }
        }
    }
    whole
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_anothers_answer_and_all_is_given_back() {
    let h1 = Upstream::builder()
        .name(HOST)
        .alpn(agent_vault_testing::Alpn::H1Only)
        .start();
    let h2 = Upstream::builder().name(HOST).start();
    let stage = Stage::builder()
        .trusting(&h1)
        .trusting(&h2)
        .credential("TOKEN", "sk-secret-value-of-the-vault")
        .service(json!({"name": "bearer", "host": HOST,
            "auth": {"type": "bearer", "token": "TOKEN"}}))
        .limits(None, Some(u32::try_from(AGENTS).unwrap()))
        .start()
        .await;
    let mut agents = JoinSet::new();
    for number in 0..AGENTS {
        let upstream = if number % 2 == 0 { &h1 } else { &h2 };
        let way = if number % 4 < 2 { Way::H1 } else { Way::H2 };
        let agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        agents.spawn(one_agent(agent, number + 1));
    }
    let mut whole = 0;
    while let Some(done) = agents.join_next().await {
        whole += done.unwrap();
    }
    let records = stage
        .logged(usize::try_from(AGENTS * REQUESTS).unwrap())
        .await;
    assert_eq!(records.len() as u64, AGENTS * REQUESTS);
    assert!(whole > AGENTS * REQUESTS / 3);
    for record in records {
        assert!(
            ["", "client_closed"].contains(&record.error_code),
            "{record:?}"
        );
    }
    // One h2 connection served them all, and over h1 no more than there were agents, but for those that were cut.
    assert_eq!(h2.connections(), 1);
    let cut = 2 * REQUESTS;
    assert!(h1.connections() <= AGENTS + cut, "{}", h1.connections());
    // Each place is free again.
    let mut agent = Agent::open(&stage, Way::H1, &h2.authority_of(HOST)).await;
    assert_eq!(agent.get("/", &[]).await.status, 200);
}
