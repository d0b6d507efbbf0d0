//! What the proxy would do with a request, told before anything is sent: the rule that decides, why the others do not, and what would
//! go out, with names in the place of values.

use agent_vault_policy::{
    Auth, Authority, Decision, Facts, RequestTarget, Rule, RuleSet, RuleStanding, Scheme, Service,
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::access::{self, AnyRole, VaultRef};
use crate::actor::Actor;
use crate::error::ControlError;
use crate::publish;
use crate::services::{ServiceName, Services, name_of, stored};
use crate::settings;

/// Most header fields that a question may carry.
pub const MAX_TESTED_HEADERS: usize = 100;

/// A request that nobody sends.
#[derive(Debug, Clone, Default)]
pub struct TestedRequest {
    /// `http(s)://host[:port]/path?query`; `ws` and `wss` too. Without a scheme, https.
    pub url: String,
    /// The agent that would ask.
    pub agent: Option<String>,
    /// Its header fields: they matter where a placeholder chooses the account.
    pub headers: Vec<(String, String)>,
}

/// A field that would be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetHeader {
    /// Its name.
    pub name: String,
    /// Its value, with `{{ KEY }}` for each credential.
    pub value: String,
}

/// A placeholder that would be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedText {
    /// The placeholder.
    pub placeholder: String,
    /// The credential that it stands for.
    pub key: String,
    /// Where it is looked for.
    pub surfaces: Vec<&'static str>,
}

/// How a rule stands to the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsideredService {
    /// The rule.
    pub service: ServiceName,
    /// A stable word: `chosen`, `refuses`, `undecided`, `other_host`, `other_port`, `other_path`, `other_agent`, `other_account`,
    /// `less_specific`.
    pub standing: &'static str,
    /// The same for people.
    pub why: String,
}

/// What the proxy would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTest {
    /// `inject`, `forward` or `deny`.
    pub decision: &'static str,
    /// For people.
    pub summary: String,
    /// Why it would be refused, as in the request log.
    pub code: Option<&'static str>,
    /// What to do about that.
    pub hint: Option<String>,
    /// The request's host, with its port where that is not the scheme's.
    pub host: String,
    /// The path as rules see it.
    pub path: String,
    /// The rule that decides.
    pub service: Option<ServiceName>,
    /// What it sets.
    pub sets: Vec<SetHeader>,
    /// What it replaces.
    pub replaces: Vec<ReplacedText>,
    /// Credentials that it names and the vault lacks, or whose value has ended: the request would be refused.
    pub missing: Vec<String>,
    /// Every rule for the host, and how it stands; rules for other hosts are counted in `elsewhere`.
    pub considered: Vec<ConsideredService>,
    /// How many rules are for other hosts.
    pub elsewhere: usize,
}

impl Services<'_> {
    /// Tells what the proxy would do with a request. Sends nothing and opens no value.
    ///
    /// # Errors
    /// Without a role in the vault; `Invalid` for what is no URL, no agent's name or no header field.
    pub async fn test(
        &self,
        actor: &Actor,
        vault: &str,
        request: &TestedRequest,
    ) -> Result<ServiceTest, ControlError> {
        let asked = Asked::parse(request)?;
        let control = self.0;
        let mut rows = control.store().clone();
        let access = access::vault::<AnyRole>(&mut rows, actor, VaultRef::Named(vault)).await?;
        let services = stored(rows.services(access.id()).await?.map(|row| row.json))?;
        let unmatched = settings::unmatched(
            rows.vault_setting(access.id(), settings::UNMATCHED_KEY)
                .await?
                .as_deref(),
            control.options().unmatched,
        );
        let live = rows
            .live_credential_keys(access.id(), control.now())
            .await?;
        let placeholders = publish::placeholders(&services, control.instance_id(), access.id());
        let rules = RuleSet::compile(services, unmatched, &placeholders);
        Ok(explain(&rules, &asked, request.agent.as_deref(), &live))
    }
}

/// A question that can be answered.
struct Asked {
    scheme: Scheme,
    authority: Authority,
    target: RequestTarget,
    headers: HeaderMap,
}

