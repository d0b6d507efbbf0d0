//! Logins, and the authentication of every kind of token.

use agent_vault_broker::{SessionKind as BrokerKind, SessionRecord, TokenBounds};
use agent_vault_seal::{SecretBytes, Token, TokenHash, TokenKind, public_id};
use agent_vault_store::{AgentStatus, Session, SessionKind, User};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::Control;
use crate::actor::{Actor, AgentActor, ScopedActor, UserActor};
use crate::email::Email;
use crate::error::ControlError;
use crate::second_factor::{self, Shown};
use crate::token_bounds;
use crate::write::{Ended, Publication, Write};

/// Absolute life of a login.
const LOGIN_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Life of a login without use, in seconds.
const LOGIN_IDLE_SECONDS: u32 = 30 * 24 * 3600;

/// Where a token was used from.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Client address.
    pub address: Option<String>,
    /// What the client calls itself.
    pub user_agent: Option<String>,
}

/// What a login is made from.
#[derive(Debug, Clone, Default)]
pub struct NewLogin {
    /// What the device calls itself, cleaned.
    pub device_label: Option<String>,
    /// Where it is.
    pub seen: Seen,
}

/// A new login.
#[derive(Debug)]
pub struct Login {
    /// The token, shown once.
    pub token: Token,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// One login in the list of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginView {
    /// Public id.
    pub id: String,
    /// What the device called itself.
    pub device_label: String,
    /// Where it was last used.
    pub last_ip: String,
    /// With what.
    pub last_user_agent: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to about a minute.
    pub last_used_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// Actions on logins and tokens.
#[derive(Debug, Clone, Copy)]
pub struct Sessions<'c>(pub(crate) &'c Control);

