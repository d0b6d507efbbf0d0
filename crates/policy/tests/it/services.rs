//! What a service may say, in JSON and in YAML, and how errors name the place.

use agent_vault_policy::{Service, ServiceDraft, ServiceError, Surface, ValidationOptions};
use serde_json::json;

fn check(json: &str) -> Result<Service, ServiceError> {
    Service::from_draft(
        ServiceDraft::from_json(json)?,
        &ValidationOptions::default(),
    )
}

/// The service file of the documentation.
const FILE: &str = r#"
services:
  - {name: pay, host: api.pay.example, auth: {type: bearer, token: PAY_KEY}}
  - {name: tracker, host: "*.tracker.example", auth: {type: basic, username: TRK_USER, password: TRK_TOKEN}}
  - name: llm
    host: api.llm.example:8443/v1/*
    auth: {type: api-key, key: LLM_KEY, header: x-api-key, prefix: ""}
  - name: pager
    host: api.pager.example
    enabled: false
    auth: {type: custom, headers: {Authorization: "Token token={{ PAGER_KEY }}", X-Team: "{{ TEAM_ID }}"}}
  - name: bot
    host: api.bot.example
    auth: {type: passthrough}
    substitutions: [{key: BOT_TOKEN, placeholder: __bot_token__, in: [path]}]
  - name: apart
    host: api.apart.example
    port: 8443
    path: /v1/*
    require_tls: false
    scrub: {enabled: false, undecodable: pass}
    select: {agents: [bot-1], placeholder: ghp_00000000}
    auth: {type: bearer, token: APART}
"#;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    services: Vec<ServiceDraft>,
}

fn from_yaml(text: &str) -> Result<Vec<Service>, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    Service::list_from_drafts(file.services, &ValidationOptions::default())
        .map_err(|error| error.to_string())
}

#[test]
fn the_documented_file_reads_and_has_its_wire_form() {
    let services = from_yaml(FILE).unwrap();
    let wire: Vec<_> = services.iter().map(Service::to_wire).collect();
    assert_eq!(
        wire,
        [
            json!({"name":"pay","host":"api.pay.example","auth":{"type":"bearer","token":"PAY_KEY"}}),
            json!({"name":"tracker","host":"*.tracker.example","auth":{"type":"basic","username":"TRK_USER","password":"TRK_TOKEN"}}),
            json!({"name":"llm","host":"api.llm.example:8443/v1/*","auth":{"type":"api-key","key":"LLM_KEY","header":"x-api-key"}}),
            json!({"name":"pager","host":"api.pager.example","enabled":false,
                "auth":{"type":"custom","headers":{"Authorization":"Token token={{ PAGER_KEY }}","X-Team":"{{ TEAM_ID }}"}}}),
            json!({"name":"bot","host":"api.bot.example","auth":{"type":"passthrough"},
                "substitutions":[{"key":"BOT_TOKEN","placeholder":"__bot_token__","in":["path"]}]}),
            json!({"name":"apart","host":"api.apart.example:8443/v1/*","auth":{"type":"bearer","token":"APART"},
                "require_tls":false,"scrub":{"enabled":false,"undecodable":"pass"},"select":{"agents":["bot-1"],"placeholder":"ghp_00000000"}}),
        ]
    );
    let json = Service::list_to_json(&services);
    assert_eq!(
        Service::list_from_json(&json, &ValidationOptions::default()).unwrap(),
        services
    );
    // JSON is YAML.
    assert_eq!(
        from_yaml(&format!("{{\"services\":{json}}}")).unwrap(),
        services
    );
    // Drafts write YAML that reads back.
    let drafts: Vec<ServiceDraft> = services.iter().map(ServiceDraft::from).collect();
    let yaml = serde_saphyr::to_string(&json!({ "services": drafts })).unwrap();
    assert_eq!(from_yaml(&yaml).unwrap(), services);
}

#[test]
fn keys_in_order_each_once() {
    let service = check(
        r#"{"name":"one","host":"api.x.com","auth":{"type":"custom","headers":{"X-A":"{{ B }}{{ A }}","X-B":"{{ B }}"}},
            "substitutions":[{"key":"C","placeholder":"__c__"},{"key":"A","placeholder":"__a__"}]}"#,
    )
    .unwrap();
    let keys: Vec<String> = service.keys().iter().map(ToString::to_string).collect();
    assert_eq!(keys, ["B", "A", "C"]);
}

#[test]
fn surfaces_default_to_path_and_query() {
    for given in ["", r#","in":[]"#, r#","in":null"#] {
        let service = check(&format!(
            r#"{{"name":"one","host":"api.x.com","auth":{{"type":"passthrough"}},"substitutions":[{{"key":"C","placeholder":"__c__"{given}}}]}}"#
        ))
        .unwrap();
        let surfaces: Vec<Surface> = service.substitutions[0].surfaces.iter().collect();
        assert_eq!(surfaces, [Surface::Path, Surface::Query]);
    }
}

#[test]
fn errors_name_the_field() {
    let auth = |auth: &str| format!(r#"{{"name":"one","host":"api.x.com","auth":{auth}}}"#);
    let host =
        |host: &str| format!(r#"{{"name":"one","host":"{host}","auth":{{"type":"passthrough"}}}}"#);
    let sub = |sub: &str| {
        format!(
            r#"{{"name":"one","host":"api.x.com","auth":{{"type":"passthrough"}},"substitutions":[{sub}]}}"#
        )
    };
    for (json, field) in [
        ("{}".to_owned(), "name"),
        (r#"{"name":"A b","host":"a.com"}"#.to_owned(), "name"),
        (r#"{"name":"one","auth":{"type":"passthrough"}}"#.to_owned(), "host"),
        (r#"{"name":"one","host":"api.x.com"}"#.to_owned(), "auth"),
        (host("  "), "host"),
        (host("1.2.3.4"), "host"),
        (host("localhost"), "host"),
        (host("*"), "host"),
        (host("*.com"), "host"),
        (host("api.x.com:0"), "host"),
        (host("api.x.com:70000"), "host"),
        (host("api.x.com:x"), "host"),
        (host("api.x.com/a/**"), "host"),
        (host("api.x.com/a/../b"), "host"),
        (host("user@api.x.com"), "host"),
        (host("https://api.x.com"), "host"),
        (r#"{"name":"one","host":"a.com:1","port":2,"auth":{"type":"passthrough"}}"#.to_owned(), "port"),
        (r#"{"name":"one","host":"a.com","port":0,"auth":{"type":"passthrough"}}"#.to_owned(), "port"),
        (r#"{"name":"one","host":"a.com","port":-1,"auth":{"type":"passthrough"}}"#.to_owned(), "port"),
        (r#"{"name":"one","host":"a.com/x","path":"/y","auth":{"type":"passthrough"}}"#.to_owned(), "path"),
        (r#"{"name":"one","host":"a.com","path":"y","auth":{"type":"passthrough"}}"#.to_owned(), "path"),
        (auth("{}"), "auth.type"),
        (auth(r#"{"type":"magic"}"#), "auth.type"),
        (auth(r#"{"type":"bearer"}"#), "auth.token"),
        (auth(r#"{"type":"bearer","token":"sk_live_abc"}"#), "auth.token"),
        (auth(r#"{"type":"bearer","token":"A","username":"B"}"#), "auth.username"),
        (auth(r#"{"type":"basic","password":"B"}"#), "auth.username"),
        (auth(r#"{"type":"passthrough","token":"A"}"#), "auth.token"),
        (auth(r#"{"type":"api-key","key":"A","header":"X Y"}"#), "auth.header"),
        (auth(r#"{"type":"api-key","key":"A","header":"X-A\r\nB: c"}"#), "auth.header"),
        (auth(r#"{"type":"api-key","key":"A","header":"Host"}"#), "auth.header"),
        (auth(r#"{"type":"api-key","key":"A","prefix":"a\r\nb"}"#), "auth.prefix"),
        (auth(r#"{"type":"custom"}"#), "auth.headers"),
        (auth(r#"{"type":"custom","headers":{}}"#), "auth.headers"),
        (auth(r#"{"type":"custom","headers":{"Content-Length":"1"}}"#), "auth.headers.Content-Length"),
        (auth(r#"{"type":"custom","headers":{"X_Y":"1"}}"#), "auth.headers.X_Y"),
        (auth(r#"{"type":"custom","headers":{"X":"a\r\nb"}}"#), "auth.headers.X"),
        (auth(r#"{"type":"custom","headers":{"X":"{{ lower }}"}}"#), "auth.headers.X"),
        (sub(r#"{"placeholder":"__a__"}"#), "substitutions[0].key"),
        (sub(r#"{"key":"A"}"#), "substitutions[0].placeholder"),
        (sub(r#"{"key":"A","placeholder":"___"}"#), "substitutions[0].placeholder"),
        (sub(r#"{"key":"A","placeholder":"____"}"#), "substitutions[0].placeholder"),
        (sub(r#"{"key":"A","placeholder":"word"}"#), "substitutions[0].placeholder"),
        (sub(r#"{"key":"A","placeholder":"_word_"}"#), "substitutions[0].placeholder"),
        (sub(r#"{"key":"A","placeholder":"__a b__"}"#), "substitutions[0].placeholder"),
        (sub(r#"{"key":"A","placeholder":"{{ab}}"}"#), "substitutions[0].placeholder"),
        (sub(r#"{"key":"A","placeholder":"__a__","in":["path","cookie"]}"#), "substitutions[0].in[1]"),
        (sub(r#"{"key":"A","placeholder":"__a__","in":["path","path"]}"#), "substitutions[0].in[1]"),
        (sub(r#"{"key":"A","placeholder":"__a__"},{"key":"B","placeholder":"__a__"}"#), "substitutions[1].placeholder"),
        (sub(r#"{"key":"A","placeholder":"__a__","in":["path"],"headers":["X-A"]}"#), "substitutions[0].headers"),
        (sub(r#"{"key":"A","placeholder":"__a__","in":["header"],"headers":["X A"]}"#), "substitutions[0].headers[0]"),
        (r#"{"name":"one","host":"a.com","auth":{"type":"passthrough"},"select":{"agents":["A"]}}"#.to_owned(), "select.agents[0]"),
        (r#"{"name":"one","host":"a.com","auth":{"type":"passthrough"},"select":{"placeholder":"a b"}}"#.to_owned(), "select.placeholder"),
        (r#"{"name":"one","host":"a.com","auth":{"type":"passthrough"},"scrub":{"undecodable":"Pass"}}"#.to_owned(), "scrub.undecodable"),
        // Unknown, repeated, other case, wrong type.
        (r#"{"name":"one","scrub":{"enabled":"no"}}"#.to_owned(), "scrub.enabled"),
        (r#"{"name":"one","scrub":{"on":true}}"#.to_owned(), "scrub.on"),
        (r#"{"name":"one","description":"x"}"#.to_owned(), "description"),
        (r#"{"name":"one","Host":"a.com"}"#.to_owned(), "Host"),
        (auth(r#"{"type":"bearer","tokn":"A"}"#), "auth.tokn"),
        (auth(r#"{"type":7}"#), "auth.type"),
    ] {
        let error = check(&json).unwrap_err();
        assert_eq!(error.field, field, "{json}: {error}");
        assert!(!error.to_string().contains("sk_live"), "{error}");
    }
}

#[test]
fn h50_repeated_names_are_errors() {
    for json in [
        r#"{"name":"one","name":"two"}"#,
        r#"{"host":"a.com","auth":{"type":"bearer","token":"A","token":"B"}}"#,
        r#"{"auth":{"type":"custom","headers":{"X":"1","x":"2"}}}"#,
        r#"{"substitutions":[{"key":"A","key":"B"}]}"#,
    ] {
        let error = ServiceDraft::from_json(json).unwrap_err();
        assert!(error.message.contains("duplicate"), "{json}: {error}");
        let yaml: Result<ServiceDraft, _> = serde_saphyr::from_str(json);
        assert!(yaml.is_err(), "{json}");
    }
    assert!(ServiceDraft::from_json("{} {}").is_err());
    assert!(ServiceDraft::from_json("").is_err());
}

#[test]
fn lists_name_the_entry() {
    let error = from_yaml("services:\n  - {name: one, host: a.com, auth: {type: passthrough}}\n  - {name: two, host: b.com, auth: {type: bearer}}").unwrap_err();
    assert!(error.starts_with("services[1].auth.token: "), "{error}");
    let twice = from_yaml("services:\n  - {name: one, host: a.com, auth: {type: passthrough}}\n  - {name: one, host: b.com, auth: {type: passthrough}}").unwrap_err();
    assert!(twice.starts_with("services[1].name: "), "{twice}");
    let error = Service::list_from_json(
        r#"[{"name":"one","host":"a.com","auth":{"type":"bearer","tokn":"A"}}]"#,
        &ValidationOptions::default(),
    )
    .unwrap_err();
    assert_eq!(error.field, "services[0].auth.tokn", "{error}");
    for broken in ["", "null", "{}", "[", "[1]", r#"[{"name":"one"}]"#] {
        assert!(
            Service::list_from_json(broken, &ValidationOptions::stored()).is_err(),
            "{broken}"
        );
    }
    assert_eq!(
        Service::list_from_json("[]", &ValidationOptions::stored()).unwrap(),
        []
    );
}

#[test]
fn yaml_errors_name_the_line() {
    let error =
        from_yaml("services:\n  - name: one\n    host: a.com\n    auth: {type: bearer, tokn: A}\n")
            .unwrap_err();
    assert!(
        error.contains("tokn") && error.contains("line 4"),
        "{error}"
    );
}

#[test]
fn nameless_stored_rules_get_names() {
    let json = r#"[{"host":"api.x.com","auth":{"type":"passthrough"}},
        {"name":"","host":"api.x.com:8443/v1/*","auth":{"type":"passthrough"}},
        {"name":"api-y-com","host":"z.com","auth":{"type":"passthrough"}},
        {"host":"api.y.com","auth":{"type":"passthrough"}},
        {"host":"api.x.com","auth":{"type":"passthrough"}}]"#;
    let services = Service::list_from_json(json, &ValidationOptions::stored()).unwrap();
    let names: Vec<&str> = services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "api-x-com",
            "api-x-com-8443-v1",
            "api-y-com",
            "api-y-com-2",
            "api-x-com-2"
        ]
    );
}

#[test]
fn w42_development_mode_takes_this_machine() {
    for host in [
        "localhost:8443",
        "127.0.0.1:8443/v1/*",
        "[::1]:8443",
        "::1",
        "upstream",
    ] {
        let json = format!(r#"{{"name":"one","host":"{host}","auth":{{"type":"passthrough"}}}}"#);
        let draft = ServiceDraft::from_json(&json).unwrap();
        let service =
            Service::from_draft(draft.clone(), &ValidationOptions { dev_mode: true }).unwrap();
        let again = ServiceDraft::from(&service);
        assert_eq!(
            Service::from_draft(again, &ValidationOptions { dev_mode: true }).unwrap(),
            service
        );
        let error = Service::from_draft(draft, &ValidationOptions::default()).unwrap_err();
        assert!(
            error.hint.unwrap().contains("AGENT_VAULT_DEV_MODE"),
            "{host}"
        );
    }
}

#[test]
fn what_is_shown_is_short_and_printable() {
    let long = format!(r#"{{"name":"{}","host":"a.com"}}"#, "x\\u001b".repeat(1000));
    let error = check(&long).unwrap_err().to_string();
    assert!(error.len() < 1500 && !error.contains('\u{1b}'), "{error}");
}