impl Asked {
    fn parse(request: &TestedRequest) -> Result<Self, ControlError> {
        let invalid = |why: &str| {
            ControlError::invalid(format!("Invalid url: {why}"))
                .hint("for example `https://api.example.com/v1/items`")
        };
        let url = request.url.trim();
        let url = url.split('#').next().unwrap_or_default();
        let with_scheme = if url.contains("://") {
            url.to_owned()
        } else {
            format!("https://{url}")
        };
        let uri: Uri = with_scheme
            .parse()
            .map_err(|_| invalid("it is not a URL"))?;
        let scheme = match uri.scheme_str() {
            Some("https" | "wss") => Scheme::Https,
            Some("http" | "ws") => Scheme::Http,
            _ => return Err(invalid("its scheme is not http, https, ws or wss")),
        };
        let authority = uri
            .authority()
            .ok_or_else(|| invalid("it has no host"))
            .and_then(|authority| {
                Authority::parse_with_default(authority.as_str(), scheme.default_port())
                    .map_err(|error| invalid(&error.to_string()))
            })?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = RequestTarget::parse(target).map_err(|error| invalid(&error.to_string()))?;
        Ok(Self {
            scheme,
            authority,
            target,
            headers: headers(&request.headers)?,
        })
    }
}

fn headers(fields: &[(String, String)]) -> Result<HeaderMap, ControlError> {
    if fields.len() > MAX_TESTED_HEADERS {
        return Err(ControlError::invalid(format!(
            "Invalid headers: more than {MAX_TESTED_HEADERS}"
        ))
        .hint("send those that matter, for example `X-Account: __acme_token__`"));
    }
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (index, (name, value)) in fields.iter().enumerate() {
        // The value may be a secret of whoever asks: it is not repeated.
        let invalid = |what: &str| {
            ControlError::invalid(format!("Invalid headers[{index}]: {what}"))
                .hint("for example `X-Account: __acme_token__`")
        };
        let name = HeaderName::try_from(name.as_str())
            .map_err(|_| invalid("that is no header field's name"))?;
        let value = HeaderValue::try_from(value.as_str())
            .map_err(|_| invalid("that is no header field's value"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn explain(rules: &RuleSet, asked: &Asked, agent: Option<&str>, live: &[String]) -> ServiceTest {
    let facts = Facts {
        scheme: asked.scheme,
        authority: &asked.authority,
        target: &asked.target,
        agent,
        headers: &asked.headers,
    };
    let explained = rules.explain(&facts);
    let elsewhere = explained
        .rules
        .iter()
        .filter(|(_, standing)| *standing == RuleStanding::OtherHost)
        .count();
    let considered = explained
        .rules
        .iter()
        .filter(|(_, standing)| *standing != RuleStanding::OtherHost)
        .map(|(rule, standing)| considered(rule, standing))
        .collect();
    let mut test = ServiceTest {
        decision: "forward",
        summary: String::from(
            "no service matches: the request passes through and nothing is put on it",
        ),
        code: None,
        hint: None,
        host: asked.authority.host_header(asked.scheme),
        path: asked.target.decoded_path().to_owned(),
        service: None,
        sets: Vec::new(),
        replaces: Vec::new(),
        missing: Vec::new(),
        considered,
        elsewhere,
    };
    match explained.decision {
        Decision::Forward => {}
        Decision::Deny(denial) => {
            test.decision = "deny";
            test.summary = format!("refused: {denial}");
            test.code = Some(denial.code());
            test.hint = Some(denial.hint());
            test.service = denial.service().and_then(|name| named(rules, name));
        }
        Decision::Inject(rule) => injected(&mut test, rule, live),
    }
    test
}

fn named(rules: &RuleSet, name: &str) -> Option<ServiceName> {
    let rule = rules.services().iter().find(|rule| rule.name() == name)?;
    Some(name_of(rule.service()))
}

fn injected(test: &mut ServiceTest, rule: &Rule, live: &[String]) {
    let service = rule.service();
    test.service = Some(name_of(service));
    test.sets = sets(&service.auth);
    test.replaces = service
        .substitutions
        .iter()
        .map(|substitution| ReplacedText {
            placeholder: substitution.placeholder.to_string(),
            key: substitution.key.to_string(),
            surfaces: substitution.surfaces.iter().map(|s| s.as_str()).collect(),
        })
        .collect();
    test.missing = rule
        .keys()
        .iter()
        .map(ToString::to_string)
        .filter(|key| !live.contains(key))
        .collect();
    if test.missing.is_empty() {
        test.decision = "inject";
        test.summary = format!("`{}` decides", service.name);
    } else {
        test.decision = "deny";
        test.code = Some("credential_not_found");
        test.summary = format!(
            "refused: `{}` decides, and the vault has no value for {}",
            service.name,
            test.missing.join(", ")
        );
        test.hint = test
            .missing
            .first()
            .map(|key| format!("set it with `agent-vault vault credential set {key}`"));
    }
}

/// The fields that an injection sets, names standing for values.
fn sets(auth: &Auth) -> Vec<SetHeader> {
    let field = |name: &str, value: String| SetHeader {
        name: name.to_owned(),
        value,
    };
    match auth {
        Auth::Bearer { token } => vec![field("Authorization", format!("Bearer {{{{ {token} }}}}"))],
        Auth::Basic { username, password } => {
            let password = password
                .as_ref()
                .map(|key| format!("{{{{ {key} }}}}"))
                .unwrap_or_default();
            let value = format!("Basic base64({{{{ {username} }}}}:{password})");
            vec![field("Authorization", value)]
        }
        Auth::ApiKey {
            key,
            header,
            prefix,
        } => vec![field(
            header.as_written(),
            format!("{prefix}{{{{ {key} }}}}"),
        )],
        Auth::Custom { headers } => headers
            .iter()
            .map(|(name, template)| field(name.as_written(), template.as_str().to_owned()))
            .collect(),
        Auth::Passthrough => Vec::new(),
    }
}

fn considered(rule: &Rule, standing: &RuleStanding) -> ConsideredService {
    let service = rule.service();
    let (word, why) = match standing {
        RuleStanding::Chosen => ("chosen", String::from("decides")),
        RuleStanding::Refuses if !service.enabled => {
            ("refuses", String::from("matches best, and is disabled"))
        }
        RuleStanding::Refuses => (
            "refuses",
            String::from("matches best, and sends its credential over TLS only"),
        ),
        RuleStanding::Undecided => (
            "undecided",
            String::from("matches like another, and the request does not tell which is meant"),
        ),
        RuleStanding::OtherHost => ("other_host", String::from("is for another host")),
        RuleStanding::OtherPort => (
            "other_port",
            format!("is for port {}", service.port.unwrap_or_default()),
        ),
        RuleStanding::OtherPath => (
            "other_path",
            service.path.as_ref().map_or_else(
                || String::from("is for other paths"),
                |path| format!("is for {}", path.as_str()),
            ),
        ),
        RuleStanding::OtherAgent => (
            "other_agent",
            format!("is only for {}", agents(service).join(", ")),
        ),
        RuleStanding::OtherAccount => (
            "other_account",
            String::from("matches alike, and the request means another account"),
        ),
        RuleStanding::LessSpecific { than } => (
            "less_specific",
            format!("matches, and `{than}` comes first"),
        ),
        _ => ("other", String::from("does not decide")),
    };
    ConsideredService {
        service: name_of(service),
        standing: word,
        why,
    }
}

fn agents(service: &Service) -> Vec<String> {
    service
        .select
        .agents
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_that_cannot_be_answered_say_why() {
        let ask = |url: &str, headers: Vec<(String, String)>| {
            Asked::parse(&TestedRequest {
                url: url.to_owned(),
                agent: None,
                headers,
            })
            .map(|asked| asked.authority.to_string())
        };
        assert_eq!(ask("api.x.com", vec![]).unwrap(), "api.x.com:443");
        assert_eq!(
            ask("http://API.x.com/a?b#c", vec![]).unwrap(),
            "api.x.com:80"
        );
        assert_eq!(ask("wss://api.x.com:99/", vec![]).unwrap(), "api.x.com:99");
        for bad in [
            "",
            "ftp://api.x.com/",
            "https://user:secret@api.x.com/",
            "https://api.x.com:0/",
            "https:///path",
            "https://api x.com/",
        ] {
            let error = ask(bad, vec![]).unwrap_err();
            assert!(
                error.message().starts_with("Invalid url: "),
                "{bad}: {error}"
            );
            assert!(!error.message().contains("secret"), "{error}");
        }
        let error = ask("api.x.com", vec![("X-A".into(), "hidden\n".into())]).unwrap_err();
        assert_eq!(
            error.message(),
            "Invalid headers[0]: that is no header field's value"
        );
    }
}
