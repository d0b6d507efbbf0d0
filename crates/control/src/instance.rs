//! Settings of the instance: who may come in, rate limits, how long the request log is kept.
//!
//! One transaction for one change, whatever it is made of (H33). What is stored is read again whenever the database has a new
//! version, so a change counts at once, in every process that shares it.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_vault_store::{Store, StoreError, Tx};

use crate::Control;
use crate::access::{self, InstanceOwner};
use crate::actor::Actor;
use crate::email::{Email, is_domain};
use crate::error::{ControlError, ErrorKind};
use crate::limits::{EffectiveLimits, LimitLayer, LimitSources};
use crate::mail::{self, Mailer};
use crate::retention::{MAX_AGE_HOURS, RetentionKnobs, StoredRetention};
use crate::write::{Publication, Write};

const INVITE_ONLY: &str = "invite_only";
const ALLOWED_DOMAINS: &str = "allowed_email_domains";
const RATE_LIMITS: &str = "ratelimit_config";
/// Most domains that can be allowed.
const MAX_DOMAINS: usize = 100;

/// Who may come in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entrance {
    /// People come by invitation only.
    pub invite_only: bool,
    /// Domains of addresses that may have an account; empty is all.
    pub allowed_domains: Vec<String>,
    /// What is stored did not read: nobody comes in.
    closed: bool,
}

impl Entrance {
    /// Refuses an address of a domain that is not allowed.
    pub(crate) fn check_domain(&self, email: &Email) -> Result<(), ControlError> {
        if self.closed {
            return Err(ControlError::new(
                ErrorKind::Unavailable,
                "The list of allowed domains does not read, so nobody is let in",
            )
            .hint(
                "an owner can write it again: `agent-vault owner config set --allowed-domains`",
            ));
        }
        let domain = email.domain();
        if self.allowed_domains.is_empty()
            || self.allowed_domains.iter().any(|allowed| allowed == domain)
        {
            return Ok(());
        }
        Err(match self.allowed_domains.as_slice() {
            [only] => {
                ControlError::forbidden(format!("Only addresses of {only} may have an account"))
            }
            _ => ControlError::forbidden("Addresses of that domain may not have an account"),
        }
        .hint("ask an owner of the instance"))
    }

    /// Refuses whoever comes without an invitation, where one is needed.
    pub(crate) fn check_open(&self) -> Result<(), ControlError> {
        if self.closed || self.invite_only {
            return Err(
                ControlError::forbidden("Registration is by invitation only")
                    .hint("ask an owner for an invitation"),
            );
        }
        Ok(())
    }
}

/// What is stored, and what follows from it.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) entrance: Entrance,
    stored_limits: Option<LimitLayer>,
    pub(crate) limits: Arc<EffectiveLimits>,
    pub(crate) retention: StoredRetention,
}

impl Loaded {
    pub(crate) async fn read(store: &Store, sources: &LimitSources) -> Result<Self, StoreError> {
        Ok(Self::of(store.instance_settings().await?, sources))
    }

    async fn read_in(tx: &mut Tx, sources: &LimitSources) -> Result<Self, StoreError> {
        Ok(Self::of(tx.instance_settings().await?, sources))
    }

    fn of(settings: Vec<(String, String)>, sources: &LimitSources) -> Self {
        let settings: BTreeMap<String, String> = settings.into_iter().collect();
        let text = |key: &str| settings.get(key).map(String::as_str);
        let domains = text(ALLOWED_DOMAINS).map_or(Ok(Vec::new()), serde_json::from_str);
        let unreadable = |key: &str, error: &(dyn std::error::Error + 'static)| {
            tracing::warn!(error, "the stored setting `{key}` does not read");
        };
        if let Err(error) = &domains {
            unreadable(ALLOWED_DOMAINS, error);
        }
        let stored_limits = text(RATE_LIMITS).and_then(|text| {
            LimitLayer::from_json(text)
                .inspect_err(|error| unreadable(RATE_LIMITS, error))
                .ok()
        });
        Self {
            entrance: Entrance {
                closed: domains.is_err(),
                allowed_domains: domains.unwrap_or_default(),
                // Only the word itself opens.
                invite_only: !matches!(text(INVITE_ONLY), None | Some("false")),
            },
            limits: Arc::new(sources.effective(stored_limits.as_ref())),
            stored_limits,
            retention: StoredRetention::read(text(StoredRetention::KEY)),
        }
    }
}

/// The settings as an owner sees them.
#[derive(Debug, Clone)]
pub struct InstanceView {
    /// Who may come in.
    pub entrance: Entrance,
    /// Whether mail can be sent.
    pub smtp_configured: bool,
    /// The limits that count.
    pub limits: Arc<EffectiveLimits>,
    /// How long the request log is kept, by what is stored.
    pub retention: StoredRetention,
}

