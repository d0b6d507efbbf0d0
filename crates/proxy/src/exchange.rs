//! One request and its answer: the stages in order.
//!
//! ```text
//! authenticate → head → limits → decide → inject → send → scrub → relay → (journal, at the end)
//! ```

use std::convert::Infallible;
use std::mem;
use std::pin::pin;
use std::sync::Arc;

use agent_vault_broker::{Admission, GrantError, Permit, Principal, RenewalOrder, Slot, Verdict};
use agent_vault_policy::{Facts, Undecodable};
use agent_vault_upstream::{Answer, Continue, Incoming, Lease, Route};
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderName, PROXY_AUTHENTICATE, SET_COOKIE,
};
use http::request::Parts;
use http::response;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::ext::ReasonPhrase;
use jiff::Timestamp;

use crate::Shared;
use crate::authenticate::{authenticate, from_its_sources};
use crate::connection::Watch;
use crate::head::{Framing, Head, Kind, Tunnel, fits, framing};
use crate::inject::{self, Injection, Outgoing, Workshop};
use crate::interim::{Hints, Listener};
use crate::journal::{Entry, LogDecision};
use crate::leftover::Messages;
use crate::meters::{Protocol, UpstreamFailure};
use crate::names::{Name, Names};
use crate::relay::{Fate, Gate, Held, Lost, RelayBody, ResponseBody, Source};
use crate::respond::{Fault, MARKER, Refusal};
use crate::scrub::{
    EncodingError, Fit, MAX_SETTLED_BYTES, ScrubBody, Search, body_changed, counts_bytes,
    decode_for_scrub,
};
use crate::upgrade::{self, ClientTunnel};

/// Values that one request waits for, one after the other.
const MAX_RENEWALS: usize = 4;

/// The client side of an exchange: a connection, and the tunnel that it runs in, if it does.
pub(crate) struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) tunnel: Option<InTunnel>,
    /// The port of ours that it connected to, if this is the outermost connection.
    pub(crate) own_port: Option<u16>,
}

/// What was settled when a tunnel was opened. The principal is presented again by each request.
pub(crate) struct InTunnel {
    pub(crate) principal: Arc<Principal>,
    pub(crate) tunnel: Tunnel,
    pub(crate) route: Arc<Route>,
}

/// What the client's version of HTTP offers an exchange.
pub(crate) struct Caller {
    /// Where interim responses go.
    pub(crate) hints: Hints,
    /// The client's half of a WebSocket, if the request asks for one.
    pub(crate) tunnel: Option<ClientTunnel>,
}

/// A request that has passed every stage up to the upstream's answer.
struct Answered {
    answer: Answer,
    injection: Option<Injection>,
    slot: Slot,
    fate: Option<Arc<Fate>>,
    /// The client's half of an accepted WebSocket.
    upgrade: Option<Box<upgrade::Accepted>>,
}

/// Serves one request that came over HTTP/1.
pub(crate) fn exchange_http1(
    client: Arc<Client>,
    request: Request<hyper::body::Incoming>,
) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + Send {
    let mut request = request;
    let tunnel = ClientTunnel::Http1(hyper::upgrade::on(&mut request));
    let number = client.watch.interim().begin();
    let hints = if request.version() == Version::HTTP_11 {
        Hints::Http1(Arc::clone(&client.watch), number)
    } else {
        Hints::None
    };
    let caller = Caller {
        hints,
        tunnel: Some(tunnel),
    };
    exchange(client, request.map(Incoming::Http1), caller)
}

