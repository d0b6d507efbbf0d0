//! New accounts: the first owner, and whoever registers afterwards.
//!
//! Whoever registers first owns the instance, so a new instance must not be claimable by whoever reaches it first, nor by a page in
//! the operator's browser (H4). Registration is open to the person at this machine, and from elsewhere only with the one-time token
//! that the server prints. Afterwards anybody may register whom the settings of the instance let in; the account is a member's and
//! cannot be used until a code that goes to the address has come back. The answer is given before anything is looked up, so it
//! tells nothing about who has an account (H8).

use agent_vault_seal::{PasswordHash, SecretBytes};
use agent_vault_store::{
    ActorRef, CodePurpose, DEFAULT_VAULT_ID, Grant, InstanceRole, User, VaultRole,
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::Control;
use crate::codes::{self, Issued};
use crate::email::Email;
use crate::error::{ControlError, ErrorKind};
use crate::hashing;
use crate::sessions::{self, Login, NewLogin};
use crate::write::Write;

/// How near the one who registers is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupPeer {
    /// On this machine, with no browser page and no reverse proxy in between.
    ThisMachine,
    /// Elsewhere: needs the setup token.
    Remote,
    /// Elsewhere, on an instance that lets anybody claim it.
    Allowed,
}

/// Accounts that may wait to be confirmed, in the whole instance.
const MAX_UNCONFIRMED: usize = 1000;

/// The registration of accounts.
#[derive(Debug, Clone, Copy)]
pub struct Registration<'c>(pub(crate) &'c Control);

/// The first owner, logged in.
#[derive(Debug)]
pub struct Registered {
    /// The address, as it is known from now on.
    pub email: String,
    /// The login.
    pub login: Login,
}

/// What a registration made.
#[derive(Debug)]
pub enum NewAccount {
    /// The first owner, logged in.
    Owner(Registered),
    /// An account that waits for a code, or nothing, if the address has one.
    Waiting {
        /// The address, as it is known from now on.
        email: String,
        /// Whether codes go by mail; else an owner hands them on.
        by_mail: bool,
    },
}

impl Registration<'_> {
    /// Makes the first owner, or, once there is one, an account that waits for its code.
    ///
    /// # Errors
    /// As [`Registration::first_owner`]; `Forbidden` for whom the settings of the instance do not let in.
    pub async fn register(
        &self,
        email: &str,
        password: SecretBytes,
        peer: SetupPeer,
        setup_token: Option<&str>,
        login: NewLogin,
    ) -> Result<NewAccount, ControlError> {
        if !self.0.is_initialized().await? {
            return self
                .first_owner(email, password, peer, setup_token, login)
                .await
                .map(NewAccount::Owner);
        }
        let email = Email::parse(email)?;
        hashing::check_new(&password)?;
        let entrance = self.0.loaded().entrance.clone();
        entrance.check_domain(&email)?;
        entrance.check_open()?;
        // For an address that has an account too: it takes as long.
        let password = self.0.hasher().hash(password).await?;
        let control = self.0.clone();
        let address = email.clone();
        self.0.later("a registration", async move {
            enrol(&control, &address, password).await
        })?;
        Ok(NewAccount::Waiting {
            email: email.to_string(),
            by_mail: self.0.can_mail(),
        })
    }

    /// Makes the first owner, admin of the vault `default`, and logs it in.
    ///
    /// # Errors
    /// `Forbidden` when there is an owner already, or when the one who asks is elsewhere and has not the token.
    pub async fn first_owner(
        &self,
        email: &str,
        password: SecretBytes,
        peer: SetupPeer,
        setup_token: Option<&str>,
        login: NewLogin,
    ) -> Result<Registered, ControlError> {
        let email = Email::parse(email)?;
        hashing::check_new(&password)?;
        let action = "user.register";
        if self.0.is_initialized().await? {
            return Err(closed());
        }
        if let Err(refused) = self.check_peer(peer, setup_token) {
            // A guess at the token is an attempt; a knock at a door that is not open is noise that anybody could fill the
            // record with.
            if setup_token.is_some() {
                self.0
                    .record_anonymous(action, format!("user:{email}"), &refused)
                    .await;
            }
            return Err(refused);
        }
        let password = self.0.hasher().hash(password).await?;
        let now = self.0.now();
        let user = User {
            id: Uuid::new_v4(),
            email: email.as_str().to_owned(),
            password,
            role: InstanceRole::Owner,
            is_active: true,
            created_at: now,
            updated_at: now,
        };
        let mut write = self
            .0
            .begin_unattributed(action, format!("user:{email}"))
            .await?;
        let outcome = create(&mut write, user, login).await;
        let registered = write.finish(outcome).await?;
        self.0.mark_initialized();
        Ok(registered)
    }

    fn check_peer(&self, peer: SetupPeer, token: Option<&str>) -> Result<(), ControlError> {
        match (peer, token) {
            (SetupPeer::ThisMachine | SetupPeer::Allowed, _) => Ok(()),
            (SetupPeer::Remote, Some(token)) if self.0.is_setup_token(token) => Ok(()),
            (SetupPeer::Remote, Some(_)) => Err(ControlError::forbidden("The setup token is wrong")
                .hint("the server printed it when it started")),
            (SetupPeer::Remote, None) => Err(ControlError::forbidden(
                "The first owner is registered on the server's own machine, or with its setup token",
            )
            .hint("run `agent-vault auth register` there, or send the token that the server printed as `setup_token`")),
        }
    }
}

