use super::*;

fn json(status: u16, body: &str) -> Result<Tokens, TokenFault> {
    read(
        StatusCode::from_u16(status).unwrap(),
        &HeaderMap::new(),
        body.as_bytes(),
    )
}

#[test]
fn lives_are_numbers_or_strings_of_digits() {
    for (given, life) in [
        ("3600", Some(3600)),
        ("\"3600\"", Some(3600)),
        ("3599.9", Some(3599)),
        ("0", None),
        ("-5", None),
        ("\"soon\"", None),
        ("null", None),
        ("[]", None),
        ("1e300", Some(MAX_LIFE_SECONDS)),
    ] {
        let tokens = json(
            200,
            &format!(r#"{{"access_token":"a","expires_in":{given}}}"#),
        )
        .unwrap();
        assert_eq!(tokens.expires_in, life, "{given}");
        assert!(tokens.refresh.is_none());
    }
    assert_eq!(
        json(200, r#"{"access_token":"a"}"#).unwrap().expires_in,
        None
    );
}

#[test]
fn h14_c6_an_error_with_status_200_is_an_error() {
    for (body, permanent, says) in [
        (
            r#"{"error":"bad_refresh_token","error_description":"canary"}"#,
            true,
            "bad_refresh_token",
        ),
        (
            r#"{"ok":false,"error":"invalid_refresh_token"}"#,
            true,
            "invalid_refresh_token",
        ),
        (r#"{"error":"canary-0123"}"#, true, "status 200"),
        (r#"{"error":{"message":"canary"}}"#, true, "status 200"),
        (
            r#"{"error":"temporarily_unavailable"}"#,
            false,
            "temporarily",
        ),
        (r#"{"access_token":""}"#, false, "no access token"),
        (r#"{"token":"x"}"#, false, "no access token"),
        ("[]", false, "no access token"),
        ("<html>canary</html>", false, "no JSON object"),
        ("{\"access_token\":\"a\\nb\"}", false, "cannot be sent"),
    ] {
        let fault = json(200, body).unwrap_err();
        assert_eq!(fault.permanent, permanent, "{body}");
        assert!(fault.message.contains(says), "{body}: {fault}");
        assert!(!fault.message.contains("canary"), "{fault}");
    }
}

#[test]
fn what_a_person_must_mend_is_told_from_what_passes() {
    for (status, permanent) in [
        (400, true),
        (401, true),
        (403, true),
        (408, false),
        (429, false),
        (500, false),
        (503, false),
    ] {
        let fault = json(status, r#"{"error_description":"canary"}"#).unwrap_err();
        assert_eq!(fault.permanent, permanent, "{status}");
        assert!(fault.message.contains(&status.to_string()));
    }
    assert!(
        json(400, r#"{"error":"invalid_grant"}"#)
            .unwrap_err()
            .message
            .contains("invalid_grant")
    );
}

#[test]
fn answers_in_the_form_of_a_form_are_read() {
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_TYPE,
        "application/x-www-form-urlencoded; charset=utf-8"
            .parse()
            .unwrap(),
    );
    let tokens = read(
        StatusCode::OK,
        &headers,
        b"access_token=a%2Bb&expires_in=60&refresh_token=r",
    )
    .unwrap();
    assert_eq!(tokens.access.expose(), b"a+b");
    assert_eq!(tokens.refresh.unwrap().expose(), b"r");
    assert_eq!(tokens.expires_in, Some(60));
    assert!(
        read(StatusCode::OK, &headers, b"error=invalid_grant")
            .unwrap_err()
            .permanent
    );
}