/// Serves one request. Never fails: what goes wrong is a response. Does nothing before it is first polled.
// What lasts over the waits is moved with the future, and the future of an `async fn` has its arguments twice. So they are
// captured here, and passed on by reference; what need not wait is done in functions that are not async.
pub(crate) fn exchange(
    client: Arc<Client>,
    request: Request<Incoming>,
    caller: Caller,
) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + Send {
    let (mut parts, mut body) = request.into_parts();
    let mut caller = caller;
    async move {
        let busy = client.watch.busy();
        let shared = &client.shared;
        let _hearing = Hearing(&client.watch);
        let now = shared.now();
        let principal = match client.principal(&parts.headers, now) {
            Ok(principal) => principal,
            Err(refusal) => return Ok(client.not_authenticated(refusal)),
        };
        let host = client.display(&parts.uri);
        let mut entry = Entry::open(
            &shared.journal,
            &principal,
            spoken(parts.version),
            &parts.method,
            &host,
            now,
        );
        let answered = pin!(stages(
            &client,
            &principal,
            &mut entry,
            (&mut parts, &mut body),
            &mut caller,
            now,
        ))
        .await;
        let Answered {
            answer,
            injection,
            slot,
            fate,
            upgrade,
        } = match answered {
            Ok(answered) => answered,
            Err(refusal) => {
                let refused = refuse(shared, &parts.method, entry, refusal);
                return Ok(in_version(refused, parts.version));
            }
        };
        let mut held = Held { entry, busy, slot };
        let response = match upgrade {
            Some(accepted) => upgrade::join(&client, *accepted, answer, injection.as_ref(), held),
            None => match relaying(shared, &parts.method, answer, injection.as_ref(), &mut held) {
                Ok(mut relaying) => {
                    relaying.settle().await;
                    relaying.response(shared, &parts.method, fate, held)
                }
                Err(refusal) => refuse(shared, &parts.method, held.entry, refusal),
            },
        };
        Ok(in_version(response, parts.version))
    }
}

/// hyper's server writes the version of its connection; ours must not contradict it.
fn in_version(mut response: Response<ResponseBody>, version: Version) -> Response<ResponseBody> {
    *response.version_mut() = version;
    response
}

/// While there is one, interim responses to the exchange go on to an HTTP/1.1 client.
struct Hearing<'w>(&'w Watch);

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        self.0.interim().end();
    }
}

impl Client {
    fn principal(&self, headers: &HeaderMap, now: Timestamp) -> Result<Arc<Principal>, Refusal> {
        if let Some(tunnel) = &self.tunnel {
            return Ok(Arc::clone(&tunnel.principal));
        }
        let shared = &self.shared;
        let principal = authenticate(
            &shared.broker,
            &shared.failures,
            headers,
            self.watch.peer(),
            now,
        )?;
        self.watch.belongs_to(&principal);
        Ok(Arc::new(principal))
    }

    fn not_authenticated(&self, refusal: Refusal) -> Response<ResponseBody> {
        let shared = &self.shared;
        tracing::info!(peer = %self.watch.peer(), code = refusal.code, "proxy request refused");
        shared.journal.meters().not_authenticated(refusal.code);
        refusal.into_response(shared.options.base_url.as_ref())
    }

    fn display(&self, uri: &http::Uri) -> Arc<str> {
        match &self.tunnel {
            Some(tunnel) => Arc::clone(&tunnel.tunnel.display),
            None => Arc::from(uri.authority().map_or("", |authority| authority.as_str())),
        }
    }

    /// What is said when a head cannot be read, after which the connection ends.
    pub(crate) fn unreadable_head(&self, refusal: Refusal) -> Bytes {
        let shared = &self.shared;
        tracing::info!(peer = %self.watch.peer(), code = refusal.code, "proxy request refused");
        if let Some(tunnel) = &self.tunnel {
            let mut entry = Entry::open(
                &shared.journal,
                &tunnel.principal,
                Protocol::Http1,
                &unknown_method(),
                &tunnel.tunnel.display,
                shared.now(),
            );
            entry.answered(refusal.status);
            entry.complete(refusal.code);
        }
        refusal.into_last_words(shared.options.base_url.as_ref())
    }

    fn head(&self, parts: &Parts) -> Result<Head, Refusal> {
        match &self.tunnel {
            Some(tunnel) => Head::in_tunnel(parts, &tunnel.tunnel),
            None => Head::absolute(parts),
        }
    }

    fn route(&self, admission: &Admission, head: &Head) -> Result<Arc<Route>, Refusal> {
        if let Some(tunnel) = &self.tunnel {
            return Ok(Arc::clone(&tunnel.route));
        }
        Route::new(admission.vault_id(), head.scheme, head.authority.clone())
            .map(Arc::new)
            .map_err(|error| Refusal::upstream(&error, &head.authority.to_string()))
    }
}

