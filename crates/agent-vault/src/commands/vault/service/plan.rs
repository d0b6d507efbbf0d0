//! Showing what a write of services would change, before it does.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Map, Value};

use crate::cli::App;
use crate::client::types::{Plan, PlannedChange};
use crate::client::{ApiPath, Call};
use crate::connect::Connection;
use crate::error::Result;
use crate::ui::Ui;

/// Asks the server what a write would do.
///
/// # Errors
/// What the write itself would be refused for.
pub(super) async fn ask(
    app: &App,
    connection: &Connection,
    method: Method,
    path: ApiPath,
    body: Option<&Value>,
) -> Result<Plan> {
    let mut call = Call::new(method, path.query("dry_run", true));
    if let Some(body) = body {
        call = call.json(body);
    }
    connection.send(app, call).await?.json()
}

/// Prints a plan, a service at a time, with the fields that differ.
pub(super) fn show(app: &App, plan: &Plan) {
    for line in plan.changes.iter().flat_map(lines) {
        app.ui.progress(&line);
    }
    if plan.changes.is_empty() {
        app.ui.note("no service changes");
    }
}

/// Prints a plan that is all there will be.
pub(super) fn only(app: &App, plan: &Plan) -> Result {
    show(app, plan);
    app.ui.note("dry run: nothing was changed");
    Ok(())
}

/// One service of a plan, in lines.
pub(in crate::commands::vault) fn lines(change: &PlannedChange) -> Vec<String> {
    let empty = Map::new();
    let before = change.before.as_ref().unwrap_or(&empty);
    let after = change.after.as_ref().unwrap_or(&empty);
    let sign = match (&change.before, &change.after) {
        (None, _) => Ui::green("+"),
        (Some(_), None) => Ui::red("-"),
        (Some(_), Some(_)) => String::from("~"),
    };
    let mut lines = vec![format!("{sign} {}", change.name)];
    let fields: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for field in fields.into_iter().filter(|field| *field != "name") {
        let (old, new) = (before.get(field), after.get(field));
        if old == new {
            continue;
        }
        if let Some(old) = old.filter(|_| change.after.is_some()) {
            lines.push(format!("    {} {field}: {old}", Ui::red("-")));
        }
        if let Some(new) = new {
            lines.push(format!("    {} {field}: {new}", Ui::green("+")));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        let object = |value: Value| value.as_object().cloned();
        let change = PlannedChange {
            name: "one".into(),
            before: object(json!({"name": "one", "host": "a.example", "enabled": false})),
            after: object(json!({"name": "one", "host": "b.example", "enabled": false})),
        };
        let shown = lines(&change).join("\n");
        assert!(shown.contains("~ one"), "{shown}");
        assert!(shown.contains("host: \"a.example\""), "{shown}");
        assert!(shown.contains("host: \"b.example\""), "{shown}");
        assert!(!shown.contains("enabled"), "{shown}");
        let gone = PlannedChange {
            after: None,
            ..change
        };
        assert_eq!(lines(&gone).len(), 1);
    }
}
