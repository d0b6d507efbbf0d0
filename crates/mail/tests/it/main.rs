//! Letters, and a mail server on loopback that takes them or does not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use agent_vault_mail::{Letter, MailServer, Smtp, SmtpError, TlsMode};
use agent_vault_policy::EgressPolicy;
use agent_vault_seal::SecretBytes;
use agent_vault_testing::smtp::{SmtpBehaviour, SmtpServer};
use agent_vault_upstream::{Dialer, DialerOptions, ExtraRoots, Limits, SystemResolver, Trust};
use zeroize::Zeroizing;

fn letter() -> Letter {
    Letter {
        to: "ada@x.io".to_owned(),
        subject: "Hello — there".to_owned(),
        text: Zeroizing::new("the code is 123456\n".to_owned()),
        html: Zeroizing::new("<p>the code is <b>123456</b></p>".to_owned()),
    }
}

struct Way {
    roots: Option<String>,
    verify: bool,
    allow_private: bool,
}

impl Way {
    fn trusting(server: &SmtpServer) -> Self {
        Self {
            roots: Some(server.root()),
            verify: true,
            allow_private: true,
        }
    }
}

fn smtp(server: &SmtpServer, way: Way, shape: impl FnOnce(&mut MailServer)) -> Smtp {
    let root = way
        .roots
        .unwrap_or_else(|| agent_vault_testing::TestCa::new().pem());
    let trust = Trust::only(&ExtraRoots::parse("test", &root).unwrap()).unwrap();
    let tls = if way.verify {
        trust.client_config().unwrap()
    } else {
        trust.danger_unverified_client_config().unwrap()
    };
    let dialer = Dialer::new(DialerOptions {
        resolver: Arc::new(SystemResolver::new()),
        egress: EgressPolicy {
            allow_private: way.allow_private,
            allow: Vec::new(),
        },
        trust,
        proxy: None,
        limits: Limits::default(),
    })
    .unwrap();
    let mut settings = MailServer {
        host: "127.0.0.1".to_owned(),
        port: server.address().port(),
        tls: TlsMode::Opportunistic,
        login: None,
        from: "vault@x.example".to_owned(),
        from_name: "Agent Vault".to_owned(),
        hello: "client.example".to_owned(),
    };
    shape(&mut settings);
    Smtp::new(settings, dialer, Arc::new(tls)).unwrap()
}

fn login() -> Option<(String, SecretBytes)> {
    Some(("me".to_owned(), SecretBytes::from("s3cret-mail".to_owned())))
}

fn behaves(shape: impl FnOnce(&mut SmtpBehaviour)) -> SmtpBehaviour {
    let mut behaviour = SmtpBehaviour::default();
    shape(&mut behaviour);
    behaviour
}

#[tokio::test]
async fn a_letter_in_clear_where_nothing_else_is_offered() {
    let server = SmtpServer::start(SmtpBehaviour::default()).await;
    smtp(&server, Way::trusting(&server), |_| {})
        .send(&letter())
        .await
        .unwrap();
    let letters = server.wait_for(1).await;
    assert_eq!(letters[0].from, "vault@x.example");
    assert_eq!(letters[0].to, ["ada@x.io"]);
    assert!(!letters[0].encrypted);
    assert_eq!(letters[0].code().as_deref(), Some("123456"));
    let text = letters[0].readable();
    // M55: one recipient, a date, an id.
    for header in [
        "\nTo: ada@x.io\r",
        "\nDate: ",
        "\nMessage-ID: <",
        "text/html",
    ] {
        assert!(format!("\n{text}").contains(header), "{header:?} in {text}");
    }
    assert!(server.heard()[0].contains("client.example"));
}

#[tokio::test]
async fn starttls_then_login_then_the_letter() {
    let server = SmtpServer::start(behaves(|server| {
        server.starttls = true;
        server.login = Some(("me".to_owned(), "s3cret-mail".to_owned()));
    }))
    .await;
    let door = smtp(&server, Way::trusting(&server), |settings| {
        settings.tls = TlsMode::Required;
        settings.login = login();
    });
    door.send(&letter()).await.unwrap();
    let letters = server.wait_for(1).await;
    assert!(letters[0].encrypted);
    assert_eq!(letters[0].user.as_deref(), Some("me"));
    assert!(!format!("{door:?}").contains("s3cret"));
}

