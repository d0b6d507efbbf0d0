//! The proxy's root certificate.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::error::ApiError;
use crate::state::{ApiState, OwnTls};

const X_MITM_PORT: HeaderName = HeaderName::from_static("x-mitm-port");
const X_MITM_TLS: HeaderName = HeaderName::from_static("x-mitm-tls");

/// Downloads the root certificate; `X-MITM-Port` tells the proxy's port. 404 while the proxy is not listening.
///
/// `X-MITM-TLS` tells that both ports speak TLS beside HTTP in clear (`optional`) or alone (`required`).
#[utoipa::path(get, operation_id = "mitm_ca_pem", path = "/v1/mitm/ca.pem", tag = "status", security(()),
    responses((status = 200, description = "the certificate", body = String, content_type = "application/x-pem-file"),
        (status = 404, description = "the proxy is off", body = crate::error::ErrorBody)))]
pub(crate) async fn ca_pem(State(state): State<ApiState>) -> Response {
    let info = state.info();
    if !info.proxy_is_listening() {
        return ApiError::new(StatusCode::NOT_FOUND, "The proxy is not running")
            .hint("start the server with the proxy enabled")
            .into_response();
    }
    let headers = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-pem-file"),
        ),
        (
            CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"agent-vault-ca.pem\""),
        ),
        (X_MITM_PORT, HeaderValue::from(info.proxy_port)),
    ];
    let mut response = (headers, info.ca_pem.to_string()).into_response();
    let tls = match info.own_tls {
        OwnTls::Off => None,
        OwnTls::Optional => Some("optional"),
        OwnTls::Required => Some("required"),
    };
    if let Some(tls) = tls {
        response
            .headers_mut()
            .insert(X_MITM_TLS, HeaderValue::from_static(tls));
    }
    response
}