impl Sessions<'_> {
    /// Finds who stands behind a token.
    ///
    /// # Errors
    /// `Unauthenticated` for an unknown, ended or idle token, and for one whose holder is gone or revoked; `Forbidden` for one that may
    /// not be used from where it is.
    pub async fn authenticate(&self, token: &str, seen: Seen) -> Result<Actor, ControlError> {
        let control = self.0;
        let store = control.store();
        let hash = TokenHash::of(token);
        let session = store.session(hash).await?.ok_or_else(invalid)?;
        let now = control.now();
        if !session.is_live(now) {
            return Err(ControlError::unauthenticated("Session expired")
                .hint("log in again with `agent-vault auth login`, or mint a new token"));
        }
        token_bounds::check_source(&session, seen.address.as_deref())?;
        if session.kind != SessionKind::User {
            control.broker().note_use(&hash, now);
        }
        match session.kind {
            SessionKind::User => {
                let id = session.user_id.ok_or_else(invalid)?;
                let user = store
                    .user(id)
                    .await?
                    .filter(|user| user.is_active)
                    .ok_or_else(invalid)?;
                if control.touches().is_due(hash, now) {
                    let address = seen.address.unwrap_or_default();
                    let user_agent = seen.user_agent.unwrap_or_default();
                    let touched = store.touch_session(hash, now, &address, &user_agent).await;
                    // When somebody was here last is not worth refusing them, on a full disk for example.
                    if let Err(error) = touched
                        && control.touches().is_news(now)
                    {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the last use of a login cannot be written"
                        );
                    }
                }
                Ok(Actor::User(UserActor {
                    id,
                    email: user.email,
                    session: session.public_id,
                }))
            }
            SessionKind::Agent => {
                let id = session.agent_id.ok_or_else(invalid)?;
                let agent = store
                    .agent(id)
                    .await?
                    .filter(|agent| agent.status == AgentStatus::Active)
                    .ok_or_else(invalid)?;
                Ok(Actor::Agent(AgentActor {
                    id,
                    name: agent.name,
                    session: session.public_id,
                }))
            }
            SessionKind::Scoped => Ok(Actor::Scoped(ScopedActor {
                vault: session.vault_id.ok_or_else(invalid)?,
                role: session.vault_role.ok_or_else(invalid)?,
                label: Some(session.label).filter(|label| !label.is_empty()),
                session: session.public_id,
            })),
        }
    }

    /// Logs a person in. `factor` is a code of the second factor, where the account has one.
    ///
    /// # Errors
    /// `Unauthenticated` with the code `second_factor_required` after a right password, where a second factor is wanted too.
    /// `Unauthenticated`, with one text and after the same work, for an unknown address, a wrong password and an unconfirmed account.
    pub async fn login(
        &self,
        email: &str,
        password: SecretBytes,
        factor: Option<&str>,
        login: NewLogin,
    ) -> Result<Login, ControlError> {
        let control = self.0;
        // An address that cannot exist is as unknown as any other.
        let known = match Email::parse(email) {
            Ok(email) => control.store().user_by_email(email.as_str()).await?,
            Err(_) => None,
        };
        let hash = known.as_ref().map(|user| user.password.clone());
        let rehash = hash
            .as_ref()
            .is_some_and(agent_vault_seal::PasswordHash::needs_rehash);
        let again = rehash.then(|| password.duplicate());
        let good = control.hasher().verify(hash, password).await?;
        let user = match known.filter(|user| good && user.is_active) {
            Some(user) => user,
            None => {
                let refused = wrong_login();
                let target = format!("user:{}", crate::access::shown(email));
                control
                    .record_anonymous("session.login", target, &refused)
                    .await;
                return Err(refused);
            }
        };
        let shown = match second_factor::check(control, user.id, factor).await {
            Ok(shown) => shown,
            Err(refused) => {
                // To be asked for a second factor is no failed attempt.
                if factor.is_some() {
                    let target = format!("user:{}", user.email);
                    control
                        .record_anonymous("session.login", target, &refused)
                        .await;
                }
                return Err(refused);
            }
        };
        let stronger = match again {
            Some(password) => Some(control.hasher().hash(password).await?),
            None => None,
        };
        let mut write = control
            .begin_unattributed("session.login", format!("user:{}", user.email))
            .await?;
        let outcome = log_in(&mut write, &user, shown, stronger, login).await;
        write.finish(outcome).await
    }

    /// Ends the login or scoped session whose token is presented. An agent's own token is not ended this way (H12): it cannot be had
    /// again without somebody else. Answers whether anything ended.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn logout(&self, token: &str) -> Result<bool, ControlError> {
        let hash = TokenHash::of(token);
        let Some(session) = self.0.store().session(hash).await? else {
            return Ok(false);
        };
        if session.kind == SessionKind::Agent {
            return Ok(false);
        }
        let target = format!("session:{}", session.public_id);
        let mut write = self.0.begin_unattributed("session.logout", target).await?;
        if let Some(user) = session.user_id {
            write.attribute_to_user(user);
        }
        let outcome = end(&mut write, hash, session.public_id).await;
        write.finish(outcome).await
    }

    /// Checks that the token with which an actor came is still good, for what goes on long after it was presented.
    ///
    /// # Errors
    /// `Unauthenticated` once it has ended or was revoked.
    pub async fn check(&self, actor: &Actor) -> Result<(), ControlError> {
        let Some(id) = actor.session() else {
            return Ok(());
        };
        let session = self.0.store().session_with_public_id(id).await?;
        match session {
            Some(session) if session.is_live(self.0.now()) => Ok(()),
            Some(_) | None => Err(invalid()),
        }
    }

    /// One's own logins, last used first.
    ///
    /// # Errors
    /// Unless a person asks.
    pub async fn list(&self, actor: &Actor) -> Result<Vec<LoginView>, ControlError> {
        let user = actor.user()?;
        let now = self.0.now();
        let sessions = self.0.store().user_sessions(user.id, now).await?;
        Ok(sessions
            .into_iter()
            .map(|session| LoginView {
                current: session.public_id == user.session,
                id: session.public_id,
                device_label: session.device_label,
                last_ip: session.last_ip,
                last_user_agent: session.last_user_agent,
                created_at: session.created_at,
                last_used_at: session.last_used_at,
                expires_at: session.expires_at,
            })
            .collect())
    }

    /// Ends one of one's own logins. Answers whether it was the one that asks.
    ///
    /// # Errors
    /// `NotFound` for an unknown one, or somebody else's.
    pub async fn revoke(&self, actor: &Actor, id: &str) -> Result<bool, ControlError> {
        let user = actor.user()?;
        let target = format!("session:{}", crate::access::shown(id));
        let mut write = self.0.begin(actor, "session.revoke", target).await?;
        let outcome = match write.tx().delete_user_session(user.id, id).await {
            Ok(Some(_)) => {
                write.publish(Publication::Sessions(Ended::One(id.to_owned())));
                Ok(id == user.session)
            }
            Ok(None) => Err(ControlError::not_found("Session not found")),
            Err(error) => Err(error.into()),
        };
        write.finish(outcome).await
    }
}