/// The stages up to the upstream's answer. Each takes what the one before it made.
async fn stages(
    client: &Client,
    principal: &Principal,
    entry: &mut Entry,
    (parts, body): (&mut Parts, &mut Incoming),
    caller: &mut Caller,
    now: Timestamp,
) -> Result<Answered, Refusal> {
    let shared = &client.shared;
    let admission = shared
        .broker
        .admit(principal, now)
        .map_err(|refusal| Refusal::unauthenticated(&refusal))?;
    from_its_sources(principal, client.watch.peer())?;
    fits(parts)?;
    let head = client.head(parts)?;
    if shared.options.log_paths {
        entry.set_path(head.target.decoded_path());
    }
    if head.kind != Kind::Plain {
        entry.speaks(Protocol::WebSocket);
    }
    note_client(entry, &head, client, &parts.headers);
    let slot = principal.limits().admit().await.map_err(Refusal::limited)?;

    let (mut admission, mut waited) = (admission, 0);
    let injection = loop {
        match decide(principal, &admission, &head, parts, entry) {
            Ok(injection) => break injection,
            Err(Undecided::Refused(refusal)) => return Err(*refusal),
            // A value has ended, or is to be lent: everybody who needs it waits for the one fetch of it.
            Err(Undecided::Ended(ended)) if waited < MAX_RENEWALS => {
                waited += 1;
                admission = Box::pin(renewed(shared, principal, &admission, *ended)).await?;
            }
            Err(undecided) => return Err(undecided.into_refusal(&admission)),
        }
    };
    // Only what would go out counts, and nothing goes out uncounted.
    admission.spend().await.map_err(Refusal::over_budget)?;
    let repeat = Repeat::of(&head, parts, body, injection.as_ref());
    let route = client.route(&admission, &head)?;
    let waiting = expectation(&head, parts, body);
    if let Some(waiting) = waiting.as_ref().filter(|_| head.kind == Kind::Plain) {
        parts.extensions.insert(waiting.clone());
    }
    let workshop = Workshop {
        budget: &shared.budget,
        max_request_bytes: shared.options.max_request_bytes,
        rules: admission.rules(),
    };
    let Outgoing {
        request,
        warnings,
        fate,
    } = inject::build(
        &workshop,
        &head,
        injection.as_ref(),
        parts,
        body,
        waiting.clone().map(Gate::new),
    )
    .await?;
    let decision = if injection.is_some() {
        LogDecision::Brokered
    } else {
        LogDecision::Passed
    };
    entry.note(|record| {
        record.decision = decision;
        record.warnings = warnings;
    });
    entry.follow(fate.clone());
    entry.count(
        injection
            .as_ref()
            .and_then(|injection| injection.search.clone()),
    );

    let sent = if head.kind == Kind::Plain {
        let listener = Listener {
            hints: mem::replace(&mut caller.hints, Hints::None),
            search: injection
                .as_ref()
                .and_then(|injection| injection.search.clone()),
            brokered: injection.is_some(),
            waiting,
        };
        pin!(shared.upstream.send(&route, request, &listener))
            .await
            .map(|answer| (answer, None))
    } else {
        let rewriter =
            upgrade::rewriter(injection.as_ref()).map_err(|error| Refusal::substitution(&error))?;
        let scrubs = injection
            .as_ref()
            .is_some_and(|injection| injection.search.is_some());
        let looks_inside = scrubs || rewriter.is_some() || workshop.watches();
        Box::pin(upgrade::handshake(
            &shared.upstream,
            &route,
            request,
            head.kind,
            looks_inside,
        ))
        .await
        .map(|(answer, form)| {
            let accepted = form
                .zip(caller.tunnel.take())
                .map(|(form, client)| upgrade::Accepted {
                    form,
                    client,
                    rewriter,
                    watcher: fate
                        .as_ref()
                        .and_then(|fate| Messages::new(workshop.rules, fate))
                        .map(|messages| -> upgrade::Watcher { Box::new(messages) }),
                })
                .map(Box::new);
            (answer, accepted)
        })
    };
    let (answer, upgrade) = sent.map_err(|error| {
        tracing::debug!(target = %head.authority, error = ?error, "upstream failed");
        match fate.as_ref().and_then(|fate| fate.get()) {
            Some(Lost::TooLarge) => {
                Refusal::request_too_large(shared.options.max_request_bytes.unwrap_or_default())
            }
            Some(Lost::Broken | Lost::Left) => Refusal::unreadable_body(),
            Some(Lost::Stalled) => Refusal::stalled_body(),
            None => {
                shared
                    .journal
                    .meters()
                    .upstream_failed(UpstreamFailure::Unanswered(error.kind()));
                Refusal::upstream(&error, &head.authority.to_string())
            }
        }
    })?;
    let (answer, injection, fate) = match repeat {
        Some(repeat) if answer.response.status() == StatusCode::UNAUTHORIZED => {
            let again = Box::pin(repeat.send(client, principal, &head, &route, entry)).await;
            match again {
                Some(again) => again,
                None => (answer, injection, fate),
            }
        }
        Some(_) | None => (answer, injection, fate),
    };
    if upgrade.is_none() && answer.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Refusal::new(
            StatusCode::BAD_GATEWAY,
            "upstream_error",
            Fault::Upstream,
            "the upstream switched protocols without being asked",
            "the upstream is at fault; report it to its operator",
        ));
    }
    Ok(Answered {
        answer,
        injection,
        slot,
        fate,
        upgrade,
    })
}

