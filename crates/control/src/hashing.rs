//! Argon2 away from the async threads, and few at a time: each hash takes 64 MiB, so a flood of logins must queue
//! instead of taking the machine's memory.

use std::sync::Arc;
use std::time::Duration;

use agent_vault_seal::{
    MAX_PASSWORD_BYTES, PasswordHash, SecretBytes, hash_password, verify_dummy,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{ControlError, ErrorKind};

/// Hashes computed at one time: 4 × 64 MiB at most.
const MAX_CONCURRENT_HASHES: usize = 4;
/// Hashes waiting for their turn; beyond it callers are turned away at once.
const MAX_QUEUED_HASHES: usize = 64;
/// Longest wait for a turn.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Shortest password.
pub const MIN_PASSWORD_BYTES: usize = 8;

/// The bounded workshop for password hashes.
#[derive(Debug, Clone)]
pub(crate) struct Hasher {
    turns: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            turns: Arc::new(Semaphore::new(cores.clamp(2, MAX_CONCURRENT_HASHES))),
            queue: Arc::new(Semaphore::new(MAX_QUEUED_HASHES)),
        }
    }

    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: SecretBytes) -> Result<PasswordHash, ControlError> {
        check_new(&password)?;
        let hashed = self
            .run(move || {
                let text = password.expose_str()?;
                hash_password(text)
            })
            .await?;
        Ok(hashed?)
    }

    /// Compares a password with a stored hash; with none, takes as long and answers no.
    pub(crate) async fn verify(
        &self,
        stored: Option<PasswordHash>,
        password: SecretBytes,
    ) -> Result<bool, ControlError> {
        self.run(move || match (password.expose_str(), stored) {
            (Ok(text), Some(stored)) => stored.verify(text),
            (Ok(text), None) => {
                verify_dummy(text);
                false
            }
            (Err(_), _) => false,
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ControlError> {
        let _place = Arc::clone(&self.queue)
            .try_acquire_owned()
            .map_err(|_| busy())?;
        let turn: OwnedSemaphorePermit =
            tokio::time::timeout(MAX_WAIT, Arc::clone(&self.turns).acquire_owned())
                .await
                .map_err(|_| busy())?
                .map_err(|closed| ControlError::internal("password hashing has stopped", closed))?;
        // The permit goes with the work: a caller that leaves does not free memory that is still in use.
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(|error| ControlError::internal("password hashing failed", error))
    }
}

/// Checks a password before anything is computed with it.
pub(crate) fn check_new(password: &SecretBytes) -> Result<(), ControlError> {
    if password.len() < MIN_PASSWORD_BYTES {
        return Err(ControlError::invalid(format!(
            "Password must be at least {MIN_PASSWORD_BYTES} characters"
        ))
        .hint("for example a few words that belong to nobody: `correct horse battery staple`"));
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(ControlError::invalid(format!(
            "Password must be at most {MAX_PASSWORD_BYTES} bytes"
        ))
        .hint("for example a few words: `correct horse battery staple`"));
    }
    Ok(())
}

fn busy() -> ControlError {
    ControlError::new(
        ErrorKind::Unavailable,
        "too many password checks are waiting",
    )
    .hint("try again in a few seconds")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Mutex;
    use tokio::task::JoinSet;

    use super::*;

    /// M24: a flood of logins takes no more memory than a few hashes, and waits in a bounded queue.
    #[tokio::test]
    async fn few_at_a_time_and_not_too_many_waiting() {
        let hasher = Hasher::new();
        let (active, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let door = Arc::new(Mutex::new(()));
        let closed = Arc::clone(&door).lock_owned().await;
        let mut flood = JoinSet::new();
        for _ in 0..MAX_QUEUED_HASHES + 10 {
            let hasher = hasher.clone();
            let (active, most, door) = (Arc::clone(&active), Arc::clone(&most), Arc::clone(&door));
            flood.spawn(async move {
                hasher
                    .run(move || {
                        most.fetch_max(active.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        drop(door.blocking_lock());
                        active.fetch_sub(1, Ordering::SeqCst);
                    })
                    .await
            });
        }
        // While the door is closed only those that found no place in the queue end.
        for _ in 0..10 {
            let refused = flood.join_next().await.unwrap().unwrap().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unavailable);
        }
        drop(closed);
        while let Some(done) = flood.join_next().await {
            done.unwrap().unwrap();
        }
        assert!(most.load(Ordering::SeqCst) <= MAX_CONCURRENT_HASHES);
    }
}
