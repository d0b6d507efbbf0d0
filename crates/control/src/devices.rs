//! Logins of a device without a browser or a password at hand (after RFC 8628): the device shows a short code, a person who is
//! logged in elsewhere approves it, and the device, which polls, gets a login of its own.
//!
//! The person sees what asks and from where before saying yes. The secret that the device polls with is never shown.

use agent_vault_seal::{Token, TokenHash, TokenKind, fill};
use agent_vault_store::{DeviceLogin, DeviceStatus};
use jiff::{SignedDuration, Timestamp};

use crate::Control;
use crate::actor::Actor;
use crate::error::{ControlError, ErrorKind};
use crate::sessions::{self, Login, NewLogin, Seen};
use crate::write::Write;

/// How long a device waits.
const LIFE: SignedDuration = SignedDuration::from_mins(10);
/// Devices that may wait at one time.
const MAX_WAITING: u64 = 1000;
/// Seconds between two polls.
pub(crate) const POLL_SECONDS: u32 = 5;
/// Letters of a code that are not taken for each other, and spell no words.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Letters in a code: 20^8 of them.
const CODE_CHARS: usize = 8;

/// Actions on logins of devices.
#[derive(Debug, Clone, Copy)]
pub struct Devices<'c>(pub(crate) &'c Control);

/// A device that begins to wait.
#[derive(Debug)]
pub struct StartedDevice {
    /// What it polls with. Shown once.
    pub device_token: Token,
    /// What it shows: `XXXX-XXXX`.
    pub user_code: String,
    /// Until when it waits.
    pub expires_at: Timestamp,
    /// Seconds that it waits for.
    pub expires_in: i64,
    /// Seconds between two polls.
    pub interval: u32,
}

/// A device as the person sees it who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceView {
    /// What it shows.
    pub user_code: String,
    /// What it calls itself.
    pub device_label: String,
    /// Where it is.
    pub ip: String,
    /// With which client.
    pub user_agent: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
}

/// What a poll finds.
#[derive(Debug)]
pub enum Polled {
    /// Nobody has said anything yet.
    Pending,
    /// Somebody said no.
    Denied,
    /// Nobody said anything in time, or the device has its login already.
    Gone,
    /// A login, and whose it is.
    LoggedIn(String, Login),
}

