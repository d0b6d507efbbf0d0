//! Every route, in the group that says who may call it, and the layers around all of them.
//!
//! From the outside in: security headers → clean path → GLOBAL tier and deadline → origin and host checks → route → owner gate →
//! authentication → AUTHED tier (or the AUTH tier where no login is needed) → body cap → handler.

use std::sync::Arc;
use std::time::Duration;

use agent_vault_control::from_source;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, Method, StatusCode, Uri};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::client::Client;
use crate::error::ApiError;
use crate::resources::{
    agent_tokens, agents, audit, auth, catalog, codes, credential_versions, credentials, devices,
    discover, instance, invites, keys, log_stream, logs, metrics, mitm, oauth, page, proposals,
    second_factor, service_test, services, settings, skills, status, stores, tokens, users,
    vault_agents, vault_users, vaults, webhooks,
};
use crate::state::ApiState;
use crate::{absent, clean_path, headers, openapi, origin, principal};

/// Longest time that a request may take from its head to its response's head.
const DEADLINE: Duration = Duration::from_secs(60);

/// The management plane over HTTP.
///
/// Served over sockets it wants `ConnectInfo<SocketAddr>` on each request. Without it a request counts as in-process, where the local
/// operator's token is good if the state was built with one.
pub fn router(state: ApiState) -> Router {
    let (routes, document) = routes(&state).split_for_parts();
    let (document, unknown) = openapi::complete(document);
    if !unknown.is_empty() {
        tracing::warn!(?unknown, "bounds of fields that no body has");
    }
    let document: Arc<str> = document_text(&document).into();
    let reference = page::Reference::of(Arc::clone(&document));
    let base_url = state.info().base_url.clone();
    routes
        .route(
            "/v1/openapi.json",
            get(move || openapi::serve(Arc::clone(&document))),
        )
        .route("/", get(page::index))
        .route("/docs", get(async move || reference.show(&base_url)))
        .route("/pages.css", get(page::style))
        .route("/pages.js", get(page::script))
        .route("/approve/{id}", get(proposals::link::page))
        .route("/approve.js", get(proposals::link::script))
        .route("/device", get(devices::page))
        .route("/device.js", get(devices::script))
        .route("/oauth/complete", get(oauth::complete))
        .route("/oauth/start", get(oauth::start).post(oauth::go))
        .route("/invite/{token}", get(invites::page))
        .route("/invite.js", get(invites::script))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(state.clone(), principal::guard_origin))
        .layer(from_fn_with_state(state.clone(), admit))
        .layer(from_fn(clean_path::redirect))
        .layer(from_fn(headers::secure))
        .with_state(state)
}

/// The description of the API as it is checked in: JSON, indented, with a line feed at its end.
#[must_use]
pub fn openapi_document(state: &ApiState) -> String {
    document_text(&openapi::complete(routes(state).into_openapi()).0)
}

fn document_text(document: &utoipa::openapi::OpenApi) -> String {
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

fn routes(state: &ApiState) -> OpenApiRouter<ApiState> {
    let gate = from_fn_with_state(state.clone(), principal::gate);
    let address = from_fn_with_state(state.clone(), principal::limit_address);
    OpenApiRouter::with_openapi(openapi::Base::openapi())
        .merge(ungated())
        .merge(registration().route_layer(address.clone()))
        .merge(login().route_layer(address).route_layer(gate.clone()))
        .merge(
            overseen()
                .route_layer(from_fn_with_state(state.clone(), principal::authenticate))
                .route_layer(gate.clone())
                .route_layer(from_fn_with_state(state.clone(), metrics::recognize)),
        )
        .merge(
            linked()
                .route_layer(from_fn_with_state(state.clone(), principal::limit_link))
                .route_layer(gate.clone()),
        )
        .merge(polled().route_layer(gate.clone()))
        .merge(returning().route_layer(gate.clone()))
        .merge(
            authenticated()
                .route_layer(from_fn_with_state(state.clone(), principal::authenticate))
                .route_layer(gate),
        )
}

/// For anybody, before there is an owner too.
fn ungated() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(status::health))
        .routes(routes!(status::ready))
        .routes(routes!(status::status))
        .routes(routes!(mitm::ca_pem))
        .routes(routes!(catalog::list))
        .routes(routes!(skills::cli))
}

/// Before there is an owner; counted by client address.
fn registration() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(auth::register))
        .routes(routes!(codes::verify))
        .routes(routes!(codes::resend))
        .routes(routes!(codes::forgot))
        .routes(routes!(codes::reset))
}

/// For anybody once there is an owner; counted by client address.
fn login() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(auth::login))
        .routes(routes!(auth::logout))
        .routes(routes!(devices::start))
        .routes(routes!(proposals::link::link))
}

/// For those who hold a link; counted by client address and link.
fn linked() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(invites::details))
        .routes(routes!(invites::accept))
}

/// For a device that waits: it asks every few seconds, with a secret that nobody guesses.
fn polled() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(devices::poll))
}

/// For a browser that comes back from a provider, with a secret that nobody guesses.
fn returning() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(oauth::callback))
}

/// For instance owners and whoever has the scrape token.
fn overseen() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(metrics::read))
}