/// What to change; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct InstanceChange {
    /// People come by invitation only.
    pub invite_only: Option<bool>,
    /// Domains of addresses that may have an account.
    pub allowed_domains: Option<Vec<String>>,
    /// Rate limits, in place of those that are stored.
    pub limits: Option<LimitLayer>,
    /// How long the request log is kept, in place of what is stored.
    pub retention: Option<StoredRetention>,
}

/// Actions on the settings of the instance.
#[derive(Debug, Clone, Copy)]
pub struct Instance<'c>(pub(crate) &'c Control);

impl Instance<'_> {
    /// Who may come in; for anybody who wants to know before asking.
    #[must_use]
    pub fn entrance(&self) -> Entrance {
        self.0.loaded().entrance.clone()
    }

    /// The settings.
    ///
    /// # Errors
    /// Unless an owner asks.
    pub async fn view(&self, actor: &Actor) -> Result<InstanceView, ControlError> {
        let mut rows = self.0.store().clone();
        access::instance::<InstanceOwner>(&mut rows, actor).await?;
        let loaded = Loaded::read(self.0.store(), &self.0.options().limits).await?;
        Ok(self.view_of(loaded))
    }

    /// Changes what is given, all or nothing; answers what counts now.
    ///
    /// # Errors
    /// Unless an owner asks; `Invalid`, with the field, for what is out of bounds; `Conflict` for limits that the environment locks.
    pub async fn change(
        &self,
        actor: &Actor,
        change: InstanceChange,
    ) -> Result<InstanceView, ControlError> {
        let mut write = self.0.begin(actor, "instance.settings", "instance").await?;
        let outcome = apply(&mut write, actor, change).await;
        let loaded = write.finish(outcome).await?;
        Ok(self.view_of(loaded))
    }

    /// What would count if `limits` were stored. Changes nothing.
    ///
    /// # Errors
    /// Unless an owner asks; `Conflict` when the environment locks the limits.
    pub async fn preview(
        &self,
        actor: &Actor,
        limits: &LimitLayer,
    ) -> Result<EffectiveLimits, ControlError> {
        let mut rows = self.0.store().clone();
        access::instance::<InstanceOwner>(&mut rows, actor).await?;
        let sources = &self.0.options().limits;
        if sources.lock {
            return Err(locked());
        }
        Ok(sources.effective(Some(limits)))
    }

    /// Sends a mail that shows that mail works; to whoever asks, where nobody is named. Answers who gets it.
    ///
    /// # Errors
    /// Unless an owner asks; `Invalid` when mail is off or there is nobody to send to; `Upstream` when it was not sent.
    pub async fn test_mail(&self, actor: &Actor, to: Option<&str>) -> Result<String, ControlError> {
        let mut write = self
            .0
            .begin(actor, "instance.test_mail", "instance")
            .await?;
        let outcome = addressee(&mut write, actor, to).await;
        let (to, mailer) = write.finish(outcome).await?;
        mailer
            .send(mail::test(to.as_str()))
            .await
            .map_err(|error| {
                ControlError::new(
                    ErrorKind::Upstream,
                    format!("The mail was not sent: {error}"),
                )
            })?;
        Ok(to.to_string())
    }

    fn view_of(&self, loaded: Loaded) -> InstanceView {
        InstanceView {
            entrance: loaded.entrance,
            smtp_configured: self.0.can_mail(),
            limits: loaded.limits,
            retention: loaded.retention,
        }
    }
}

/// Who gets a test mail, and by what.
async fn addressee(
    write: &mut Write,
    actor: &Actor,
    to: Option<&str>,
) -> Result<(Email, Arc<dyn Mailer>), ControlError> {
    access::instance::<InstanceOwner>(write.tx(), actor).await?;
    let Some(mailer) = write.control().options().mailer.clone() else {
        return Err(ControlError::invalid("Mail is not set up")
            .hint("set AGENT_VAULT_SMTP_HOST and AGENT_VAULT_SMTP_FROM for the server"));
    };
    let to = match (to.map(str::trim).filter(|to| !to.is_empty()), actor) {
        (Some(to), _) => Email::parse(to)?,
        (None, Actor::User(user)) => Email::parse(&user.email)?,
        (None, _) => {
            return Err(ControlError::invalid("to is required")
                .hint("name the address to send to, such as `you@example.com`"));
        }
    };
    write.retarget(format!("user:{to}"));
    Ok((to, mailer))
}

