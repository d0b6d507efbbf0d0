//! The request as it leaves: what the agent must not send taken off, what the rule grants put on.

mod body;

use std::mem;
use std::sync::{Arc, LazyLock};

use agent_vault_broker::{Grant, Permit, RenewalOrder};
use agent_vault_policy::{Auth, CredentialKey, Rule, RuleSet};
use agent_vault_upstream::{Body as OutgoingBody, Incoming};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Request, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use memchr::memmem;
use zeroize::Zeroizing;

pub(crate) use body::Budget;

use crate::head::{Head, Kind};
use crate::leftover::{self, Place};
use crate::relay::{Fate, Gate, RequestBody};
use crate::respond::{Fault, Refusal};
use crate::scrub::{Label, Scrubber, Search, Secret, narrow_accept_encoding};

const KEEP_ALIVE: &str = "keep-alive";
const PROXY_CONNECTION: &str = "proxy-connection";
const X_VAULT: &str = "x-vault";

/// What a rule puts on a request, opened.
pub(crate) struct Injection {
    pub(crate) permit: Permit,
    pub(crate) grant: Arc<Grant>,
    /// Finds the injected values in what comes back; `None` when there is nothing that could come back, or the rule does
    /// not want it.
    pub(crate) search: Option<Search>,
}

impl Injection {
    /// Joins a permit and what it opened.
    pub(crate) fn new(permit: Permit, grant: Arc<Grant>) -> Result<Self, Refusal> {
        let mut search = None;
        if permit.rule().service().scrub.enabled {
            let scrubber = scrubber_of(&grant, permit.rule()).ok_or_else(|| {
                Refusal::new(
                    StatusCode::BAD_GATEWAY,
                    "scrub_unavailable",
                    Fault::Us,
                    "the credential is too large to be looked for in responses",
                    "store a smaller value",
                )
            })?;
            search = scrubber.as_ref().map(Scrubber::search);
        }
        Ok(Self {
            permit,
            grant,
            search,
        })
    }

    pub(crate) fn rule(&self) -> &Rule {
        self.permit.rule()
    }

    /// What may be fetched anew, should the upstream refuse what was injected.
    pub(crate) fn renewable(&self) -> Option<RenewalOrder> {
        self.permit.refused(&self.grant)
    }
}

/// The scrubber of a grant, built at its first use. The outer `None` is a failure.
fn scrubber_of(grant: &Grant, rule: &Rule) -> Option<Option<Arc<Scrubber>>> {
    let built = grant.companion(|grant| {
        let label = |key: &CredentialKey| {
            let placeholder = rule
                .service()
                .substitutions
                .iter()
                .find(|substitution| substitution.key == *key)
                .map(|substitution| substitution.placeholder.as_str());
            Label::new(placeholder, key.as_str())
        };
        let pairs = basic_pairs(grant, rule);
        let mut secrets: Vec<Secret<'_>> = grant
            .secrets()
            .chain(grant.former())
            .map(|(key, secret)| Secret {
                value: secret.expose(),
                label: label(key),
            })
            .collect();
        secrets.extend(pairs.iter().map(|(key, pair)| Secret {
            value: pair,
            label: label(key),
        }));
        Scrubber::new(&secrets).ok()
    })?;
    built.as_ref().clone()
}

/// Each `user:password` as a whole, with the key of its more secret half: either half may be too short to be looked for.
fn basic_pairs(grant: &Grant, rule: &Rule) -> Vec<(CredentialKey, Zeroizing<Vec<u8>>)> {
    let (user, password) = match &rule.service().auth {
        Auth::Basic { username, password } => (username, password.as_ref()),
        _ => {
            // A template may hold a pair that somebody encoded.
            let key = rule.keys().first();
            return grant
                .headers()
                .iter()
                .filter(|(name, _)| *name == AUTHORIZATION)
                .filter_map(|(_, value)| Some((key?.clone(), basic(value.as_bytes())?)))
                .collect();
        }
    };
    let values = |key: &CredentialKey| -> Vec<&[u8]> {
        grant
            .secrets()
            .chain(grant.former())
            .filter(|(of, _)| *of == key)
            .map(|(_, value)| value.expose())
            .collect()
    };
    let passwords = password.map_or_else(|| vec![b"".as_slice()], values);
    let mut pairs = Vec::new();
    for user in values(user) {
        for password in &passwords {
            // Reserved in full: growing would leave copies behind.
            let mut pair = Zeroizing::new(Vec::with_capacity(user.len() + 1 + password.len()));
            pair.extend_from_slice(user);
            pair.push(b':');
            pair.extend_from_slice(password);
            pairs.push(pair);
        }
    }
    let key = password.unwrap_or(user);
    pairs.into_iter().map(|pair| (key.clone(), pair)).collect()
}

