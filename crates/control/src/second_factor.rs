//! Second factors of people: an authenticator app (RFC 6238), and recovery codes for when it is lost.
//!
//! Asked for after the password, at a login and at a password reset. A guess is spent before it is compared, and wrong ones lock
//! the app for longer each time; whoever gets so far knows the password already, so nobody else can be locked out.

use agent_vault_seal::{SecretBytes, TokenHash, totp};
use agent_vault_store::{Totp, User};
use jiff::Timestamp;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::Control;
use crate::access::{self, InstanceOwner, Rows as _};
use crate::actor::Actor;
use crate::error::{ControlError, ErrorKind};
use crate::write::Write;

/// The word by which programs know that a second factor is wanted.
const REQUIRED: &str = "second_factor_required";
/// Recovery codes that one gets.
const RECOVERY_CODES: usize = 10;
/// What an app shows above the code.
const ISSUER: &str = "Agent%20Vault";

/// Whether somebody has a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactorState {
    /// A second factor is asked for.
    pub enabled: bool,
    /// Recovery codes that are left.
    pub recovery_codes: u64,
}

/// A secret for an app, not yet asked for.
#[derive(Debug)]
pub struct StartedFactor {
    /// The secret as people type it.
    pub secret: Zeroizing<String>,
    /// The same as apps read it.
    pub url: Zeroizing<String>,
}

/// Actions on second factors.
#[derive(Debug, Clone, Copy)]
pub struct SecondFactors<'c>(pub(crate) &'c Control);

impl SecondFactors<'_> {
    /// Whether one's own account has a second factor.
    ///
    /// # Errors
    /// Unless a person asks.
    pub async fn state(&self, actor: &Actor) -> Result<FactorState, ControlError> {
        let me = actor.user()?;
        let store = self.0.store();
        let enabled = store.totp(me.id).await?.is_some_and(|totp| totp.confirmed);
        Ok(FactorState {
            enabled,
            recovery_codes: store.recovery_code_count(me.id).await?,
        })
    }

    /// Makes a secret for an app. It guards nothing until [`SecondFactors::confirm`].
    ///
    /// # Errors
    /// Unless a person asks who knows the password; `Conflict` when there is a second factor already.
    pub async fn start(
        &self,
        actor: &Actor,
        password: SecretBytes,
    ) -> Result<StartedFactor, ControlError> {
        let user = self.knows_password(actor, password, "totp.start").await?;
        let mut write = self
            .0
            .begin(actor, "totp.start", format!("user:{}", user.email))
            .await?;
        let outcome = start(&mut write, &user).await;
        write.finish(outcome).await
    }

    /// Turns the second factor on with a first code of the app; answers recovery codes, which are shown once.
    ///
    /// # Errors
    /// Unless a person asks who has begun; `Invalid` for a wrong code.
    pub async fn confirm(
        &self,
        actor: &Actor,
        code: &str,
    ) -> Result<Vec<Zeroizing<String>>, ControlError> {
        let me = actor.user()?;
        let mut write = self
            .0
            .begin(actor, "totp.enable", format!("user:{}", me.email))
            .await?;
        let outcome = confirm(&mut write, me.id, code).await;
        write.finish(outcome).await
    }

    /// Turns one's own second factor off.
    ///
    /// # Errors
    /// Unless a person asks who knows the password and shows the second factor.
    pub async fn disable(
        &self,
        actor: &Actor,
        password: SecretBytes,
        factor: Option<&str>,
    ) -> Result<(), ControlError> {
        let user = self.knows_password(actor, password, "totp.disable").await?;
        let target = format!("user:{}", user.email);
        // Not a 401, which clients take for a login that is over.
        let shown = check(self.0, user.id, factor).await.map_err(|refused| {
            if refused.kind() == ErrorKind::Unauthenticated {
                ControlError::forbidden("A code of the app, or a recovery code, is needed")
            } else {
                refused
            }
        })?;
        let mut write = self.0.begin(actor, "totp.disable", target).await?;
        let outcome = disable(&mut write, user.id, shown).await;
        write.finish(outcome).await
    }

    /// Takes somebody else's second factor away, who has lost app and recovery codes.
    ///
    /// # Errors
    /// Unless an owner asks; `NotFound` for an unknown person, and for one without a second factor.
    pub async fn remove(&self, actor: &Actor, email: &str) -> Result<String, ControlError> {
        let target = format!("user:{}", access::shown(email));
        let mut write = self.0.begin(actor, "totp.remove", target).await?;
        let outcome = remove(&mut write, actor, email).await;
        write.finish(outcome).await
    }

    async fn knows_password(
        &self,
        actor: &Actor,
        password: SecretBytes,
        action: &'static str,
    ) -> Result<User, ControlError> {
        let me = actor.user()?;
        let user = self.0.store().user(me.id).await?;
        let user =
            user.ok_or_else(|| ControlError::unauthenticated("Invalid or expired session"))?;
        let known = Some(user.password.clone());
        if self.0.hasher().verify(known, password).await? {
            return Ok(user);
        }
        let refused = ControlError::forbidden("Current password is incorrect");
        let write = self
            .0
            .begin(actor, action, format!("user:{}", user.email))
            .await?;
        write.finish(Err(refused)).await
    }
}

