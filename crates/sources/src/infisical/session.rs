//! The login and its token: one for everybody, renewed before it ends, tried again after a rest that grows.

use std::sync::Arc;
use std::time::Duration;

use agent_vault_broker::StoreFailure;
use agent_vault_seal::SecretBytes;
use http::Method;
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::api::LoggedIn;
use super::door::{self, Door, Question};
use super::login::InfisicalLogin;
use super::{CALL_TIME, MAX_ANSWER_BYTES};

/// The first rest after a login that failed; each further one is twice as long.
const FIRST_REST: Duration = Duration::from_secs(2);
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_mins(5);
/// Longest life of a token that is believed, and that of one without an end: a day.
const LONGEST_LIFE: Duration = Duration::from_hours(24);

/// The token of this server at Infisical.
pub(super) struct Session {
    login: InfisicalLogin,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Held while somebody logs in: the others wait for the outcome.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    resting: Option<Resting>,
}

struct Held {
    token: Arc<SecretBytes>,
    renew_from: Instant,
    ends: Instant,
}

struct Resting {
    failures: u32,
    until: Instant,
    failure: StoreFailure,
}

impl Session {
    pub(super) fn new(
        login: InfisicalLogin,
        now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Self {
        Self {
            login,
            now,
            state: Mutex::default(),
        }
    }

    /// A token that is good. While a login rests, whoever asks hears why the last one failed.
    pub(super) async fn token(&self, door: &Door) -> Result<Arc<SecretBytes>, StoreFailure> {
        let mut state = self.state.lock().await;
        let now = Instant::now();
        if let Some(held) = &state.held {
            if now < held.renew_from {
                return Ok(Arc::clone(&held.token));
            }
            if now < held.ends {
                match renew(door, &held.token).await {
                    Ok(answer) => return Ok(state.hold(answer)),
                    Err(failure) => {
                        tracing::debug!(%failure, "the token was not renewed; logging in");
                    }
                }
            }
        }
        if let Some(resting) = &state.resting
            && now < resting.until
        {
            return Err(resting.failure.clone());
        }
        match self.login.log_in(door, (self.now)()).await {
            Ok(answer) => {
                if state.resting.take().is_some() {
                    tracing::info!("logged in to Infisical again");
                }
                Ok(state.hold(answer))
            }
            Err(failure) => {
                let failures = state
                    .resting
                    .as_ref()
                    .map_or(1, |resting| resting.failures.saturating_add(1));
                tracing::warn!(failures, %failure, "the login at Infisical failed; it is tried again");
                state.held = None;
                state.resting = Some(Resting {
                    failures,
                    until: Instant::now() + rest(failures),
                    failure: failure.clone(),
                });
                Err(failure)
            }
        }
    }

    /// Lets go of a token that was refused.
    pub(super) async fn forget(&self, token: &Arc<SecretBytes>) {
        let mut state = self.state.lock().await;
        if state
            .held
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(&held.token, token))
        {
            state.held = None;
        }
    }
}

impl State {
    fn hold(&mut self, answer: LoggedIn) -> Arc<SecretBytes> {
        let life = life(answer.expires_in);
        let now = Instant::now();
        let token = Arc::new(answer.access_token.0);
        self.held = Some(Held {
            token: Arc::clone(&token),
            renew_from: now + life * 2 / 3,
            ends: now + life,
        });
        token
    }
}

async fn renew(door: &Door, token: &SecretBytes) -> Result<LoggedIn, StoreFailure> {
    let token_text = token
        .expose_str()
        .map_err(|_| door::unreachable("the token cannot be sent"))?;
    let question = Question {
        what: "the renewal of the login",
        method: Method::POST,
        target: "/api/v1/auth/token/renew".to_owned(),
        body: Some(door::json(&serde_json::json!({"accessToken": token_text}))?),
        time: CALL_TIME,
        most: MAX_ANSWER_BYTES,
    };
    door.ask(&question, None).await?.read(&question)
}

/// A token's life from what the store says of it; none is a day.
fn life(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|life| !life.is_zero())
        .map_or(LONGEST_LIFE, |life| life.min(LONGEST_LIFE))
}

fn rest(failures: u32) -> Duration {
    FIRST_REST
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_and_rests_are_bounded() {
        assert_eq!(life(60.0), Duration::from_secs(60));
        for odd in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e30] {
            assert_eq!(life(odd), LONGEST_LIFE);
        }
        assert_eq!(rest(1), FIRST_REST);
        assert_eq!(rest(3), FIRST_REST * 4);
        assert_eq!(rest(u32::MAX), LONGEST_REST);
    }
}
