//! The certificate authority's row: certificate and sealed key together, so that no crash can leave
//! the one without the other.

use agent_vault_seal::{SealContext, SealKind, Sealed};
use jiff::Timestamp;

use crate::dialect::Connection;
use crate::row::{self, Columns};
use crate::{StoreError, Tx};

/// The certificate authority of this instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaRecord {
    /// The root certificate, PEM.
    pub cert_pem: String,
    /// The root's private key (DER), sealed for [`CaRecord::SEAL_CONTEXT`].
    pub sealed_key: Sealed,
    /// How it came here, for example `auto`.
    pub source: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl CaRecord {
    /// The place that the private key is sealed for.
    pub const SEAL_CONTEXT: SealContext<'static> = SealContext {
        kind: SealKind::CaKey,
        owner: "instance",
        name: "root",
        version: 1,
    };
}

async fn ca_record(connection: &mut Connection) -> Result<Option<CaRecord>, StoreError> {
    let row =
        sqlx::query("select root_cert, root_key, source, created_at from ca_state where id = 1")
            .fetch_optional(connection)
            .await?;
    row::one(row, |row| {
        Ok(CaRecord {
            cert_pem: row.text("root_cert")?,
            sealed_key: row.sealed("root_key")?,
            source: row.text("source")?,
            created_at: row.time("created_at")?,
        })
    })
}

reads! {
    /// The certificate authority, once there is one.
    ca_record() -> Option<CaRecord>;
}

impl Tx {
    /// Stores the certificate authority unless there is one: the first writer wins. Answers whether
    /// this one was stored; if not, read the other with [`Tx::ca_record`].
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn insert_ca_if_absent(&mut self, record: &CaRecord) -> Result<bool, StoreError> {
        let inserted = sqlx::query(
            "insert into ca_state (id, root_cert, root_key, source, created_at) values (1, $1, $2, $3, $4)
             on conflict do nothing",
        )
        .bind(&record.cert_pem)
        .bind(record.sealed_key.as_bytes())
        .bind(&record.source)
        .bind(record.created_at.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(inserted.rows_affected() > 0)
    }
}