#[tokio::test]
async fn tls_that_is_required_and_not_offered_is_an_error() {
    let server = SmtpServer::start(SmtpBehaviour::default()).await;
    let refused = smtp(&server, Way::trusting(&server), |settings| {
        settings.tls = TlsMode::Required;
    })
    .send(&letter())
    .await
    .unwrap_err();
    assert!(refused.to_string().contains("STARTTLS"), "{refused}");
    assert!(server.letters().is_empty());
}

#[tokio::test]
async fn a_password_is_never_sent_in_clear() {
    let server = SmtpServer::start(behaves(|server| {
        server.login = Some(("me".to_owned(), "s3cret-mail".to_owned()));
    }))
    .await;
    let refused = smtp(&server, Way::trusting(&server), |settings| {
        settings.login = login();
    })
    .send(&letter())
    .await
    .unwrap_err();
    assert!(refused.to_string().contains("in clear"), "{refused}");
    assert!(!server.heard().iter().any(|line| line.starts_with("AUTH")));
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_refused_unless_the_operator_says_so() {
    let server = SmtpServer::start(behaves(|server| server.starttls = true)).await;
    let stranger = |verify| Way {
        roots: None,
        verify,
        allow_private: true,
    };
    let refused = smtp(&server, stranger(true), |_| {})
        .send(&letter())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("TLS"), "{refused}");
    smtp(&server, stranger(false), |_| {})
        .send(&letter())
        .await
        .unwrap();
    assert!(server.wait_for(1).await[0].encrypted);
}

#[tokio::test]
async fn what_was_slipped_in_before_tls_does_not_count() {
    let server = SmtpServer::start(behaves(|server| {
        server.starttls = true;
        server.injected = Some("250-evil\r\n250 AUTH PLAIN\r\n".to_owned());
    }))
    .await;
    let sent = smtp(&server, Way::trusting(&server), |_| {})
        .send(&letter())
        .await;
    // Either the handshake fails on it, or it is dropped: in no case is it taken for the server's word inside TLS.
    if sent.is_ok() {
        assert!(server.wait_for(1).await[0].encrypted);
    }
    assert!(!server.heard().iter().any(|line| line.starts_with("AUTH")));
}

#[tokio::test]
async fn what_the_server_refuses_is_told_in_its_words() {
    let server = SmtpServer::start(behaves(|server| {
        server.refuse = Some("no such mailbox here".to_owned());
    }))
    .await;
    let refused: SmtpError = smtp(&server, Way::trusting(&server), |_| {})
        .send(&letter())
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("no such mailbox here"),
        "{refused}"
    );
    assert!(!refused.to_string().contains("123456"));
    let wrong = SmtpServer::start(behaves(|server| {
        server.starttls = true;
        server.login = Some(("me".to_owned(), "another".to_owned()));
    }))
    .await;
    let refused = smtp(&wrong, Way::trusting(&wrong), |settings| {
        settings.login = login()
    })
    .send(&letter())
    .await
    .unwrap_err();
    assert!(refused.to_string().contains("535"), "{refused}");
    assert!(!refused.to_string().contains("s3cret"));
}

#[tokio::test]
async fn the_guard_holds_for_mail_too() {
    let server = SmtpServer::start(SmtpBehaviour::default()).await;
    let way = Way {
        allow_private: false,
        ..Way::trusting(&server)
    };
    let refused = smtp(&server, way, |_| {})
        .send(&letter())
        .await
        .unwrap_err();
    assert!(server.heard().is_empty(), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up() {
    let server = SmtpServer::start(behaves(|server| server.silent = true)).await;
    let refused = smtp(&server, Way::trusting(&server), |_| {})
        .send(&letter())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("within 45 s"), "{refused}");
}