/// What was shown beside the password, checked. Only [`check`] makes one.
#[derive(Debug)]
#[must_use]
pub(crate) struct Shown {
    user: Uuid,
    how: How,
}

#[derive(Debug)]
enum How {
    /// There is no second factor.
    NotAsked,
    /// The code of this step.
    Code(u64),
    /// A recovery code.
    Recovery(TokenHash),
}

/// Checks a second factor, where the account has one.
///
/// # Errors
/// `Unauthenticated`, with the code `second_factor_required`, when none or a wrong one is shown; `TooMany` while it is locked.
pub(crate) async fn check(
    control: &Control,
    user: Uuid,
    shown: Option<&str>,
) -> Result<Shown, ControlError> {
    let store = control.store();
    if store.totp(user).await?.is_none_or(|totp| !totp.confirmed) {
        return Ok(Shown {
            user,
            how: How::NotAsked,
        });
    }
    let Some(shown) = shown.map(str::trim).filter(|shown| !shown.is_empty()) else {
        return Err(
            ControlError::unauthenticated("A code of the authenticator app is needed")
                .coded(REQUIRED)
                .hint("send it as `totp_code`; a recovery code does as well"),
        );
    };
    let now = control.now();
    let Some(totp) = store.spend_totp_guess(user, now).await? else {
        return Err(ControlError::new(
            ErrorKind::TooMany,
            "Too many wrong codes, try again later",
        ));
    };
    let secret = opened(control, &totp)?;
    let how = match totp::matching_step(&secret, shown, seconds(now), totp.last_step) {
        Some(step) => How::Code(step),
        None => {
            let code = TokenHash::of(&totp::normal_recovery_code(shown));
            if !store.has_recovery_code(user, code).await? {
                return Err(wrong());
            }
            How::Recovery(code)
        }
    };
    Ok(Shown { user, how })
}

impl Shown {
    /// Uses up what was shown: no code counts twice.
    pub(crate) async fn spend(self, write: &mut Write) -> Result<(), ControlError> {
        let totp = write.tx().totp(self.user).await?;
        let Some(totp) = totp.filter(|totp| totp.confirmed) else {
            return match self.how {
                How::NotAsked => Ok(()),
                // It was taken away in the meantime; the person showed more than is asked for now.
                How::Code(_) | How::Recovery(_) => Ok(()),
            };
        };
        let last_step = match self.how {
            How::NotAsked => return Err(wrong()),
            How::Code(step) if step > totp.last_step => step,
            How::Code(_) => return Err(wrong()),
            How::Recovery(code) => {
                if !write.tx().spend_recovery_code(self.user, code).await? {
                    return Err(wrong());
                }
                write.note("recovery_code", true);
                totp.last_step
            }
        };
        write
            .tx()
            .put_totp(&Totp {
                last_step,
                guesses: 0,
                locked_until: Timestamp::UNIX_EPOCH,
                ..totp
            })
            .await?;
        Ok(())
    }
}