impl Devices<'_> {
    /// Begins to wait. `device_label` is cleaned.
    ///
    /// # Errors
    /// `TooMany` when a thousand devices wait.
    pub async fn start(
        &self,
        device_label: Option<String>,
        seen: Seen,
    ) -> Result<StartedDevice, ControlError> {
        let mut write = self.0.begin_unattributed("device.start", "device").await?;
        let outcome = start(&mut write, device_label, seen).await;
        write.finish(outcome).await
    }

    /// Asks what became of it; the first poll after a yes gets the login.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn poll(&self, device_token: &str, seen: Seen) -> Result<Polled, ControlError> {
        let hash = TokenHash::of(device_token);
        let Some(found) = self.0.store().device_login(hash).await? else {
            return Ok(Polled::Gone);
        };
        if self.0.now() > found.expires_at {
            return Ok(Polled::Gone);
        }
        match found.status {
            DeviceStatus::Pending => Ok(Polled::Pending),
            DeviceStatus::Denied => Ok(Polled::Denied),
            DeviceStatus::Approved => {
                let mut write = self.0.begin_unattributed("session.login", "device").await?;
                let outcome = fetch(&mut write, hash, seen).await;
                match write.finish(outcome).await {
                    Ok((email, login)) => Ok(Polled::LoggedIn(email, login)),
                    Err(gone) if gone.kind() == ErrorKind::NotFound => Ok(Polled::Gone),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Shows what asks under a code.
    ///
    /// # Errors
    /// Unless a person asks; `NotFound` when nothing waits under that code.
    pub async fn show(&self, actor: &Actor, code: &str) -> Result<DeviceView, ControlError> {
        actor.user()?;
        let code = normal_code(code).ok_or_else(unknown)?;
        let found = self.0.store().device_login_by_code(&code).await?;
        let found = waiting(found, self.0.now()).ok_or_else(unknown)?;
        Ok(view(found))
    }

    /// Says yes: the device gets a login of whoever says so.
    ///
    /// # Errors
    /// As [`Devices::show`].
    pub async fn approve(&self, actor: &Actor, code: &str) -> Result<DeviceView, ControlError> {
        self.answer(actor, code, true).await
    }

    /// Says no.
    ///
    /// # Errors
    /// As [`Devices::show`].
    pub async fn deny(&self, actor: &Actor, code: &str) -> Result<DeviceView, ControlError> {
        self.answer(actor, code, false).await
    }

    async fn answer(
        &self,
        actor: &Actor,
        code: &str,
        yes: bool,
    ) -> Result<DeviceView, ControlError> {
        actor.user()?;
        let action = if yes { "device.approve" } else { "device.deny" };
        let code = normal_code(code).ok_or_else(unknown)?;
        let mut write = self
            .0
            .begin(actor, action, format!("device:{code}"))
            .await?;
        let outcome = answer(&mut write, actor, &code, yes).await;
        write.finish(outcome).await
    }
}

async fn start(
    write: &mut Write,
    device_label: Option<String>,
    seen: Seen,
) -> Result<StartedDevice, ControlError> {
    let now = write.now();
    if write.tx().device_login_count(now).await? >= MAX_WAITING {
        return Err(
            ControlError::new(ErrorKind::TooMany, "Too many devices wait for a login")
                .hint("try again in ten minutes, or log in with a password"),
        );
    }
    let device_token = Token::generate(TokenKind::Device)?;
    let code = new_code()?;
    let login = DeviceLogin {
        device_hash: device_token.hash(),
        user_code: code.clone(),
        device_label: device_label.unwrap_or_default(),
        ip: seen.address.unwrap_or_default(),
        user_agent: seen.user_agent.unwrap_or_default(),
        status: DeviceStatus::Pending,
        user_id: None,
        created_at: now,
        expires_at: now.saturating_add(LIFE).unwrap_or(Timestamp::MAX),
    };
    write.retarget(format!("device:{code}"));
    write.note("ip", login.ip.as_str());
    write.tx().insert_device_login(&login).await?;
    Ok(StartedDevice {
        device_token,
        user_code: shown_code(&code),
        expires_at: login.expires_at,
        expires_in: LIFE.as_secs(),
        interval: POLL_SECONDS,
    })
}

async fn fetch(
    write: &mut Write,
    hash: TokenHash,
    seen: Seen,
) -> Result<(String, Login), ControlError> {
    let found = write.tx().device_login(hash).await?.ok_or_else(unknown)?;
    write.tx().delete_device_login(hash).await?;
    let id = found.user_id.ok_or_else(unknown)?;
    let user = write.tx().user(id).await?;
    let user = user.filter(|user| user.is_active).ok_or_else(unknown)?;
    write.attribute_to_user(user.id);
    write.retarget(format!("user:{}", user.email));
    write.note("device", found.user_code.as_str());
    let device_label = Some(found.device_label).filter(|label| !label.is_empty());
    let login = sessions::open_login(write, user.id, NewLogin { device_label, seen }).await?;
    Ok((user.email, login))
}

async fn answer(
    write: &mut Write,
    actor: &Actor,
    code: &str,
    yes: bool,
) -> Result<DeviceView, ControlError> {
    let me = actor.user()?;
    let now = write.now();
    let found = write.tx().device_login_by_code(code).await?;
    let found = waiting(found, now).ok_or_else(unknown)?;
    // Read again: the account may have gone since its token was checked.
    let user = write.tx().user(me.id).await?;
    if user.is_none_or(|user| !user.is_active) {
        return Err(ControlError::unauthenticated("Invalid or expired session"));
    }
    write
        .tx()
        .answer_device_login(found.device_hash, yes.then_some(me.id))
        .await?;
    write.note("device_label", found.device_label.as_str());
    write.note("ip", found.ip.as_str());
    Ok(view(found))
}

fn waiting(found: Option<DeviceLogin>, now: Timestamp) -> Option<DeviceLogin> {
    found.filter(|login| login.status == DeviceStatus::Pending && now <= login.expires_at)
}

fn view(login: DeviceLogin) -> DeviceView {
    DeviceView {
        user_code: shown_code(&login.user_code),
        device_label: login.device_label,
        ip: login.ip,
        user_agent: login.user_agent,
        created_at: login.created_at,
        expires_at: login.expires_at,
    }
}

fn new_code() -> Result<String, ControlError> {
    // Bytes from 240 on are thrown away, so that no letter is likelier than another.
    let mut code = String::with_capacity(CODE_CHARS);
    while code.len() < CODE_CHARS {
        let mut byte = [0_u8];
        fill(&mut byte)?;
        let [byte] = byte;
        if byte < 240
            && let Some(letter) = LETTERS.get(usize::from(byte % 20))
        {
            code.push(char::from(*letter));
        }
    }
    Ok(code)
}

fn shown_code(code: &str) -> String {
    match (code.get(..4), code.get(4..)) {
        (Some(left), Some(right)) => format!("{left}-{right}"),
        _ => code.to_owned(),
    }
}

/// A code however it was typed.
fn normal_code(text: &str) -> Option<String> {
    let code: String = text
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(CODE_CHARS + 1)
        .map(|c| c.to_ascii_uppercase())
        .collect();
    (code.len() == CODE_CHARS).then_some(code)
}

fn unknown() -> ControlError {
    ControlError::not_found("No device waits under that code")
        .hint("is it still the code that the device shows?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_however_they_are_typed() {
        let code = new_code().unwrap();
        assert!(code.bytes().all(|letter| LETTERS.contains(&letter)));
        let shown = shown_code(&code);
        assert_eq!(shown.len(), 9);
        for typed in [shown.clone(), code.to_lowercase(), format!(" {shown} ")] {
            assert_eq!(normal_code(&typed), Some(code.clone()));
        }
        for bad in ["", "BCDF", "BCDFGHJKL", "BCDF/GHJ"] {
            assert_eq!(normal_code(bad), None);
        }
    }
}
