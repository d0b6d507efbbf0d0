//! The service catalogue: ready templates for well-known hosts.

use serde::Serialize;

use TemplateAuth::{ApiKey, Basic, Bearer, Custom, Passthrough};

/// How a template's service authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateAuth {
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: Basic`.
    Basic,
    /// A header, and literal text in front of the key.
    ApiKey {
        /// Name of the header.
        header: &'static str,
        /// Text in front.
        prefix: &'static str,
    },
    /// Headers from templates.
    Custom(&'static [(&'static str, &'static str)]),
    /// Nothing but a substitution in the path.
    Passthrough {
        /// What stands for the key.
        placeholder: &'static str,
    },
}

/// One template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    /// Identity; also a good service name.
    pub id: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// Host, joined with its path where it has one.
    pub host: &'static str,
    /// What it is.
    pub description: &'static str,
    /// How it authenticates.
    pub auth: TemplateAuth,
    /// The key that people call it by.
    pub key: &'static str,
}

/// One substitution of a template.
#[derive(Debug, Clone, Serialize)]
pub struct TemplateSubstitution {
    /// Credential key.
    pub key: &'static str,
    /// What is replaced.
    pub placeholder: &'static str,
    /// Where.
    #[serde(rename = "in")]
    pub surfaces: [&'static str; 1],
}

impl Template {
    /// The contract's word for the kind of authentication.
    #[must_use]
    pub fn auth_type(&self) -> &'static str {
        match self.auth {
            Bearer => "bearer",
            Basic => "basic",
            ApiKey { .. } => "api-key",
            Custom(_) => "custom",
            Passthrough { .. } => "passthrough",
        }
    }

    /// The substitutions of a service made from it.
    #[must_use]
    pub fn substitutions(&self) -> Vec<TemplateSubstitution> {
        match self.auth {
            Passthrough { placeholder } => {
                vec![TemplateSubstitution {
                    key: self.key,
                    placeholder,
                    surfaces: ["path"],
                }]
            }
            _ => Vec::new(),
        }
    }
}

const fn template(
    id: &'static str,
    name: &'static str,
    host: &'static str,
    description: &'static str,
    auth: TemplateAuth,
    key: &'static str,
) -> Template {
    Template {
        id,
        name,
        host,
        description,
        auth,
        key,
    }
}

const fn header(header: &'static str) -> TemplateAuth {
    ApiKey { header, prefix: "" }
}

/// Every template, in the order of their ids.
pub const TEMPLATES: [Template; 35] = [
    template(
        "anthropic",
        "Anthropic",
        "api.anthropic.com",
        "Claude models",
        header("x-api-key"),
        "ANTHROPIC_API_KEY",
    ),
    template(
        "aws-s3",
        "AWS S3",
        "s3.amazonaws.com",
        "Object storage",
        Custom(&[]),
        "AWS_SECRET_ACCESS_KEY",
    ),
    template(
        "cloudflare",
        "Cloudflare",
        "api.cloudflare.com",
        "DNS, CDN and edge platform",
        Bearer,
        "CLOUDFLARE_API_TOKEN",
    ),
    template(
        "cohere",
        "Cohere",
        "api.cohere.com",
        "Language models and embeddings",
        Bearer,
        "CO_API_KEY",
    ),
    template(
        "datadog",
        "Datadog",
        "api.datadoghq.com",
        "Monitoring and logs",
        header("DD-API-KEY"),
        "DATADOG_API_KEY",
    ),
    template(
        "deepseek",
        "DeepSeek",
        "api.deepseek.com",
        "Language models",
        Bearer,
        "DEEPSEEK_API_KEY",
    ),
    template(
        "discord",
        "Discord",
        "discord.com/api/*",
        "Chat bots",
        ApiKey {
            header: "Authorization",
            prefix: "Bot ",
        },
        "DISCORD_BOT_TOKEN",
    ),
    template(
        "fireworks",
        "Fireworks AI",
        "api.fireworks.ai",
        "Model inference",
        Bearer,
        "FIREWORKS_API_KEY",
    ),
    template(
        "gemini",
        "Google Gemini",
        "generativelanguage.googleapis.com",
        "Gemini models",
        header("x-goog-api-key"),
        "GEMINI_API_KEY",
    ),
    template(
        "github",
        "GitHub",
        "api.github.com",
        "Repositories, issues and actions",
        Bearer,
        "GITHUB_TOKEN",
    ),
    template(
        "gitlab",
        "GitLab",
        "gitlab.com/api/*",
        "Repositories and pipelines",
        header("PRIVATE-TOKEN"),
        "GITLAB_TOKEN",
    ),
    template(
        "groq",
        "Groq",
        "api.groq.com",
        "Fast model inference",
        Bearer,
        "GROQ_API_KEY",
    ),
    template(
        "jira",
        "Jira",
        "*.atlassian.net",
        "Issues and projects",
        Basic,
        "JIRA_API_TOKEN",
    ),
    template(
        "linear",
        "Linear",
        "api.linear.app",
        "Issues and projects",
        header("Authorization"),
        "LINEAR_API_KEY",
    ),
    template(
        "mistral",
        "Mistral AI",
        "api.mistral.ai",
        "Language models",
        Bearer,
        "MISTRAL_API_KEY",
    ),
    template(
        "notion",
        "Notion",
        "api.notion.com",
        "Pages and databases",
        Bearer,
        "NOTION_TOKEN",
    ),
    template(
        "npm",
        "NPM",
        NPM_HOST,
        "JavaScript packages",
        Bearer,
        "NPM_TOKEN",
    ),
    template(
        "npmgh",
        "Github NPM registry",
        NPM_GITHUB_HOST,
        "JavaScript packages on GitHub",
        Bearer,
        "NPM_GH_TOKEN",
    ),
    template(
        "openai",
        "OpenAI",
        "api.openai.com",
        "Language models",
        Bearer,
        "OPENAI_API_KEY",
    ),
    template(
        "openrouter",
        "OpenRouter",
        "openrouter.ai",
        "Many models behind one key",
        Bearer,
        "OPENROUTER_API_KEY",
    ),
    template(
        "pagerduty",
        "PagerDuty",
        "api.pagerduty.com",
        "Incidents and on-call",
        Custom(&[("Authorization", "Token token={{ PAGERDUTY_TOKEN }}")]),
        "PAGERDUTY_TOKEN",
    ),
    template(
        "perplexity",
        "Perplexity",
        "api.perplexity.ai",
        "Answers with search",
        Bearer,
        "PERPLEXITY_API_KEY",
    ),
    template(
        "postmark",
        "Postmark",
        "api.postmarkapp.com",
        "Transactional mail",
        header("X-Postmark-Server-Token"),
        "POSTMARK_SERVER_TOKEN",
    ),
    template(
        "resend",
        "Resend",
        "api.resend.com",
        "Transactional mail",
        Bearer,
        "RESEND_API_KEY",
    ),
    template(
        "sendgrid",
        "SendGrid",
        "api.sendgrid.com",
        "Mail delivery",
        Bearer,
        "SENDGRID_API_KEY",
    ),
    template(
        "sentry",
        "Sentry",
        "sentry.io",
        "Error tracking",
        Bearer,
        "SENTRY_AUTH_TOKEN",
    ),
    template(
        "shopify",
        "Shopify",
        "*.myshopify.com",
        "Shop administration",
        header("X-Shopify-Access-Token"),
        "SHOPIFY_ACCESS_TOKEN",
    ),
    template(
        "slack",
        "Slack",
        "slack.com",
        "Messages and channels",
        Bearer,
        "SLACK_TOKEN",
    ),
    template(
        "stripe",
        "Stripe",
        "api.stripe.com",
        "Payments",
        Bearer,
        "STRIPE_SECRET_KEY",
    ),
    template(
        "supabase",
        "Supabase",
        "*.supabase.co",
        "Postgres, auth and storage",
        header("apikey"),
        "SUPABASE_KEY",
    ),
    template(
        "telegram",
        "Telegram",
        "api.telegram.org",
        "Bots; the token is part of the path",
        Passthrough {
            placeholder: "__TELEGRAM_BOT_TOKEN__",
        },
        "TELEGRAM_BOT_TOKEN",
    ),
    template(
        "together",
        "Together AI",
        "api.together.ai",
        "Model inference",
        Bearer,
        "TOGETHER_API_KEY",
    ),
    template(
        "twilio",
        "Twilio",
        "api.twilio.com",
        "Messages and calls",
        Basic,
        "TWILIO_AUTH_TOKEN",
    ),
    template(
        "vercel",
        "Vercel",
        "api.vercel.com",
        "Deployments",
        Bearer,
        "VERCEL_TOKEN",
    ),
    template(
        "xai",
        "xAI (Grok)",
        "api.x.ai",
        "Grok models",
        Bearer,
        "XAI_API_KEY",
    ),
];

/// The public package registry of npm.
const NPM_HOST: &str = concat!("registry", ".npmjs.org");
/// The package registry of GitHub for npm.
const NPM_GITHUB_HOST: &str = concat!("npm", ".pkg.github.com");

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use agent_vault_policy::{Service, ServiceDraft, ValidationOptions};
    use serde_json::json;

    use super::*;

    fn draft(template: &Template) -> ServiceDraft {
        let auth = match template.auth {
            Bearer => json!({"type": "bearer", "token": template.key}),
            Basic => json!({"type": "basic", "username": template.key}),
            ApiKey { header, prefix } => {
                json!({"type": "api-key", "key": template.key, "header": header, "prefix": prefix})
            }
            Custom(headers) => {
                let headers: BTreeMap<_, _> = if headers.is_empty() {
                    BTreeMap::from([("Authorization", "{{ AWS_SECRET_ACCESS_KEY }}")])
                } else {
                    headers.iter().copied().collect()
                };
                json!({"type": "custom", "headers": headers})
            }
            Passthrough { .. } => json!({"type": "passthrough"}),
        };
        let service = json!({
            "name": template.id, "host": template.host, "auth": auth, "substitutions": template.substitutions(),
        });
        ServiceDraft::from_json(&service.to_string()).unwrap()
    }

    #[test]
    fn every_template_is_a_service_once_its_keys_are_filled_in() {
        for template in &TEMPLATES {
            let options = ValidationOptions { dev_mode: false };
            if let Err(error) = Service::from_draft(draft(template), &options) {
                panic!("{}: {error}", template.id);
            }
        }
    }

    #[test]
    fn ids_are_in_order_and_unique() {
        assert!(TEMPLATES.windows(2).all(|pair| pair[0].id < pair[1].id));
    }
}