/// Decides, and opens what the decision allows to be used.
fn decide(
    principal: &Principal,
    admission: &Admission,
    head: &Head,
    parts: &Parts,
    entry: &mut Entry,
) -> Result<Option<Injection>, Undecided> {
    let facts = Facts {
        scheme: head.scheme,
        authority: &head.authority,
        target: &head.target,
        agent: principal.agent(),
        headers: &parts.headers,
    };
    let permit = match admission.decide(&facts) {
        Verdict::Inject(permit) => permit,
        Verdict::Forward => return Ok(None),
        Verdict::Deny(denial) => {
            entry.note(|record| record.service = denial.service().map(Arc::from));
            return Err(Undecided::from(Refusal::denied(
                &denial,
                &head.authority.host_header(head.scheme),
                admission.vault_name(),
            )));
        }
        Verdict::Broken => {
            return Err(Undecided::from(Refusal::broken_rules(
                admission.vault_name(),
            )));
        }
        Verdict::Withheld { service } => {
            let refusal = Refusal::withheld(&service, admission.vault_name());
            entry.note(|record| record.service = Some(service));
            return Err(Undecided::from(refusal));
        }
    };
    entry.note(|record| record.service = Some(permit.rule_name()));
    if reflects(&parts.method) {
        return Err(Undecided::from(Refusal::trace()));
    }
    let grant = permit.grant();
    entry.note(|record| {
        record.key_versions = grant
            .as_ref()
            .ok()
            .map(|grant| Arc::clone(grant.versions()));
        record.keys = Some(match &grant {
            Ok(grant) => Arc::clone(grant.key_names()),
            // What did not open is what people will want to know.
            Err(_) => permit
                .rule()
                .keys()
                .iter()
                .map(ToString::to_string)
                .collect(),
        });
    });
    match grant {
        Ok(grant) => Ok(Some(Injection::new(permit, grant)?)),
        Err(GrantError::Ended { order }) => Err(Undecided::Ended(Box::new((permit, order)))),
        Err(error) => Err(Undecided::from(Refusal::ungranted(
            &error,
            permit.rule().name(),
            admission.vault_name(),
        ))),
    }
}

/// Why a request is not decided yet, or never.
enum Undecided {
    Refused(Box<Refusal>),
    /// A token of the rule that decides has ended, and the next one can be fetched.
    Ended(Box<(Permit, RenewalOrder)>),
}

