//! Codes that go by mail: six digits that confirm an address or set a new password.
//!
//! Codes are sealed, not hashed: six digits are found from a hash at once (H10). Each may be compared with a few guesses,
//! counted in the database before they are compared (H6). Nothing here tells whether an address has an account: asking for a
//! code answers before anything is looked up, and a wrong code and an unknown address get one answer after the same time (H8).
//! Where no mail goes out, a code waits for an owner to hand it on; it is printed nowhere.

use agent_vault_seal::{PasswordHash, SecretBytes, totp};
use agent_vault_store::{CodePurpose, EmailCode, User};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::Control;
use crate::access::{self, InstanceOwner};
use crate::account;
use crate::actor::Actor;
use crate::email::Email;
use crate::error::{ControlError, ErrorKind};
use crate::hashing;
use crate::mail;
use crate::outbox::Floor;
use crate::second_factor::{self, Shown};
use crate::sessions::{self, Login, NewLogin};
use crate::write::Write;

/// Life of a code.
const LIFE: SignedDuration = SignedDuration::from_mins(15);
/// Codes of one address and purpose that may live at one time.
const MAX_LIVE: usize = 3;
/// Guesses at one code where limits are off: a code is six digits all the same.
const MAX_GUESSES: u32 = 100;
/// Longest text that is looked at as a code.
const MAX_CODE_CHARS: usize = 64;

/// Actions on codes that go by mail.
#[derive(Debug, Clone, Copy)]
pub struct Codes<'c>(pub(crate) &'c Control);

/// A password that was set with a code.
#[derive(Debug)]
pub struct ResetDone {
    /// Whose.
    pub email: String,
    /// The login that begins.
    pub login: Login,
}

/// A code that no mail took away.
#[derive(Debug)]
pub struct WaitingCode {
    /// Whose it is.
    pub email: String,
    /// What it is good for.
    pub purpose: CodePurpose,
    /// The digits.
    pub code: SecretBytes,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

impl Codes<'_> {
    /// Has another code sent that confirms an address, if it waits to be confirmed. Answers before that is known.
    ///
    /// # Errors
    /// `Unavailable` when too much mail waits.
    pub fn resend(&self, email: &str) -> Result<(), ControlError> {
        self.ask(email, CodePurpose::Verify)
    }

    /// Has a code sent that sets a new password, if the address has an account. Answers before that is known.
    ///
    /// # Errors
    /// `Unavailable` when too much mail waits.
    pub fn forgot(&self, email: &str) -> Result<(), ControlError> {
        self.ask(email, CodePurpose::Reset)
    }

    fn ask(&self, email: &str, purpose: CodePurpose) -> Result<(), ControlError> {
        // An address that cannot exist is as unknown as any other, and waits as long.
        let email = Email::parse(email).ok();
        let control = self.0.clone();
        self.0.later("sending a code", async move {
            match email {
                Some(email) => send(&control, &email, purpose).await,
                None => Ok(()),
            }
        })
    }

    /// Confirms an address with its code and logs in.
    ///
    /// # Errors
    /// `Invalid`, with one text and after the same time, for an unknown address, one that waits for no code, and a wrong code.
    pub async fn verify(
        &self,
        email: &str,
        code: &str,
        login: NewLogin,
    ) -> Result<(String, Login), ControlError> {
        let floor = Floor::begin();
        let confirmed = self.try_verify(email, code, login).await;
        if confirmed.is_err() {
            floor.reach().await;
        }
        confirmed
    }

    async fn try_verify(
        &self,
        email: &str,
        code: &str,
        login: NewLogin,
    ) -> Result<(String, Login), ControlError> {
        let action = "user.verify";
        let user = self.user(email).await?.filter(|user| !user.is_active);
        let Some((user, found)) = self.guess(user, CodePurpose::Verify, code).await? else {
            return Err(self.wrong(action, email).await);
        };
        let mut write = self
            .0
            .begin_unattributed(action, format!("user:{}", user.email))
            .await?;
        let outcome = confirm(&mut write, user, found, login).await;
        write.finish(outcome).await
    }

    /// Sets a new password with a code; every login, and every vault token minted by one, ends, and a new login begins.
    ///
    /// # Errors
    /// As [`Codes::verify`]; `Unauthenticated` with the code `second_factor_required` where the account has a second factor and none
    /// was shown: the mailed code is not used up then.
    pub async fn reset(
        &self,
        email: &str,
        code: &str,
        new: SecretBytes,
        factor: Option<&str>,
        login: NewLogin,
    ) -> Result<ResetDone, ControlError> {
        hashing::check_new(&new)?;
        let floor = Floor::begin();
        let done = self.try_reset(email, code, new, factor, login).await;
        if done.is_err() {
            floor.reach().await;
        }
        done
    }

