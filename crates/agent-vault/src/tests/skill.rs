//! W1: the agent skill teaches what exists, and what the token that reads it may call.

use super::Shell;
use super::named_commands::{named, words};

/// What a vault token of the role `proxy` may call.
const PROXY: [&str; 5] = [
    "vault discover",
    "vault service test",
    "vault proposal create",
    "vault proposal show",
    "vault proposal list",
];
/// What takes the role `member`.
const MEMBER: [&str; 1] = ["vault credential set"];

#[test]
fn w1_the_skill_teaches_only_commands_that_exist_and_that_its_reader_may_call() {
    let skill = agent_vault_api::SKILL;
    let (for_all, for_members) = skill
        .split_once("(role `member` or above only)")
        .expect("the section for members");
    for (text, allowed) in [
        (for_all, PROXY.as_slice()),
        (for_members, MEMBER.as_slice()),
    ] {
        let commands = named(text);
        for wanted in allowed {
            assert!(
                commands
                    .iter()
                    .any(|c| c.starts_with(&format!("agent-vault {wanted}"))),
                "`{wanted}` is not taught"
            );
        }
        for command in commands {
            let typed = words(&command);
            assert!(
                allowed.contains(&typed.get(1..4).unwrap_or_default().join(" ").as_str())
                    || allowed.contains(&typed.get(1..3).unwrap_or_default().join(" ").as_str()),
                "`{command}` is not for the token that reads the skill"
            );
            if let Err(error) = crate::cli::definition().try_get_matches_from(&typed) {
                panic!("`{command}`: {error}");
            }
        }
    }
}

#[test]
fn the_skill_starts_with_its_front_matter_and_its_document_is_a_proposal() {
    let skill = agent_vault_api::SKILL;
    let front = skill
        .strip_prefix("---\n")
        .and_then(|rest| rest.split("\n---\n").next())
        .expect("front matter");
    for field in [
        "name: agent-vault-cli",
        "description: ",
        "compatibility: ",
        "author: ",
        "version: ",
    ] {
        assert!(front.lines().any(|line| line.starts_with(field)), "{field}");
    }
    let document = skill
        .split("```json\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a document");
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    for service in document["services"].as_array().unwrap() {
        serde_json::from_value::<agent_vault_control::ProposedService>(service.clone()).unwrap();
    }
}

#[tokio::test]
async fn the_skill_is_printed_as_it_is_served() {
    let done = Shell::new().run(&["skill"]).await;
    assert_eq!(done.code, 0);
    assert_eq!(done.out, agent_vault_api::SKILL);
}
