//! Authentication of a request, and the extractor that hands the result to a handler.

use std::time::Instant;

use agent_vault_control::{Actor, Seen};
use agent_vault_seal::TokenHash;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use crate::client::{self, Client};
use crate::cookie::COOKIE_NAME;
use crate::error::{ApiError, not_initialized};
use crate::headers::tell_allowance;
use crate::limits::{Allowance, Exceeded};
use crate::origin;
use crate::resources::metrics::Scraper;
use crate::state::ApiState;

/// How a token was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Bearer,
    Cookie,
}

/// Whoever made an authenticated request. Only [`authenticate`] makes one.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    actor: Actor,
    client: Client,
}

impl Caller {
    pub(crate) fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What names the caller where something is counted.
    pub(crate) fn key(&self) -> String {
        limit_key(&self.actor).unwrap_or_default()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        // Absent only on a route outside the authenticated group: then nobody is asking.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| unauthenticated().into_response())
    }
}

/// The token of a request: a bearer header wins and is never retried with the cookie.
pub(crate) fn presented(headers: &HeaderMap) -> Option<(String, Carrier)> {
    if let Some(value) = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        && let Some(token) = value.strip_prefix("Bearer ")
    {
        return Some((token.to_owned(), Carrier::Bearer));
    }
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == COOKIE_NAME && !value.is_empty())
        .map(|(_, value)| (value.to_owned(), Carrier::Cookie))
}

/// Checks that this server is meant, and that a browser was not made to send this, for every route.
///
/// The name in `Host` is checked whatever else is sent: a page that rebound its own name to this machine may set any header. The
/// origin is not checked where a bearer token is presented, which a page of another origin cannot attach; on account routes,
/// which need none, it is.
pub(crate) async fn guard_origin(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let bearer = matches!(presented(&parts.headers), Some((_, Carrier::Bearer)));
    let attached = bearer && !parts.uri.path().starts_with(ACCOUNT_ROUTES);
    let checked = origin::check_target(&parts, state.info())
        .and_then(|()| origin::check_host(&parts, state.info()))
        .and_then(|()| {
            if attached {
                Ok(())
            } else {
                origin::check_origin(&parts, state.info())
            }
        });
    match checked {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refused) => refused.into_response(),
    }
}

/// Routes that act on accounts; some of them need no token.
const ACCOUNT_ROUTES: &str = "/v1/auth/";

/// Lets nothing through until the instance has an owner, except whoever is somebody already: the local operator, and
/// the tokens that it minted for a command of its own.
pub(crate) async fn gate(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if local_operator(&state, &parts).is_none() && parts.extensions.get::<Scraper>().is_none() {
        match state.control().is_initialized().await {
            Ok(true) => {}
            Ok(false) => {
                let client = Client::of(&parts, state.info());
                if identify(&state, &parts, &client).await.is_err() {
                    return not_initialized().into_response();
                }
            }
            Err(error) => return ApiError::from(error).into_response(),
        }
    }
    next.run(Request::from_parts(parts, body)).await
}