impl From<Refusal> for Undecided {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl Undecided {
    /// What the client is told when nothing more is tried.
    fn into_refusal(self, admission: &Admission) -> Refusal {
        match self {
            Self::Refused(refusal) => *refusal,
            Self::Ended(ended) => {
                let (permit, order) = *ended;
                let error = GrantError::Ended { order };
                Refusal::ungranted(&error, permit.rule().name(), admission.vault_name())
            }
        }
    }
}

/// Waits for the next token, and admits the request to the vault that has it.
async fn renewed(
    shared: &Shared,
    principal: &Principal,
    admission: &Admission,
    ended: (Permit, RenewalOrder),
) -> Result<Admission, Refusal> {
    let (permit, order) = ended;
    permit.renewed(order).await.map_err(|error| {
        Refusal::ungranted(&error, permit.rule().name(), admission.vault_name())
    })?;
    shared
        .broker
        .admit(principal, shared.now())
        .map_err(|refusal| Refusal::unauthenticated(&refusal))
}

/// A request that may be sent once more, should the upstream refuse the token on it: it only reads, has no body, and its token can
/// be fetched anew.
struct Repeat {
    parts: Parts,
    order: RenewalOrder,
}

impl Repeat {
    fn of(
        head: &Head,
        parts: &Parts,
        body: &Incoming,
        injection: Option<&Injection>,
    ) -> Option<Box<Self>> {
        let order = injection?.renewable()?;
        let repeatable = head.kind == Kind::Plain
            && matches!(parts.method, Method::GET | Method::HEAD)
            && body.is_end_stream();
        repeatable.then(|| {
            Box::new(Self {
                parts: parts.clone(),
                order,
            })
        })
    }