/// For those who present a token; counted by actor.
fn authenticated() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(auth::me))
        .routes(routes!(auth::change_password))
        .routes(routes!(auth::delete_account))
        .routes(routes!(auth::sessions))
        .routes(routes!(auth::revoke_session))
        .routes(routes!(users::list))
        .routes(routes!(users::get, users::delete))
        .routes(routes!(users::set_role))
        .routes(routes!(second_factor::get, second_factor::start))
        .routes(routes!(second_factor::confirm))
        .routes(routes!(second_factor::disable))
        .routes(routes!(second_factor::remove))
        .routes(routes!(devices::get))
        .routes(routes!(devices::approve))
        .routes(routes!(devices::deny))
        .routes(routes!(codes::waiting))
        .routes(routes!(invites::create, invites::list))
        .routes(routes!(invites::revoke))
        .routes(routes!(invites::again))
        .routes(routes!(instance::get, instance::put))
        .routes(routes!(instance::preview))
        .routes(routes!(instance::test_mail))
        .routes(routes!(tokens::mint, tokens::list))
        .routes(routes!(tokens::revoke))
        .routes(routes!(
            credentials::list,
            credentials::set,
            credentials::delete
        ))
        .routes(routes!(oauth::connect))
        .routes(routes!(oauth::status))
        .routes(routes!(oauth::tokens))
        .routes(routes!(credential_versions::list))
        .routes(routes!(credential_versions::roll_back))
        .routes(routes!(credential_versions::expire))
        .routes(routes!(credential_versions::delete))
        .routes(routes!(discover::discover))
        .routes(routes!(proposals::agent::raise, proposals::agent::list))
        .routes(routes!(proposals::agent::get))
        .routes(routes!(proposals::review::review_list))
        .routes(routes!(proposals::review::review))
        .routes(routes!(proposals::decide::approve))
        .routes(routes!(proposals::decide::reject))
        .routes(routes!(agents::create, agents::list))
        .routes(routes!(agents::get, agents::revoke))
        .routes(routes!(agents::delete))
        .routes(routes!(agents::rotate))
        .routes(routes!(agent_tokens::list))
        .routes(routes!(agent_tokens::revoke))
        .routes(routes!(agents::rename))
        .routes(routes!(agents::set_role))
        .routes(routes!(vaults::create, vaults::list))
        .routes(routes!(vaults::list_all))
        .routes(routes!(vaults::context))
        .routes(routes!(vaults::delete))
        .routes(routes!(vaults::rename))
        .routes(routes!(stores::choose))
        .routes(routes!(stores::sync))
        .routes(routes!(vaults::join))
        .routes(routes!(vaults::leave))
        .routes(routes!(stores::kinds))
        .routes(routes!(settings::get, settings::patch))
        .routes(routes!(vault_users::list, vault_users::add))
        .routes(routes!(vault_users::remove))
        .routes(routes!(vault_users::set_role))
        .routes(routes!(vault_agents::list, vault_agents::add))
        .routes(routes!(vault_agents::remove))
        .routes(routes!(vault_agents::set_role))
        .routes(routes!(
            services::list,
            services::upsert,
            services::replace,
            services::clear
        ))
        .routes(routes!(services::credential_usage))
        .routes(routes!(services::get, services::patch, services::remove))
        .routes(routes!(service_test::test))
        .routes(routes!(webhooks::vault::list, webhooks::vault::add))
        .routes(routes!(
            webhooks::vault::get,
            webhooks::vault::change,
            webhooks::vault::remove
        ))
        .routes(routes!(webhooks::vault::rotate))
        .routes(routes!(webhooks::vault::test))
        .routes(routes!(webhooks::vault::deliveries))
        .routes(routes!(webhooks::instance::list, webhooks::instance::add))
        .routes(routes!(
            webhooks::instance::get,
            webhooks::instance::change,
            webhooks::instance::remove
        ))
        .routes(routes!(webhooks::instance::rotate))
        .routes(routes!(webhooks::instance::test))
        .routes(routes!(webhooks::instance::deliveries))
        .routes(routes!(keys::get))
        .routes(routes!(keys::rotate))
        .routes(routes!(audit::list))
        .routes(routes!(audit::verify))
        .routes(routes!(audit::export))
        .routes(routes!(logs::page))
        .routes(routes!(log_stream::follow))
        .routes(routes!(log_stream::export))
        .routes(routes!(logs::discovered_hosts))
}

/// The GLOBAL tier, and a deadline for what is let in. What changes something is carried to its end on a task of its own: a client
/// that leaves does not cut it short, nor its record.
async fn admit(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let place = match state.limits().enter().await {
        Ok(place) => place,
        Err(exceeded) => return ApiError::from(exceeded).into_response(),
    };
    let safe = origin::is_safe(request.method());
    let (parts, body) = request.into_parts();
    let address = Client::of(&parts, state.info()).address;
    let request = Request::from_parts(parts, body);
    let running = from_source(address, async move {
        let answered = tokio::time::timeout(DEADLINE, next.run(request)).await;
        drop(place);
        answered.unwrap_or_else(|_| {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "The request took too long")
                .hint("try again; a write that was under way may have been done")
                .into_response()
        })
    });
    if safe {
        return running.await;
    }
    state
        .info()
        .tasks
        .spawn(running)
        .await
        .unwrap_or_else(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a request did not end"
            );
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "The request did not end")
                .into_response()
        })
}

async fn not_found(uri: Uri, headers: HeaderMap) -> Response {
    if absent::is_page(uri.path()) && page::is_wanted(&headers) {
        return page::absent();
    }
    let hint = if uri.path().starts_with("/v1/") {
        "the routes are described in `/v1/openapi.json`, for people in `/docs`"
    } else if absent::is_page(uri.path()) {
        "there is no web interface in this version: use the command line, see `agent-vault --help`"
    } else {
        "the API is below `/v1/`; `/docs` describes it"
    };
    ApiError::new(StatusCode::NOT_FOUND, "There is nothing at this path")
        .hint(hint)
        .into_response()
}

async fn not_allowed(method: Method) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("This path does not take the method {}", shown(&method)),
    )
    .hint("the `Allow` header lists those that it takes")
}

fn shown(method: &Method) -> String {
    const MAX_SHOWN_CHARS: usize = 16;
    method.as_str().chars().take(MAX_SHOWN_CHARS).collect()
}