async fn create(
    write: &mut Write,
    user: User,
    login: NewLogin,
) -> Result<Registered, ControlError> {
    if write.tx().user_count().await? > 0 {
        return Err(closed());
    }
    write.attribute_to_user(user.id);
    write.note("role", InstanceRole::Owner.as_str());
    write.tx().insert_user(&user).await?;
    let grant = Grant {
        actor: ActorRef::user(user.id),
        vault_id: DEFAULT_VAULT_ID,
        role: VaultRole::Admin,
        created_at: write.now(),
    };
    write.tx().put_grant(&grant).await?;
    let login = sessions::open_login(write, user.id, login).await?;
    Ok(Registered {
        email: user.email,
        login,
    })
}

/// Adds an account that waits for its code, or makes another code for one that waits already; its password stays.
async fn enrol(
    control: &Control,
    email: &Email,
    password: PasswordHash,
) -> Result<(), ControlError> {
    let mut write = control
        .begin_unattributed("user.register", format!("user:{email}"))
        .await?;
    let outcome = add_waiting(&mut write, email, password).await;
    match write.finish(outcome).await {
        Ok(Some(issued)) => codes::deliver(control, issued).await,
        Ok(None) => Ok(()),
        Err(known) if known.kind() == ErrorKind::Conflict => Ok(()),
        Err(error) => Err(error),
    }
}

async fn add_waiting(
    write: &mut Write,
    email: &Email,
    password: PasswordHash,
) -> Result<Option<Issued>, ControlError> {
    let user = match write.tx().user_by_email(email.as_str()).await? {
        Some(user) if user.is_active => {
            return Err(ControlError::conflict("the address has an account"));
        }
        Some(user) => user,
        None => {
            let now = write.now();
            let waiting = write.tx().unconfirmed_users(Timestamp::MAX).await?;
            if waiting.len() >= MAX_UNCONFIRMED {
                return Err(ControlError::new(
                    ErrorKind::TooMany,
                    "too many accounts wait to be confirmed",
                ));
            }
            let user = User {
                id: Uuid::new_v4(),
                email: email.to_string(),
                password,
                role: InstanceRole::Member,
                is_active: false,
                created_at: now,
                updated_at: now,
            };
            write.tx().insert_user(&user).await?;
            write.note("role", user.role.as_str());
            user
        }
    };
    codes::issue(write, &user, CodePurpose::Verify).await
}

fn closed() -> ControlError {
    ControlError::forbidden("Registration is closed: this instance has an owner")
        .hint("ask the owner for an account")
}