    async fn try_reset(
        &self,
        email: &str,
        code: &str,
        new: SecretBytes,
        factor: Option<&str>,
        login: NewLogin,
    ) -> Result<ResetDone, ControlError> {
        let action = "user.reset_password";
        // Before anything is looked up, so that it takes as long for everybody.
        let hash = self.0.hasher().hash(new).await?;
        let user = self.user(email).await?.filter(|user| user.is_active);
        let Some((user, found)) = self.guess(user, CodePurpose::Reset, code).await? else {
            return Err(self.wrong(action, email).await);
        };
        let target = format!("user:{}", user.email);
        let shown = match second_factor::check(self.0, user.id, factor).await {
            Ok(shown) => shown,
            Err(refused) => {
                self.0.record_anonymous(action, target, &refused).await;
                return Err(refused);
            }
        };
        let mut write = self.0.begin_unattributed(action, target).await?;
        let outcome = set_password(&mut write, user, found, shown, hash, login).await;
        write.finish(outcome).await
    }

    /// The codes that no mail took away, for an owner to hand on. Each look is on record.
    ///
    /// # Errors
    /// Unless an owner asks.
    pub async fn waiting(&self, actor: &Actor) -> Result<Vec<WaitingCode>, ControlError> {
        let mut write = self.0.begin(actor, "code.reveal", "instance").await?;
        let outcome = waiting(&mut write, actor).await;
        write.finish(outcome).await
    }

    async fn user(&self, email: &str) -> Result<Option<User>, ControlError> {
        Ok(match Email::parse(email) {
            Ok(email) => self.0.store().user_by_email(email.as_str()).await?,
            Err(_) => None,
        })
    }

    /// Spends a guess; answers the user and the code's id when it was right.
    async fn guess(
        &self,
        user: Option<User>,
        purpose: CodePurpose,
        code: &str,
    ) -> Result<Option<(User, Uuid)>, ControlError> {
        let Some(user) = user else {
            return Ok(None);
        };
        let max = self.0.loaded().limits.limits.verify_failures;
        let max = max.unwrap_or(MAX_GUESSES).min(MAX_GUESSES);
        let now = self.0.now();
        let codes = self
            .0
            .store()
            .spend_code_guess(user.id, purpose, max, now)
            .await?;
        let typed: Zeroizing<String> = Zeroizing::new(
            code.chars()
                .filter(|c| !c.is_whitespace())
                .take(MAX_CODE_CHARS)
                .collect(),
        );
        let mut right = None;
        for candidate in codes {
            if opened(self.0, &candidate)?.constant_time_eq(typed.as_bytes()) {
                right = Some(candidate.id);
            }
        }
        Ok(right.map(|id| (user, id)))
    }

    async fn wrong(&self, action: &'static str, email: &str) -> ControlError {
        let refused = wrong_code();
        let target = format!("user:{}", access::shown(email));
        self.0.record_anonymous(action, target, &refused).await;
        refused
    }
}

/// A code that was made and is to be sent.
pub(crate) struct Issued {
    id: Uuid,
    to: String,
    purpose: CodePurpose,
    code: Zeroizing<String>,
}

/// Adds a code to a write; none when enough of them live.
pub(crate) async fn issue(
    write: &mut Write,
    user: &User,
    purpose: CodePurpose,
) -> Result<Option<Issued>, ControlError> {
    let now = write.now();
    let live = write.tx().email_codes(user.id, purpose, now).await?;
    if live.len() >= MAX_LIVE {
        return Ok(None);
    }
    let code = totp::six_digits()?;
    let id = Uuid::new_v4();
    let (owner, name) = (user.id.to_string(), id.to_string());
    let sealed = write
        .control()
        .keyring()
        .seal(&EmailCode::seal_context(&owner, &name), code.as_bytes())?;
    let row = EmailCode {
        id,
        purpose,
        user_id: user.id,
        sealed,
        mailed: false,
        guesses: 0,
        created_at: now,
        expires_at: now.saturating_add(LIFE).unwrap_or(Timestamp::MAX),
    };
    write.tx().insert_email_code(&row).await?;
    Ok(Some(Issued {
        id,
        to: user.email.clone(),
        purpose,
        code,
    }))
}

