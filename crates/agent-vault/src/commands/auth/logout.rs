//! `agent-vault auth logout`.

use http::Method;

use crate::cli::App;
use crate::client::Call;
use crate::connect::{Connection, Place, place};
use crate::error::Result;
use crate::profile;

/// Ends the login at the server that issued it, then forgets it here. A server that cannot be reached does not keep
/// anyone logged in on this machine.
pub(super) async fn run(app: &App, address: Option<&str>) -> Result {
    let home = profile::home(app)?;
    let found = match place(app, address) {
        Ok(Place::Server(address)) => match home.session_at(&address) {
            Ok(None) => {
                app.ui.note(&format!("not logged in at {address}"));
                return Ok(());
            }
            found => found,
        },
        Ok(Place::Local) => {
            app.ui.note("not logged in");
            return Ok(());
        }
        Err(e) if home.session().is_ok() => return Err(e),
        Err(damaged) => Err(damaged),
    };
    let session = match found {
        Ok(Some(session)) => session,
        Ok(None) => return Ok(()),
        Err(damaged) => {
            home.forget_session()?;
            app.ui.warn(damaged.message());
            return app.ui.success("removed the unreadable login");
        }
    };
    let address = session.address.clone();
    let connection = Connection::nobody(app, address.clone(), home)?;
    let ended = connection
        .client
        .send(&Call::new(Method::POST, "/v1/auth/logout").token(&session.token))
        .await;
    connection.home().forget_session_at(&address)?;
    if let Err(e) = ended {
        app.ui.warn(&format!(
            "{address} was not told: {}; the login there ends by itself or with `auth sessions revoke`",
            e.message()
        ));
    }
    app.ui.success(&format!("logged out of {address}"))
}