/// Takes off what belongs to this connection and not to the message (RFC 9110 section 7.6.1), and what is ours.
///
/// `Trailer` stays, for it describes the message; `TE` stays as `trailers` alone, which gRPC asks for. `Host` keeps its
/// place, and gets the value of the route when the request is sent.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    let trailers = headers.keys().any(|name| *name == TE) && accepts_trailers(headers);
    strip_connection_fields(headers, |name| {
        matches!(*name, PROXY_AUTHORIZATION | PROXY_AUTHENTICATE | TE) || name.as_str() == X_VAULT
    });
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Takes off of a request's trailers what would not be let through in its head.
pub(crate) fn strip_request_trailers(trailers: &mut HeaderMap) {
    strip_request(trailers);
    drop_own_tokens(trailers);
    trailers.remove(TE);
    trailers.remove(HOST);
    trailers.remove(CONTENT_LENGTH);
}

/// Takes off hop-by-hop fields and whatever `Connection` names, in either direction, and what `also` says.
pub(crate) fn strip_connection_fields(headers: &mut HeaderMap, also: impl Fn(&HeaderName) -> bool) {
    // To look at each name once costs less than to ask for each that may be there, and mostly there is none.
    let goes = |name: &HeaderName| {
        matches!(*name, CONNECTION | TRANSFER_ENCODING | UPGRADE)
            || [KEEP_ALIVE, PROXY_CONNECTION].contains(&name.as_str())
            || also(name)
    };
    if !headers.keys().any(goes) {
        return;
    }
    if let Some(first) = headers.get(CONNECTION) {
        // Almost always a single `keep-alive`, `close` or `Upgrade`.
        if !first.as_bytes().eq_ignore_ascii_case(b"keep-alive") || !single(headers) {
            let named: Vec<HeaderName> = headers
                .get_all(CONNECTION)
                .iter()
                .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
                .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
                .collect();
            for name in named {
                if name != CONTENT_LENGTH && name != HOST {
                    headers.remove(name);
                }
            }
        }
    }
    while let Some(name) = headers.keys().find(|name| goes(name)).cloned() {
        headers.remove(name);
    }
}

fn single(headers: &HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().nth(1).is_none()
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// Removes fields that carry a token of ours: an agent that confuses `Authorization` with `Proxy-Authorization` would
/// otherwise hand its vault token to the upstream. Returns the names.
fn drop_own_tokens(headers: &mut HeaderMap) -> Vec<HeaderName> {
    let mut found = Vec::new();
    for (name, value) in headers.iter() {
        let value = value.as_bytes();
        if value.len() < MIN_TOKEN_BYTES {
            continue;
        }
        if holds_own_token(value) || basic(value).is_some_and(|text| holds_own_token(&text)) {
            found.push(name.clone());
        }
    }
    for name in &found {
        headers.remove(name);
    }
    found
}

/// Length of the shortest token of ours; encoded it is longer still.
const MIN_TOKEN_BYTES: usize = "av_agt_".len() + 64;

/// What a `Basic` value says in clear.
fn basic(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    STANDARD.decode(rest.trim_ascii()).ok().map(Zeroizing::new)
}

fn holds_own_token(value: &[u8]) -> bool {
    static BEGINNING: LazyLock<memmem::Finder<'static>> =
        LazyLock::new(|| memmem::Finder::new(b"av_"));
    BEGINNING.find_iter(value).any(|at| {
        value.get(at..).is_some_and(|rest| {
            [b"av_agt_".as_slice(), b"av_sess_"].iter().any(|prefix| {
                rest.strip_prefix(*prefix)
                    .and_then(|rest| rest.get(..64))
                    .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
            })
        })
    })
}

/// A request ready to leave, and what the log should say about it.
pub(crate) struct Outgoing {
    pub(crate) request: Request<OutgoingBody>,
    pub(crate) warnings: Vec<String>,
    /// What becomes of the client's body, when there is one.
    pub(crate) fate: Option<Arc<Fate>>,
}

/// What building a request needs besides the request.
pub(crate) struct Workshop<'a> {
    pub(crate) budget: &'a Budget,
    pub(crate) max_request_bytes: Option<u64>,
    /// All rules of the vault, to notice a placeholder that leaves unreplaced.
    pub(crate) rules: Option<&'a RuleSet>,
}

impl Workshop<'_> {
    /// Whether the vault has placeholders that could leave unreplaced.
    pub(crate) fn watches(&self) -> bool {
        self.rules.is_some_and(RuleSet::knows_placeholders)
    }
}

