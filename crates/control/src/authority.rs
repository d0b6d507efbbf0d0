//! The certificate authority's record: the certificate, and the key sealed.

use agent_vault_seal::SecretBytes;
use agent_vault_store::{AuditEntry, CaRecord};

use crate::Control;
use crate::error::ControlError;

/// Actions on the certificate authority's record. The program's own; no client reaches them.
#[derive(Debug, Clone, Copy)]
pub struct Authority<'c>(pub(crate) &'c Control);

impl Authority<'_> {
    /// Certificate (PEM) and private key (DER), once there are any.
    ///
    /// # Errors
    /// When the key does not open.
    pub async fn load(&self) -> Result<Option<(String, SecretBytes)>, ControlError> {
        match self.0.store().ca_record().await? {
            Some(record) => self.open(record).map(Some),
            None => Ok(None),
        }
    }

    /// Stores a new authority unless there is one, and answers the one that is stored then: when two processes start at once, both
    /// end with the same.
    ///
    /// # Errors
    /// When the database cannot be written, or the stored key does not open.
    pub async fn install(
        &self,
        cert_pem: String,
        key: &SecretBytes,
    ) -> Result<(String, SecretBytes), ControlError> {
        let now = self.0.now();
        let sealed_key = self
            .0
            .keyring()
            .seal(&CaRecord::SEAL_CONTEXT, key.expose())?;
        let record = CaRecord {
            cert_pem,
            sealed_key,
            source: "auto".to_owned(),
            created_at: now,
        };
        let mut gate = self.0.gate().await;
        let mut tx = self.0.store().begin().await?;
        if !tx.insert_ca_if_absent(&record).await? {
            let other = tx.ca_record().await?;
            tx.rollback().await?;
            let other = other.ok_or_else(|| {
                ControlError::new(
                    crate::ErrorKind::Internal,
                    "the certificate authority is gone",
                )
            })?;
            return self.open(other);
        }
        let version = tx
            .commit(&AuditEntry::system("ca.create", "ca:root", now))
            .await?;
        self.0.published(&mut gate, version, Vec::new()).await?;
        Ok((record.cert_pem, key.duplicate()))
    }

    fn open(&self, record: CaRecord) -> Result<(String, SecretBytes), ControlError> {
        let key = self
            .0
            .keyring()
            .open(&CaRecord::SEAL_CONTEXT, &record.sealed_key)?;
        Ok((record.cert_pem, key))
    }
}