/// Finds the caller, then spends one unit of its AUTHED bucket.
pub(crate) async fn authenticate(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    if request.extensions().get::<Scraper>().is_some() {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let client = Client::of(&parts, state.info());
    let actor = match identify(&state, &parts, &client).await {
        Ok(actor) => actor,
        Err(refused) => return refused.into_response(),
    };
    let allowance = match limit_key(&actor).map_or(Ok(None), |key| state.limits().actor(key)) {
        Ok(allowance) => allowance,
        Err(exceeded) => {
            let limit = exceeded.limit;
            let mut response = ApiError::from(exceeded).into_response();
            tell_allowance(
                response.headers_mut(),
                Allowance {
                    limit,
                    remaining: 0,
                },
            );
            return response;
        }
    };
    parts.extensions.insert(Caller { actor, client });
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if let Some(allowance) = allowance {
        tell_allowance(response.headers_mut(), allowance);
    }
    response
}

/// The AUTH tier for routes that need no login, by client address.
pub(crate) async fn limit_address(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let address = Client::of(&parts, state.info()).address;
    let spent = state.limits().address(address, Instant::now());
    counted(spent, Request::from_parts(parts, body), next).await
}

async fn counted(
    spent: Result<Option<Allowance>, Exceeded>,
    request: Request,
    next: Next,
) -> Response {
    match spent {
        Err(exceeded) => {
            let limit = exceeded.limit;
            let mut response = ApiError::from(exceeded).into_response();
            tell_allowance(
                response.headers_mut(),
                Allowance {
                    limit,
                    remaining: 0,
                },
            );
            response
        }
        Ok(allowance) => {
            let mut response = next.run(request).await;
            if let Some(allowance) = allowance {
                tell_allowance(response.headers_mut(), allowance);
            }
            response
        }
    }
}

/// The AUTH tier for routes that a link opens, by client address, and by client address and link.
pub(crate) async fn limit_link(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let address = Client::of(&parts, state.info()).address;
    // The hash, so that keys are small and no token is kept.
    let link = parts.uri.path().rsplit('/').nth(1).unwrap_or_default();
    let link = TokenHash::of(link).to_hex();
    let (limits, now) = (state.limits(), Instant::now());
    let spent = limits.address(address, now).and_then(|all| {
        let one = limits.link(address, &link, now)?;
        Ok(one.or(all))
    });
    counted(spent, Request::from_parts(parts, body), next).await
}

async fn identify(state: &ApiState, parts: &Parts, client: &Client) -> Result<Actor, ApiError> {
    if let Some(actor) = local_operator(state, parts) {
        return Ok(actor);
    }
    let Some((token, carrier)) = presented(&parts.headers) else {
        return Err(unauthenticated());
    };
    let seen = Seen {
        address: client.address.map(|address| address.to_string()),
        user_agent: client.user_agent.clone(),
    };
    let actor = state
        .control()
        .sessions()
        .authenticate(&token, seen)
        .await?;
    if carrier == Carrier::Cookie {
        origin::check_content_type(parts)?;
    }
    Ok(actor)
}

/// Whoever is logged in in the browser that asks, on a route that anybody may call. Nobody, when a bearer token is presented.
pub(crate) async fn viewer(
    state: &ApiState,
    headers: &HeaderMap,
    client: &Client,
) -> Option<Actor> {
    let Some((token, Carrier::Cookie)) = presented(headers) else {
        return None;
    };
    let seen = Seen {
        address: client.address.map(|address| address.to_string()),
        user_agent: client.user_agent.clone(),
    };
    let sessions = state.control().sessions();
    sessions
        .authenticate(&token, seen)
        .await
        .inspect_err(|error| {
            tracing::debug!(
                error = error as &dyn std::error::Error,
                "nobody is logged in"
            );
        })
        .ok()
}

/// The local operator: the right token, and no socket in between.
fn local_operator(state: &ApiState, parts: &Parts) -> Option<Actor> {
    if client::peer(parts).is_some() {
        return None;
    }
    match presented(&parts.headers) {
        Some((token, Carrier::Bearer)) if state.is_local_operator(&token) => {
            Some(Actor::LocalOperator)
        }
        _ => None,
    }
}

fn limit_key(actor: &Actor) -> Option<String> {
    Some(match actor {
        Actor::User(user) => format!("u:{}", user.id),
        Actor::Agent(agent) => format!("a:{}", agent.id),
        Actor::Scoped(scoped) => format!("s:{}", scoped.session),
        // In-process, by the owner of the machine: there is nobody to protect from them.
        Actor::LocalOperator => return None,
    })
}

pub(crate) fn unauthenticated() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "Authorization required")
        .hint("log in with `agent-vault auth login`, or set `AGENT_VAULT_TOKEN`")
}