    /// Fetches another token and sends the request with it. `None` when anything stands in the way: then the first answer, which is
    /// still whole, is what the client gets.
    async fn send(
        self,
        client: &Client,
        principal: &Principal,
        head: &Head,
        route: &Arc<Route>,
        entry: &mut Entry,
    ) -> Option<(Answer, Option<Injection>, Option<Arc<Fate>>)> {
        let Self { mut parts, order } = self;
        let shared = &client.shared;
        let admission = shared.broker.admit(principal, shared.now()).ok()?;
        let injection = decide(principal, &admission, head, &parts, entry).ok()??;
        let admission = if injection.renewable().as_ref() == Some(&order) {
            // Nobody has fetched another in the meantime.
            injection.permit.renewed(order).await.ok()?;
            shared.broker.admit(principal, shared.now()).ok()?
        } else {
            admission
        };
        let injection = decide(principal, &admission, head, &parts, entry).ok()??;
        let workshop = Workshop {
            budget: &shared.budget,
            max_request_bytes: shared.options.max_request_bytes,
            rules: admission.rules(),
        };
        let outgoing = inject::build(
            &workshop,
            head,
            Some(&injection),
            &mut parts,
            &mut Incoming::Empty,
            None,
        )
        .await
        .ok()?;
        let answer = shared
            .upstream
            .send(route, outgoing.request, &())
            .await
            .ok()?;
        entry.count(injection.search.clone());
        entry.note(|record| record.warnings.push("token_renewed_after_401".to_owned()));
        Some((answer, Some(injection), outgoing.fate))
    }
}

/// A client that waits for `100 Continue` sends its body once the upstream has said so.
fn expectation(head: &Head, parts: &Parts, body: &Incoming) -> Option<Continue> {
    (head.names.has(Name::Expect) && expects_continue(&parts.headers) && !body.is_end_stream())
        .then(Continue::default)
}

/// Whether a client waits for `100 Continue` before it sends its body (RFC 9110 section 10.1.1).
pub(crate) fn expects_continue(headers: &HeaderMap) -> bool {
    headers
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// An ordinary answer on its way to the client.
struct Relaying {
    parts: response::Parts,
    source: Source,
    lease: Lease,
    /// The body is short and its length may change: it is read to its end before the head leaves.
    settles: bool,
}

/// Makes an ordinary answer ready to be relayed.
fn relaying(
    shared: &Shared,
    method: &Method,
    answer: Answer,
    injection: Option<&Injection>,
    held: &mut Held,
) -> Result<Relaying, Refusal> {
    let mut lease = answer.lease;
    let (mut parts, body) = answer.response.into_parts();
    let names = Names::of(&parts.headers);
    match framing(&parts.headers, names) {
        Framing::Plain => {}
        Framing::Twofold => {
            // What was announced counts for nothing, and where the next response begins is anybody's guess.
            parts.headers.remove(CONTENT_LENGTH);
            lease.spoil();
        }
        Framing::Coded => {
            return Err(Refusal::new(
                StatusCode::BAD_GATEWAY,
                "upstream_error",
                Fault::Upstream,
                "the upstream used a transfer coding other than chunked",
                "the upstream is at fault; report it to its operator",
            ));
        }
    }
    strip_response(&mut parts.headers, injection.is_some());
    if let Some(cap) = shared.options.max_response_bytes
        && body.size_hint().lower() > cap
    {
        return Err(Refusal::response_too_large(cap));
    }
    let mut relaying = Relaying {
        parts,
        source: Source::Plain(body),
        lease,
        settles: false,
    };
    if let Some((injection, search)) =
        injection.and_then(|injection| Some((injection, injection.search.as_ref()?)))
        && let Err(error) = relaying.scrub(search, method)
    {
        let rule = injection.rule();
        tracing::info!(
            service = rule.name(),
            status = relaying.parts.status.as_u16(),
            ?error,
            "a response cannot be searched for the credential"
        );
        if rule.service().scrub.undecodable == Undecodable::Refuse {
            return Err(Refusal::not_scrubbable(&error));
        }
        held.entry.note(|record| {
            record
                .warnings
                .push(format!("response_not_scrubbed:{}", error.word()));
        });
    }
    held.entry.answered(relaying.parts.status);
    if names.has(Name::ContentType) && is_long_lived(&relaying.parts.headers) {
        held.slot.release();
    }
    Ok(relaying)
}

impl Relaying {
    /// Replaces what was injected in the head, and puts the body behind the same. An error leaves the body as it is.
    fn scrub(&mut self, search: &Search, method: &Method) -> Result<(), EncodingError> {
        let parts = &mut self.parts;
        search.scrub_headers(&mut parts.headers);
        let reason = parts.extensions.get::<ReasonPhrase>();
        if reason.is_some_and(|reason| search.replace(reason.as_bytes(), Fit::Free).is_some()) {
            parts.extensions.remove::<ReasonPhrase>();
        }
        let decoding = decode_for_scrub(method, parts.status, &mut parts.headers)?;
        let Source::Plain(body) = &mut self.source else {
            return Ok(());
        };
        if body.is_end_stream() {
            return Ok(());
        }
        let declared = parts.headers.get(CONTENT_LENGTH).map(|_| body.size_hint());
        // A part of a body must keep its place in the whole.
        let same = counts_bytes(&parts.headers) || parts.status == StatusCode::PARTIAL_CONTENT;
        let fit = if same || declared.is_some() {
            Fit::Same
        } else {
            Fit::Free
        };
        let short = declared
            .and_then(|hint| hint.exact())
            .is_some_and(|length| length <= MAX_SETTLED_BYTES);
        self.settles = short && !same;
        let body = mem::replace(body, Incoming::Empty);
        self.source = Source::Scrubbed(Box::new(ScrubBody::new(
            body,
            search,
            decoding.as_ref(),
            fit,
        )));
        Ok(())
    }

    /// Reads a short body to its end, where its length may change.
    async fn settle(&mut self) {
        if self.settles
            && let Source::Scrubbed(body) = &mut self.source
            && let Some(settled) = body.settle().await
            && settled.changed
        {
            body_changed(&mut self.parts.headers, settled.length);
        }
    }

    fn response(
        self,
        shared: &Shared,
        method: &Method,
        fate: Option<Arc<Fate>>,
        held: Held,
    ) -> Response<ResponseBody> {
        let cap = shared.options.max_response_bytes;
        let mut body = RelayBody::new(self.source, cap, fate, self.lease, held);
        if *method == Method::HEAD
            || matches!(
                self.parts.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            )
        {
            body = body.without_content();
        }
        Response::from_parts(self.parts, ResponseBody::Relayed(body))
    }
}

/// Streams that last do not take a place from short requests.
fn is_long_lived(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value.starts_with(b"text/event-stream") || value.starts_with(b"application/grpc")
    })
}

