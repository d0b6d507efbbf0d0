//! `agent-vault vault service set`: replaces the list, and says before what that changes.

use std::collections::BTreeMap;
use std::path::Path;

use http::Method;
use serde_json::{Map, Value, json};

use super::{file, list};
use crate::cli::{App, Target, Yes};
use crate::client::Call;
use crate::error::Result;
use crate::ui::Ui;
use crate::vault_choice::vault_path;

pub(super) async fn run(
    app: &App,
    target: &Target,
    path: &Path,
    dry_run: bool,
    yes: Yes,
) -> Result {
    // The file is right before anybody is asked anything.
    let drafts = file::read(app, path, file::Names::Required)?;
    let wanted = file::wire(&drafts)?;
    let (connection, vault) = super::super::open(app, target).await?;
    let present = list::fetch(app, &connection, &vault).await?;
    let change = Change::between(&present.services, &wanted);
    for name in &change.added {
        app.ui.progress(&format!("{} {name}", Ui::green("+")));
    }
    for name in &change.changed {
        app.ui.progress(&format!("~ {name}"));
    }
    for name in &change.removed {
        app.ui.progress(&format!("{} {name}", Ui::red("-")));
    }
    if dry_run {
        app.ui.note("dry run: nothing was changed");
        return Ok(());
    }
    if !change.removed.is_empty() {
        let question = format!(
            "This removes {} of {} services of vault \"{vault}\".",
            change.removed.len(),
            present.services.len()
        );
        app.ui.confirm(&question, yes.yes)?;
    }
    let call = Call::new(Method::PUT, vault_path(&vault).literal("/services"))
        .json(&json!({"services": wanted}));
    connection.send(app, call).await?;
    app.ui
        .success(&format!("vault \"{vault}\" has {} services", wanted.len()))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Change {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}

impl Change {
    fn between(present: &[Map<String, Value>], wanted: &[Value]) -> Change {
        let name = |v: &Value| {
            v.get("name")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let mut left: BTreeMap<String, Value> = present
            .iter()
            .map(|s| Value::Object(s.clone()))
            .map(|v| (name(&v), v))
            .collect();
        let mut change = Change::default();
        for service in wanted {
            match left.remove(&name(service)) {
                None => change.added.push(name(service)),
                Some(old) if old != *service => change.changed.push(name(service)),
                Some(_) => {}
            }
        }
        change.removed = left.into_keys().collect();
        change
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Change;

    #[test]
    fn the_difference_is_named() {
        let object = |v: serde_json::Value| v.as_object().unwrap().clone();
        let present = [
            object(json!({"name": "a", "host": "x"})),
            object(json!({"name": "b", "host": "y"})),
            object(json!({"name": "c"})),
        ];
        let change = Change::between(
            &present,
            &[
                json!({"name": "a", "host": "x"}),
                json!({"name": "b", "host": "z"}),
                json!({"name": "d"}),
            ],
        );
        assert_eq!(change.added, ["d"]);
        assert_eq!(change.changed, ["b"]);
        assert_eq!(change.removed, ["c"]);
    }
}