async fn log_in(
    write: &mut Write,
    user: &User,
    shown: Shown,
    stronger: Option<agent_vault_seal::PasswordHash>,
    login: NewLogin,
) -> Result<Login, ControlError> {
    // Between the check of the password and now the account may have gone or changed its password.
    let unchanged = write
        .tx()
        .user(user.id)
        .await?
        .is_some_and(|now| now.is_active && now.password == user.password);
    if !unchanged {
        return Err(wrong_login());
    }
    shown.spend(write).await?;
    write.attribute_to_user(user.id);
    if let Some(password) = stronger {
        let now = write.now();
        write
            .tx()
            .set_user_password(user.id, &password, now)
            .await?;
    }
    open_login(write, user.id, login).await
}

async fn end(write: &mut Write, hash: TokenHash, public_id: String) -> Result<bool, ControlError> {
    let ended = write.tx().delete_session(hash).await?;
    write.publish(Publication::Sessions(Ended::One(public_id)));
    Ok(ended)
}

/// Adds a login to a write.
pub(crate) async fn open_login(
    write: &mut Write,
    user: Uuid,
    login: NewLogin,
) -> Result<Login, ControlError> {
    let token = Token::generate(TokenKind::UserSession)?;
    let now = write.now();
    let expires_at = now.saturating_add(LOGIN_LIFE).unwrap_or(Timestamp::MAX);
    let session = Session {
        hash: token.hash(),
        kind: SessionKind::User,
        public_id: public_id()?,
        user_id: Some(user),
        agent_id: None,
        vault_id: None,
        vault_role: None,
        label: String::new(),
        device_label: login.device_label.unwrap_or_default(),
        expires_at: Some(expires_at),
        idle_ttl_seconds: Some(LOGIN_IDLE_SECONDS),
        created_at: now,
        last_used_at: Some(now),
        last_ip: login.seen.address.unwrap_or_default(),
        last_user_agent: login.seen.user_agent.unwrap_or_default(),
        created_by: None,
        services: None,
        budget: None,
        budget_spent: 0,
        sources: Vec::new(),
    };
    write.tx().insert_session(&session).await?;
    write.note("session", session.public_id.as_str());
    write.publish(Publication::Session(Box::new(SessionRecord {
        token: session.hash,
        public_id: session.public_id,
        expires_at: session.expires_at,
        label: None,
        kind: BrokerKind::User,
        bounds: TokenBounds::default(),
    })));
    Ok(Login { token, expires_at })
}

fn invalid() -> ControlError {
    ControlError::unauthenticated("Invalid or expired session")
        .hint("log in with `agent-vault auth login`, or check `AGENT_VAULT_TOKEN`")
}

fn wrong_login() -> ControlError {
    ControlError::unauthenticated("Invalid email or password")
}