/// Mails a code, or leaves it for an owner.
pub(crate) async fn deliver(control: &Control, issued: Issued) -> Result<(), ControlError> {
    let Issued {
        id,
        to,
        purpose,
        code,
    } = issued;
    let waits = |why: &str| {
        tracing::warn!(
            email = to,
            "{why}: a code waits for an owner, who sees it with `agent-vault owner codes`"
        );
    };
    let Some(mailer) = control.options().mailer.clone() else {
        waits("mail is not set up");
        return Ok(());
    };
    let mail = match purpose {
        CodePurpose::Verify => mail::verification(&to, &code),
        CodePurpose::Reset => mail::reset(&to, &code),
    };
    match mailer.send(mail).await {
        Ok(()) => Ok(control.store().note_mailed(id, true).await?),
        Err(error) => {
            waits(&format!("mail failed ({error})"));
            Ok(())
        }
    }
}

async fn send(control: &Control, email: &Email, purpose: CodePurpose) -> Result<(), ControlError> {
    let wanted = match purpose {
        CodePurpose::Verify => false,
        CodePurpose::Reset => true,
    };
    let known = control.store().user_by_email(email.as_str()).await?;
    if known.is_none_or(|user| user.is_active != wanted) {
        return Ok(());
    }
    let action = match purpose {
        CodePurpose::Verify => "code.verify",
        CodePurpose::Reset => "code.reset",
    };
    let mut write = control
        .begin_unattributed(action, format!("user:{email}"))
        .await?;
    let outcome = match write.tx().user_by_email(email.as_str()).await {
        Ok(Some(user)) if user.is_active == wanted => match issue(&mut write, &user, purpose).await
        {
            Ok(Some(issued)) => Ok(issued),
            Ok(None) => Err(ControlError::new(
                ErrorKind::TooMany,
                "enough codes of this address are alive",
            )),
            Err(error) => Err(error),
        },
        Ok(_) => Err(ControlError::not_found("the account is gone")),
        Err(error) => Err(error.into()),
    };
    match write.finish(outcome).await {
        Ok(issued) => deliver(control, issued).await,
        Err(enough) if enough.kind() == ErrorKind::TooMany => Ok(()),
        Err(error) => Err(error),
    }
}

async fn confirm(
    write: &mut Write,
    user: User,
    code: Uuid,
    login: NewLogin,
) -> Result<(String, Login), ControlError> {
    let user = write
        .tx()
        .user(user.id)
        .await?
        .filter(|now| !now.is_active)
        .ok_or_else(wrong_code)?;
    use_up(write, user.id, CodePurpose::Verify, code).await?;
    let now = write.now();
    write.attribute_to_user(user.id);
    write.tx().set_user_active(user.id, true, now).await?;
    let login = sessions::open_login(write, user.id, login).await?;
    Ok((user.email, login))
}

async fn set_password(
    write: &mut Write,
    user: User,
    code: Uuid,
    shown: Shown,
    hash: PasswordHash,
    login: NewLogin,
) -> Result<ResetDone, ControlError> {
    let user = write
        .tx()
        .user(user.id)
        .await?
        .filter(|now| now.is_active)
        .ok_or_else(wrong_code)?;
    use_up(write, user.id, CodePurpose::Reset, code).await?;
    shown.spend(write).await?;
    write.attribute_to_user(user.id);
    account::put_password(write, user.id, &hash).await?;
    let login = sessions::open_login(write, user.id, login).await?;
    Ok(ResetDone {
        email: user.email,
        login,
    })
}

/// Takes every code of a purpose away, if the one that was right is still among them: it counts once.
async fn use_up(
    write: &mut Write,
    user: Uuid,
    purpose: CodePurpose,
    code: Uuid,
) -> Result<(), ControlError> {
    let now = write.now();
    let live = write.tx().email_codes(user, purpose, now).await?;
    if !live.iter().any(|candidate| candidate.id == code) {
        return Err(wrong_code());
    }
    write.tx().delete_email_codes(user, purpose).await?;
    Ok(())
}

async fn waiting(write: &mut Write, actor: &Actor) -> Result<Vec<WaitingCode>, ControlError> {
    access::instance::<InstanceOwner>(write.tx(), actor).await?;
    let now = write.now();
    let mut codes = Vec::new();
    for code in write.tx().waiting_codes(now).await? {
        if let Some(user) = write.tx().user(code.user_id).await? {
            codes.push(WaitingCode {
                email: user.email,
                purpose: code.purpose,
                code: opened(write.control(), &code)?,
                expires_at: code.expires_at,
            });
        }
    }
    write.note("codes", codes.len());
    Ok(codes)
}

fn opened(control: &Control, code: &EmailCode) -> Result<SecretBytes, ControlError> {
    let (owner, name) = (code.user_id.to_string(), code.id.to_string());
    Ok(control
        .keyring()
        .open(&EmailCode::seal_context(&owner, &name), &code.sealed)?)
}

fn wrong_code() -> ControlError {
    ControlError::invalid("Invalid or expired code")
        .hint("ask for a new one; a code is good for 15 minutes and a few tries")
}
