//! Infisical: a place's secrets, and those that it makes on demand, over its HTTP API.
//!
//! One login serves everything; its token is renewed before it ends, and a login that fails is tried again after a rest that grows,
//! so that a server that is down for an hour costs nobody a restart. Nothing that Infisical says in words goes into an error.

mod api;
mod door;
mod gcp;
mod login;
mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agent_vault_broker::{
    FromStore, SecretStore, StoreFailure, StoreFault, StoreLease, StorePlace, StoreSnapshot,
};
use agent_vault_upstream::Upstream;
use http::Method;
use jiff::Timestamp;
use tokio::time::Instant;

pub use door::{InfisicalUrl, InfisicalUrlError};
pub use gcp::{GoogleKey, GoogleKeyError};
pub use login::InfisicalLogin;

use api::{
    DynamicSecrets, LeasePlace, Leased, NewLease, Renewed, Secrets, WorkspaceAnswer, encoded,
};
use door::{Door, Question};
use session::Session;

/// Largest answer in bytes to a question about one thing.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Largest list of secrets in bytes.
const MAX_SECRETS_BYTES: usize = 32 << 20;
/// How long one may take that lists.
const LIST_TIME: Duration = Duration::from_secs(30);
/// How long any other may take.
const CALL_TIME: Duration = Duration::from_secs(10);
/// How long a project's slug is believed.
const SLUG_LIFE: Duration = Duration::from_hours(1);
/// Slugs that are remembered; beyond it all are asked for anew.
const MAX_SLUGS: usize = 1000;

/// A connection to one Infisical.
pub struct Infisical {
    door: Door,
    session: Session,
    slugs: Mutex<HashMap<String, (String, Instant)>>,
}

impl std::fmt::Debug for Infisical {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Infisical")
            .field("door", &self.door)
            .finish_non_exhaustive()
    }
}

impl Infisical {
    /// One at `url` that goes out by `upstream`. Nothing is asked before it is needed; `now` dates what is signed.
    ///
    /// # Errors
    /// [`InfisicalUrlError`] when the host has no form in a request.
    pub fn new(
        upstream: Arc<Upstream>,
        url: &InfisicalUrl,
        login: InfisicalLogin,
        now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Result<Self, InfisicalUrlError> {
        Ok(Self {
            door: Door::new(upstream, url)?,
            session: Session::new(login, now),
            slugs: Mutex::default(),
        })
    }

    /// Logs in now, if nobody is: for a start that wants to say how it went.
    ///
    /// # Errors
    /// [`StoreFailure`], which says what was refused.
    pub async fn log_in(&self) -> Result<(), StoreFailure> {
        self.session.token(&self.door).await.map(|_| ())
    }

    /// Asks with a token; once more with a new one when it was refused, because somebody may have revoked it.
    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        question: &Question<'_>,
    ) -> Result<T, StoreFailure> {
        for attempt in 0..2 {
            let token = self.session.token(&self.door).await?;
            match self.door.ask(question, Some(&token)).await {
                Err(failure) if failure.fault == StoreFault::Login && attempt == 0 => {
                    self.session.forget(&token).await;
                }
                answered => return answered.and_then(|answer| answer.read(question)),
            }
        }
        Err(StoreFailure::new(
            StoreFault::Login,
            "Infisical takes no token that it has just given",
        ))
    }

    /// The slug of a project, as the routes for dynamic secrets want it.
    async fn slug(&self, project: &str) -> Result<String, StoreFailure> {
        {
            let slugs = self.slugs.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((slug, until)) = slugs.get(project)
                && Instant::now() < *until
            {
                return Ok(slug.clone());
            }
        }
        let question = Question {
            what: "the project",
            method: Method::GET,
            target: format!("/api/v1/workspace/{}", encoded(project)),
            body: None,
            time: CALL_TIME,
            most: MAX_ANSWER_BYTES,
        };
        let answer: WorkspaceAnswer = self.ask(&question).await?;
        let slug = answer.slug();
        let mut slugs = self.slugs.lock().unwrap_or_else(PoisonError::into_inner);
        if slugs.len() >= MAX_SLUGS {
            slugs.clear();
        }
        slugs.insert(
            project.to_owned(),
            (slug.clone(), Instant::now() + SLUG_LIFE),
        );
        Ok(slug)
    }