/// Takes off what belongs to the upstream's connection, what only we may say, and cookies that were set for a brokered
/// identity.
pub(crate) fn strip_response(headers: &mut HeaderMap, brokered: bool) {
    inject::strip_connection_fields(headers, |name| {
        matches!(*name, PROXY_AUTHENTICATE)
            || name.as_str() == MARKER
            || brokered && matches!(*name, SET_COOKIE)
    });
}

/// Takes off of a response's trailers what would not be let through in its head.
pub(crate) fn strip_response_trailers(trailers: &mut HeaderMap) {
    strip_response(trailers, true);
    trailers.remove(CONTENT_LENGTH);
}

fn refuse(
    shared: &Shared,
    method: &Method,
    entry: Entry,
    refusal: Refusal,
) -> Response<ResponseBody> {
    tracing::debug!(code = refusal.code, message = %refusal.message, "request refused");
    if entry.has_client_left() {
        // Nobody was refused anything, and most likely nobody hears the answer. The record says so by itself.
        drop(entry);
    } else {
        let mut entry = entry;
        entry.answered(refusal.status);
        entry.note(|record| {
            if !matches!(refusal.fault, Fault::Upstream) {
                record.decision = LogDecision::Refused;
            }
        });
        entry.complete(refusal.code);
    }
    let response = refusal.into_response(shared.options.base_url.as_ref());
    if *method == Method::HEAD {
        without_body(response)
    } else {
        response
    }
}

/// The answer to HEAD says how long the body would be (RFC 9110 section 9.3.2). hyper leaves a body out over HTTP/1.1
/// only.
fn without_body(response: Response<ResponseBody>) -> Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.insert(CONTENT_LENGTH, length.into());
    }
    Response::from_parts(parts, ResponseBody::EMPTY)
}

/// Whether a method asks for the request itself as the answer: `TRACE` (RFC 9110 section 9.3.8), and `TRACK` of some servers.
/// Methods are case-sensitive, but not to every server.
fn reflects(method: &Method) -> bool {
    ["TRACE", "TRACK"]
        .iter()
        .any(|name| method.as_str().eq_ignore_ascii_case(name))
}

fn spoken(version: Version) -> Protocol {
    if version == Version::HTTP_2 {
        Protocol::Http2
    } else {
        Protocol::Http1
    }
}

/// Stands in the log for a method that could not be read.
fn unknown_method() -> Method {
    Method::from_bytes(b"-").unwrap_or(Method::CONNECT)
}

/// Notes where a request goes and how the client itself authenticates to the upstream, for host discovery.
fn note_client(entry: &mut Entry, head: &Head, client: &Client, headers: &HeaderMap) {
    let auth = if head.names.has(Name::Authorization) || head.names.has(Name::ApiKey) {
        client_auth(headers)
    } else {
        None
    };
    let host = client
        .tunnel
        .is_none()
        .then(|| Arc::from(head.authority.to_string()));
    entry.note(|record| {
        record.client_auth = auth;
        if let Some(host) = host {
            record.host = host;
        }
    });
}

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const API_KEY: HeaderName = HeaderName::from_static("api-key");

fn client_auth(headers: &HeaderMap) -> Option<(&'static str, &'static str)> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let scheme = value
            .as_bytes()
            .split(|byte| *byte == b' ')
            .next()
            .unwrap_or_default();
        let scheme = if scheme.eq_ignore_ascii_case(b"bearer") {
            "bearer"
        } else if scheme.eq_ignore_ascii_case(b"basic") {
            "basic"
        } else {
            "api-key"
        };
        return Some((scheme, "Authorization"));
    }
    [(X_API_KEY, "X-Api-Key"), (API_KEY, "Api-Key")]
        .into_iter()
        .find(|(name, _)| headers.contains_key(name))
        .map(|(_, shown)| ("api-key", shown))
}
