//! `--preset`: what the catalogue knows of a host, in the place of the flags that were not given.

use agent_vault_control::catalog::{TEMPLATES, TemplateAuth};

use super::add::{AddArgs, AuthType};
use crate::error::{CliError, Result};

/// Fills the flags. What was given stays: another name, host or key.
pub(super) fn fill(mut args: AddArgs) -> Result<AddArgs> {
    let Some(id) = args.preset.take() else {
        return Ok(args);
    };
    let template = TEMPLATES.iter().find(|t| t.id == id).ok_or_else(|| {
        CliError::usage(format!("there is no preset `{id}`"))
            .hint("`agent-vault catalog` lists them")
    })?;
    let (kind, key) = (kind_of(&template.auth), template.key);
    if args.auth_type.is_some_and(|given| given != kind) {
        return Err(CliError::usage(format!(
            "preset `{id}` has auth type `{}`",
            template.auth_type()
        )));
    }
    args.auth_type = Some(kind);
    args.name.get_or_insert_with(|| id.clone());
    args.host.get_or_insert_with(|| template.host.to_owned());
    let own = |value: &'static str| value.to_owned();
    match template.auth {
        TemplateAuth::Bearer => {
            args.token_key.get_or_insert_with(|| own(key));
        }
        TemplateAuth::Basic => {
            args.password_key.get_or_insert_with(|| own(key));
        }
        TemplateAuth::ApiKey { header, prefix } => {
            args.api_key_key.get_or_insert_with(|| own(key));
            args.api_key_header.get_or_insert_with(|| own(header));
            if !prefix.is_empty() {
                args.api_key_prefix.get_or_insert_with(|| own(prefix));
            }
        }
        TemplateAuth::Custom(headers) if args.header.is_empty() => {
            args.header = headers
                .iter()
                .map(|(name, template)| format!("{name}: {template}"))
                .collect();
        }
        TemplateAuth::Passthrough { placeholder } if args.substitute.is_empty() => {
            args.substitute = vec![format!("{key}={placeholder}@path")];
        }
        TemplateAuth::Custom(_) | TemplateAuth::Passthrough { .. } => {}
    }
    Ok(args)
}

fn kind_of(auth: &TemplateAuth) -> AuthType {
    match auth {
        TemplateAuth::Bearer => AuthType::Bearer,
        TemplateAuth::Basic => AuthType::Basic,
        TemplateAuth::ApiKey { .. } => AuthType::ApiKey,
        TemplateAuth::Custom(_) => AuthType::Custom,
        TemplateAuth::Passthrough { .. } => AuthType::Passthrough,
    }
}