async fn start(write: &mut Write, user: &User) -> Result<StartedFactor, ControlError> {
    let before = write.tx().totp(user.id).await?;
    if before.is_some_and(|totp| totp.confirmed) {
        return Err(
            ControlError::conflict("There is a second factor already").hint("turn it off first")
        );
    }
    let secret = totp::new_secret()?;
    let id = user.id.to_string();
    let sealed = write
        .control()
        .keyring()
        .seal(&Totp::seal_context(&id), secret.expose())?;
    let now = write.now();
    write
        .tx()
        .put_totp(&Totp {
            user_id: user.id,
            sealed,
            confirmed: false,
            last_step: 0,
            guesses: 0,
            locked_until: Timestamp::UNIX_EPOCH,
            created_at: now,
        })
        .await?;
    let secret = totp::encoded(&secret);
    let url = Zeroizing::new(format!(
        "otpauth://totp/{ISSUER}:{}?secret={}&issuer={ISSUER}",
        encoded(&user.email),
        secret.as_str()
    ));
    Ok(StartedFactor { secret, url })
}

async fn confirm(
    write: &mut Write,
    user: Uuid,
    code: &str,
) -> Result<Vec<Zeroizing<String>>, ControlError> {
    let totp = write.tx().totp(user).await?.ok_or_else(|| {
        ControlError::invalid("No second factor was begun").hint("begin with `POST /v1/auth/totp`")
    })?;
    if totp.confirmed {
        return Err(ControlError::conflict("The second factor is on already"));
    }
    let secret = opened(write.control(), &totp)?;
    let now = seconds(write.now());
    let step = totp::matching_step(&secret, code, now, totp.last_step).ok_or_else(|| {
        ControlError::invalid("The code is wrong")
            .hint("enter the six digits that the app shows now; is the clock right?")
    })?;
    write
        .tx()
        .put_totp(&Totp {
            confirmed: true,
            last_step: step,
            ..totp
        })
        .await?;
    let mut codes = Vec::with_capacity(RECOVERY_CODES);
    for _ in 0..RECOVERY_CODES {
        codes.push(totp::recovery_code()?);
    }
    let hashes: Vec<TokenHash> = codes
        .iter()
        .map(|code| TokenHash::of(&totp::normal_recovery_code(code)))
        .collect();
    write.tx().replace_recovery_codes(user, &hashes).await?;
    Ok(codes)
}

async fn disable(write: &mut Write, user: Uuid, shown: Shown) -> Result<(), ControlError> {
    shown.spend(write).await?;
    if write.tx().delete_totp(user).await? {
        Ok(())
    } else {
        Err(ControlError::not_found("There is no second factor"))
    }
}

async fn remove(write: &mut Write, actor: &Actor, email: &str) -> Result<String, ControlError> {
    access::instance::<InstanceOwner>(write.tx(), actor).await?;
    let user = write.tx().user_named(email).await?;
    let user = user.ok_or_else(|| ControlError::not_found("User not found"))?;
    if write.tx().delete_totp(user.id).await? {
        Ok(user.email)
    } else {
        Err(ControlError::not_found("This person has no second factor"))
    }
}

fn opened(control: &Control, totp: &Totp) -> Result<SecretBytes, ControlError> {
    let id = totp.user_id.to_string();
    Ok(control
        .keyring()
        .open(&Totp::seal_context(&id), &totp.sealed)?)
}

fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_second()).unwrap_or_default()
}

/// An address as it stands in a URL's path.
fn encoded(email: &str) -> String {
    let mut text = String::with_capacity(email.len());
    for byte in email.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn wrong() -> ControlError {
    ControlError::unauthenticated("The code is wrong")
        .coded(REQUIRED)
        .hint(
            "enter the six digits that the app shows now, or a recovery code that was not used yet",
        )
}
