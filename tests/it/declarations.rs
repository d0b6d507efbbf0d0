//! `agent-vault apply` and `export`: what is declared is made once, and a broken declaration changes nothing.

use std::io::Write as _;

use crate::stage::instance::Instance;

const DECLARATION: &str = "\
agents:
  - {name: coder, role: no-access}
vaults:
  - name: declared
    unmatched_host_policy: deny
    credentials:
      PAY_KEY: {file: pay.key}
    services:
      - {name: pay, host: api.pay.example, auth: {type: bearer, token: PAY_KEY}}
      - {name: old, host: api.old.example, auth: {type: passthrough}}
    agents: {coder: proxy}
";

#[test]
fn what_is_declared_is_made_once() {
    let instance = Instance::builder().start();
    instance.register();
    let folder = instance.home().join("declaration");
    std::fs::create_dir(&folder).expect("a folder");
    let write = |name: &str, text: &str| {
        let mut file = std::fs::File::create(folder.join(name)).expect("a file");
        file.write_all(text.as_bytes()).expect("its text");
    };
    write("vault.yaml", DECLARATION);
    write("pay.key", "canary-of-the-pay-key\n");
    let file = folder.join("vault.yaml").display().to_string();
    let apply = |more: &[&str]| {
        let arguments = [&["apply", "-f", file.as_str()], more].concat();
        instance.person(&arguments)
    };

    // A plan says everything, changes nothing, and tells by its exit code that there is something.
    let plan = apply(&["--plan"]).fail(3);
    for said in [
        "agent \"coder\"",
        "vault \"declared\"",
        "PAY_KEY",
        "+pay",
        "coder: proxy",
    ] {
        assert!(plan.stderr.contains(said), "{said}: {plan:?}");
    }
    let vaults = instance.person(&["vault", "list"]).succeed();
    assert!(!vaults.stdout.contains("declared"), "{vaults:?}");

    apply(&[]).succeed();
    apply(&["--plan"])
        .succeed()
        .says(&["everything is as declared"]);
    let again = apply(&["--json"]).succeed();
    assert!(again.stdout.contains("\"changes\":[]"), "{again:?}");
    let value = instance
        .person(&[
            "vault",
            "credential",
            "get",
            "PAY_KEY",
            "--vault",
            "declared",
        ])
        .succeed();
    assert_eq!(value.stdout, "canary-of-the-pay-key");

    // What is not named stays, unless it is to be pruned; that is asked for.
    let fewer = DECLARATION.replace(
        "      - {name: old, host: api.old.example, auth: {type: passthrough}}\n",
        "",
    );
    write("vault.yaml", &fewer);
    apply(&["--plan"]).succeed();
    apply(&["--prune"]).fail(1).says(&["--yes"]);
    apply(&["--prune", "--yes"]).succeed();
    let services = instance
        .person(&["vault", "service", "list", "--vault", "declared"])
        .succeed();
    assert!(services.stdout.contains("name: pay"), "{services:?}");
    assert!(!services.stdout.contains("name: old"), "{services:?}");

    // A mistake anywhere changes nothing anywhere.
    let broken = fewer
        .replace("policy: deny", "policy: passthrough")
        .replace("token: PAY_KEY", "token: pay key");
    write("vault.yaml", &broken);
    let refused = apply(&["--yes"]).fail(1);
    refused.says(&[
        "line 9",
        "vaults[0].services[0].auth.token",
        "nothing was changed",
    ]);
    let settings = instance
        .person(&["vault", "settings", "--vault", "declared"])
        .succeed();
    assert!(settings.stdout.contains("deny"), "{settings:?}");

    // What is exported declares what is there, without values.
    let exported = instance
        .person(&["export", "--vault", "declared"])
        .succeed();
    assert!(!exported.stdout.contains("canary"), "{exported:?}");
    write("vault.yaml", &exported.stdout);
    apply(&["--plan", "--prune"]).succeed();
}