    async fn secrets(&self, at: &StorePlace) -> Result<Secrets, StoreFailure> {
        let question = Question {
            what: "the secrets",
            method: Method::GET,
            target: format!(
                "/api/v3/secrets/raw?workspaceId={}&environment={}&secretPath={}&expandSecretReferences=true&recursive=false&include_imports=false",
                encoded(&at.project_id),
                encoded(&at.environment),
                encoded(&at.secret_path)
            ),
            body: None,
            time: LIST_TIME,
            most: MAX_SECRETS_BYTES,
        };
        self.ask(&question).await
    }

    async fn names(&self, at: &StorePlace) -> Result<Vec<String>, StoreFailure> {
        let slug = self.slug(&at.project_id).await?;
        let question = Question {
            what: "the dynamic secrets",
            method: Method::GET,
            target: format!(
                "/api/v1/dynamic-secrets?projectSlug={}&environmentSlug={}&path={}",
                encoded(&slug),
                encoded(&at.environment),
                encoded(&at.secret_path)
            ),
            body: None,
            time: LIST_TIME,
            most: MAX_SECRETS_BYTES,
        };
        let answer: DynamicSecrets = self.ask(&question).await?;
        Ok(answer.names())
    }

    /// A question about one lease.
    async fn of_lease<'q>(
        &self,
        what: &'q str,
        method: Method,
        at: &StorePlace,
        tail: &str,
    ) -> Result<Question<'q>, StoreFailure> {
        let slug = self.slug(&at.project_id).await?;
        Ok(Question {
            what,
            method,
            target: format!("/api/v1/dynamic-secrets/leases/{tail}"),
            body: Some(door::json(&LeasePlace::of(&slug, at))?),
            time: CALL_TIME,
            most: MAX_ANSWER_BYTES,
        })
    }
}

impl SecretStore for Infisical {
    fn snapshot<'a>(&'a self, at: &'a StorePlace) -> FromStore<'a, StoreSnapshot> {
        Box::pin(async move {
            let secrets = self.secrets(at).await?.values()?;
            // An identity, or a plan, without dynamic secrets has its static ones all the same.
            let dynamic = match self.names(at).await {
                Ok(names) => Some(names),
                Err(failure)
                    if matches!(failure.fault, StoreFault::Refused | StoreFault::Absent) =>
                {
                    tracing::debug!(%failure, "no dynamic secrets");
                    Some(Vec::new())
                }
                Err(failure) => {
                    tracing::warn!(%failure, "the names of dynamic secrets stay as they were");
                    None
                }
            };
            Ok(StoreSnapshot { secrets, dynamic })
        })
    }

    fn dynamic_names<'a>(&'a self, at: &'a StorePlace) -> FromStore<'a, Vec<String>> {
        Box::pin(self.names(at))
    }

    fn lease<'a>(&'a self, at: &'a StorePlace, name: &'a str) -> FromStore<'a, StoreLease> {
        Box::pin(async move {
            let slug = self.slug(&at.project_id).await?;
            let question = Question {
                what: "a new lease",
                method: Method::POST,
                target: "/api/v1/dynamic-secrets/leases".to_owned(),
                body: Some(door::json(&NewLease::of(name, &slug, at))?),
                time: LIST_TIME,
                most: MAX_ANSWER_BYTES,
            };
            let leased: Leased = self.ask(&question).await?;
            leased.into_lease()
        })
    }

    fn renew<'a>(&'a self, at: &'a StorePlace, lease: &'a str) -> FromStore<'a, Option<Timestamp>> {
        Box::pin(async move {
            let tail = format!("{}/renew", encoded(lease));
            let question = self
                .of_lease("the renewal of a lease", Method::POST, at, &tail)
                .await?;
            let renewed: Renewed = self.ask(&question).await?;
            renewed.ends()
        })
    }

    fn revoke<'a>(&'a self, at: &'a StorePlace, lease: &'a str) -> FromStore<'a, ()> {
        Box::pin(async move {
            let question = self
                .of_lease("the end of a lease", Method::DELETE, at, &encoded(lease))
                .await?;
            let _gone: serde::de::IgnoredAny = self.ask(&question).await?;
            Ok(())
        })
    }
}