async fn apply(
    write: &mut Write,
    actor: &Actor,
    change: InstanceChange,
) -> Result<Loaded, ControlError> {
    access::instance::<InstanceOwner>(write.tx(), actor).await?;
    let sources = write.control().options().limits.clone();
    let before = Loaded::read_in(write.tx(), &sources).await?;
    let now = write.now();
    let mut values = Vec::new();
    if let Some(invite_only) = change.invite_only {
        write.note("invite_only", invite_only);
        write.note("invite_only_before", before.entrance.invite_only);
        values.push((INVITE_ONLY, invite_only.to_string()));
    }
    if let Some(domains) = change.allowed_domains {
        let domains = domains_of(domains)?;
        write.note("allowed_domains", domains.join(","));
        write.note(
            "allowed_domains_before",
            before.entrance.allowed_domains.join(","),
        );
        let text = serde_json::to_string(&domains)
            .map_err(|error| ControlError::internal("the domains cannot be written", error))?;
        values.push((ALLOWED_DOMAINS, text));
    }
    if let Some(limits) = change.limits {
        if sources.lock {
            return Err(locked());
        }
        let text = limits.to_json()?;
        write.note("rate_limit", text.as_str());
        if let Some(before) = &before.stored_limits {
            write.note("rate_limit_before", before.to_json()?);
        }
        values.push((RATE_LIMITS, text));
    }
    if let Some(retention) = change.retention {
        retention.check()?;
        let text = retention.to_json()?;
        write.note("logs_retention", text.as_str());
        write.note("logs_retention_before", before.retention.to_json()?);
        values.push((StoredRetention::KEY, text));
    }
    for (key, value) in values {
        write
            .tx()
            .put_instance_setting(key, Some(&value), now)
            .await?;
    }
    write.publish(Publication::Everything);
    Ok(Loaded::read_in(write.tx(), &sources).await?)
}

/// Domains in one spelling, each once.
fn domains_of(given: Vec<String>) -> Result<Vec<String>, ControlError> {
    let mut domains: Vec<String> = Vec::new();
    for text in given {
        let domain = text.trim().to_ascii_lowercase();
        if !domain.contains('.') || !is_domain(&domain) {
            return Err(ControlError::invalid(format!(
                "allowed_email_domains: `{}` is not a domain",
                access::shown(&text)
            ))
            .hint("give names such as `example.com`, without `@`"));
        }
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    if domains.len() > MAX_DOMAINS {
        return Err(ControlError::invalid(format!(
            "allowed_email_domains: at most {MAX_DOMAINS} domains"
        ))
        .hint("for example `[\"example.com\"]`; an empty list allows all"));
    }
    Ok(domains)
}

fn locked() -> ControlError {
    ControlError::conflict("The rate limits are locked by the environment")
        .hint("AGENT_VAULT_RATELIMIT_LOCK is set for the server")
}

impl RetentionKnobs {
    /// What counts when `stored` is stored: hours and rows, and whether the environment decides either.
    #[must_use]
    pub fn shown(self, stored: StoredRetention) -> (u32, u32, bool) {
        let retention = self.over(stored);
        (
            retention.max_age_hours.min(MAX_AGE_HOURS),
            retention.max_rows_per_vault,
            self.lock || self.max_age_hours.is_some() || self.max_rows_per_vault.is_some(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(key: &str, value: &str) -> Loaded {
        Loaded::of(
            vec![(key.to_owned(), value.to_owned())],
            &LimitSources::default(),
        )
    }

    #[test]
    fn what_does_not_read_lets_nobody_in() {
        let email = Email::parse("a@x.example").unwrap();
        let open = Loaded::of(Vec::new(), &LimitSources::default()).entrance;
        open.check_open().unwrap();
        open.check_domain(&email).unwrap();
        for damaged in ["", "x.example", "{}", "[1]"] {
            let entrance = loaded(ALLOWED_DOMAINS, damaged).entrance;
            assert!(entrance.check_domain(&email).is_err(), "{damaged}");
            assert!(entrance.check_open().is_err(), "{damaged}");
        }
        for word in ["true", "yes", ""] {
            assert!(loaded(INVITE_ONLY, word).entrance.check_open().is_err());
        }
        loaded(INVITE_ONLY, "false").entrance.check_open().unwrap();
        // Limits that do not read are as if nothing were stored.
        let limits = loaded(RATE_LIMITS, "{\"profile\":\"fast\"}").limits;
        assert_eq!(limits.profile.as_str(), "default");
    }

    #[test]
    fn a_domain_counts_as_it_is_and_not_its_subdomains() {
        let entrance = loaded(ALLOWED_DOMAINS, "[\"x.example\",\"y.example\"]").entrance;
        for (email, lets_in) in [
            ("a@X.example", true),
            ("a@y.example", true),
            ("a@sub.x.example", false),
            ("a@xx.example", false),
            ("x.example@z.example", false),
        ] {
            let email = Email::parse(email).unwrap();
            assert_eq!(entrance.check_domain(&email).is_ok(), lets_in, "{email}");
        }
    }
}
