use proptest::prelude::*;

use super::*;

const VAULT: &str = "00000000-0000-0000-0000-000000000000";

fn placeholder(key: &str) -> String {
    for_key(b"instance", VAULT, key)
}

#[test]
fn shapes_pass_prefix_and_length_checks() {
    for (key, prefix, length) in [
        ("ANTHROPIC_API_KEY", "sk-ant-api03-", 108),
        ("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-", 108),
        ("OPENAI_API_KEY", "sk-proj-", 156),
        ("MY_OPENAI_KEY", "sk-proj-", 156),
        ("GITHUB_TOKEN", "ghp_", 40),
        ("GH_TOKEN", "ghp_", 40),
        ("GITHUB_PAT", "github_pat_", 93),
        ("GITLAB_TOKEN", "glpat-", 26),
        ("SLACK_BOT_TOKEN", "xoxb-", 54),
        ("STRIPE_SECRET_KEY", "sk_test_", 107),
        ("SENDGRID_API_KEY", "SG.", 69),
        ("GEMINI_API_KEY", "AIza", 39),
        ("GOOGLE_API_KEY", "AIza", 39),
        ("HF_TOKEN", "hf_", 37),
        ("GROQ_API_KEY", "gsk_", 56),
        ("NPM_TOKEN", "npm_", 40),
        ("AWS_ACCESS_KEY_ID", "AKIA", 20),
        ("AWS_SECRET_ACCESS_KEY", "", 40),
        ("RESEND_API_KEY", "re_", 38),
        ("REPLICATE_API_TOKEN", "r8_", 40),
        ("PERPLEXITY_API_KEY", "pplx-", 53),
        ("XAI_API_KEY", "xai-", 84),
        ("OPENROUTER_API_KEY", "sk-or-v1-", 73),
        ("POSTMARK_SERVER_TOKEN", "", 36),
        ("INTERNAL_THING", "av_ph__", 50),
    ] {
        let text = placeholder(key);
        assert!(text.starts_with(prefix), "{key}: {text}");
        assert_eq!(text.len(), length, "{key}: {text}");
    }
}

#[test]
fn a_word_must_be_whole() {
    assert!(placeholder("XGITHUBX_TOKEN").starts_with("av_ph__"));
    assert!(placeholder("MAXAIM").starts_with("av_ph__"));
}

#[test]
fn every_shape_is_ours_bounded_and_unreserved() {
    let names = SHAPES.iter().map(|(name, _)| match *name {
        Name::Is(name) | Name::Has(name) => name,
    });
    for name in names.chain(["OTHER"]) {
        let text = placeholder(name);
        assert!(is_placeholder(&text), "{name}: {text}");
        assert!(
            (20..=MAX_PLACEHOLDER_BYTES).contains(&text.len()),
            "{name}: {text}"
        );
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)),
            "{name}: {text}"
        );
    }
    assert!(!is_placeholder("sk-ant-api03-realkey"));
}

proptest! {
    #[test]
    fn repeatable_and_different_everywhere(key in "[A-Z][A-Z0-9_]{0,40}", a in "[a-z0-9-]{1,36}", b in "[a-z0-9-]{1,36}") {
        let here = for_key(b"one", &a, &key);
        prop_assert_eq!(&here, &for_key(b"one", &a, &key));
        prop_assert_ne!(&here, &for_key(b"two", &a, &key));
        if a != b {
            prop_assert_ne!(&here, &for_key(b"one", &b, &key));
        }
    }
}