/// Builds the outgoing request out of what came: strip, substitute over the client's own input in one pass, then set what
/// the rule injects, so that an injected value is never itself searched for placeholders.
pub(crate) async fn build(
    workshop: &Workshop<'_>,
    head: &Head,
    injection: Option<&Injection>,
    parts: &mut Parts,
    body: &mut Incoming,
    gate: Option<Gate>,
) -> Result<Outgoing, Refusal> {
    let mut fate = None;
    let mut warnings = Vec::new();
    if let Some(cap) = workshop.max_request_bytes
        && body.size_hint().lower() > cap
    {
        return Err(Refusal::request_too_large(cap));
    }
    strip_request(&mut parts.headers);
    for name in drop_own_tokens(&mut parts.headers) {
        warnings.push(format!("vault_token_dropped:{name}"));
    }
    let mut target = None;
    if let Some(injection) = injection {
        let rule = injection.rule();
        for (name, _) in injection.grant.headers() {
            parts.headers.remove(name);
        }
        target = rule
            .rewrite_target(&head.target, injection.grant.as_ref())
            .map_err(|error| Refusal::substitution(&error))?;
        rule.rewrite_headers(&mut parts.headers, injection.grant.as_ref())
            .map_err(|error| Refusal::substitution(&error))?;
        if injection.search.is_some() && head.kind == Kind::Plain {
            narrow_accept_encoding(&mut parts.headers);
        }
    }
    let sent = target.as_deref().unwrap_or(head.target.as_str());
    if let Some(rules) = workshop.rules {
        // It will come back as a puzzling 401: say so in the log.
        let found = rules.leftovers_in_head(sent, &parts.headers);
        warnings.extend(leftover::warnings(&found, Place::Head));
    }
    if target.is_some() || parts.uri.scheme().is_some() {
        parts.uri = sent.parse::<Uri>().map_err(|_| {
            Refusal::new(
                StatusCode::BAD_GATEWAY,
                "substitution_error",
                Fault::Policy,
                "the substituted path is not a valid request target",
                "store a value that fits where the service puts it",
            )
        })?;
    }
    let looked_into = injection
        .filter(|injection| injection.rule().needs_body() && !body.is_end_stream())
        .map(|injection| (injection, body::Form::of(&parts.headers)));
    let body = match looked_into {
        Some((injection, form)) if form.is_for(injection.rule()) => {
            let Workshop {
                budget,
                max_request_bytes,
                ..
            } = workshop;
            let body = Box::pin(body::rewritten(
                budget,
                *max_request_bytes,
                injection,
                &form,
                &mut parts.headers,
                take(body),
            ))
            .await?;
            // What other placeholders are left in it.
            leftover::watched(
                workshop.rules,
                &parts.headers,
                body,
                fate.insert(Arc::default()),
            )
        }
        None if body.is_end_stream() => {
            if head.kind != Kind::Plain && workshop.watches() {
                // For its messages.
                fate = Some(Arc::default());
            }
            no_body()
        }
        unseen => {
            // A placeholder in such a body goes out as it is. Better said in the log than held until it ends.
            if let Some(why) = unseen.and_then(|(injection, form)| form.obstacle(injection.rule()))
            {
                warnings.push(format!("body_not_inspected:{why}"));
            }
            let fate = fate.insert(Arc::default());
            let cap = workshop.max_request_bytes;
            let body = RequestBody::new(take(body), cap, gate, Arc::clone(fate));
            leftover::watched(workshop.rules, &parts.headers, body, fate)
        }
    };
    if let Some(injection) = injection {
        for (name, value) in injection.grant.headers() {
            parts.headers.insert(name.clone(), value.clone());
        }
    }
    Ok(Outgoing {
        request: assembled(parts, body),
        warnings,
        fate,
    })
}

/// A request of `body` and what is left of the head. The method stays.
fn assembled(parts: &mut Parts, body: OutgoingBody) -> Request<OutgoingBody> {
    let mut request = Request::new(body);
    request.method_mut().clone_from(&parts.method);
    *request.version_mut() = parts.version;
    *request.uri_mut() = mem::take(&mut parts.uri);
    *request.headers_mut() = mem::take(&mut parts.headers);
    *request.extensions_mut() = mem::take(&mut parts.extensions);
    request
}

fn take(body: &mut Incoming) -> Incoming {
    mem::replace(body, Incoming::Empty)
}

/// Nothing. A declared length of zero stays in the head.
fn no_body() -> OutgoingBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    #[test]
    fn connection_fields_go_and_message_fields_stay() {
        let mut map = headers(&[
            ("connection", "close, X-Drop"),
            ("x-drop", "1"),
            ("keep-alive", "1"),
            ("proxy-authorization", "Basic x"),
            ("proxy-connection", "keep-alive"),
            ("x-vault", "v"),
            ("te", "gzip, trailers"),
            ("trailer", "x-sum"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
            ("anthropic-version", "2023-06-01"),
            ("accept", "a"),
            ("accept", "b"),
        ]);
        strip_request(&mut map);
        let left: Vec<String> = map
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        for wanted in [
            "te: trailers",
            "trailer: x-sum",
            "anthropic-version: 2023-06-01",
            "accept: a",
            "accept: b",
        ] {
            assert!(
                left.iter().any(|line| line == wanted),
                "{wanted} in {left:?}"
            );
        }
        assert_eq!(left.len(), 5, "{left:?}");
    }

    #[test]
    fn a_connection_field_cannot_name_the_framing_away() {
        let mut map = headers(&[("connection", "content-length"), ("content-length", "5")]);
        strip_connection_fields(&mut map, |_| false);
        assert!(map.contains_key(CONTENT_LENGTH));
    }

    #[test]
    fn own_tokens_do_not_leave() {
        let token = format!("Bearer av_agt_{}", "0a".repeat(32));
        let mut map = headers(&[("authorization", &token), ("x-other", "av_agt_short")]);
        assert_eq!(drop_own_tokens(&mut map), vec![AUTHORIZATION]);
        assert!(map.contains_key("x-other"));
    }
}
