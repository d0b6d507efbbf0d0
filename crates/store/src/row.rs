//! Reading typed values out of rows. A value that does not parse means a damaged database, and says
//! in which column.

use jiff::Timestamp;
use sqlx::Row as _;
use uuid::Uuid;

use agent_vault_seal::Sealed;

use crate::StoreError;
use crate::dialect::Row;

pub(crate) trait Columns {
    fn text(&self, column: &'static str) -> Result<String, StoreError>;
    fn opt_text(&self, column: &'static str) -> Result<Option<String>, StoreError>;
    fn int(&self, column: &'static str) -> Result<i64, StoreError>;
    fn opt_int(&self, column: &'static str) -> Result<Option<i64>, StoreError>;
    fn flag(&self, column: &'static str) -> Result<bool, StoreError>;
    fn bytes(&self, column: &'static str) -> Result<Vec<u8>, StoreError>;
    fn opt_bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, StoreError>;

    fn uint(&self, column: &'static str) -> Result<u32, StoreError> {
        u32::try_from(self.int(column)?).map_err(|_| unreadable(column))
    }

    fn id(&self, column: &'static str) -> Result<Uuid, StoreError> {
        Uuid::try_parse(&self.text(column)?).map_err(|_| unreadable(column))
    }

    fn opt_id(&self, column: &'static str) -> Result<Option<Uuid>, StoreError> {
        self.opt_text(column)?
            .map(|text| Uuid::try_parse(&text).map_err(|_| unreadable(column)))
            .transpose()
    }

    fn time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        Timestamp::from_millisecond(self.int(column)?).map_err(|_| unreadable(column))
    }

    fn opt_time(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        self.opt_int(column)?
            .map(|millis| Timestamp::from_millisecond(millis).map_err(|_| unreadable(column)))
            .transpose()
    }

    fn sealed(&self, column: &'static str) -> Result<Sealed, StoreError> {
        Sealed::from_bytes(self.bytes(column)?).map_err(|_| unreadable(column))
    }

    /// A word of a closed set; an unknown one is refused, never taken for the weakest or strongest.
    fn word<T: std::str::FromStr>(&self, column: &'static str) -> Result<T, StoreError> {
        self.text(column)?.parse().map_err(|_| unreadable(column))
    }

    fn opt_word<T: std::str::FromStr>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        self.opt_text(column)?
            .map(|text| text.parse().map_err(|_| unreadable(column)))
            .transpose()
    }
}

impl Columns for Row {
    fn text(&self, column: &'static str) -> Result<String, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn opt_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn int(&self, column: &'static str) -> Result<i64, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn opt_int(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn bytes(&self, column: &'static str) -> Result<Vec<u8>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn opt_bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.try_get(column)?)
    }
}

pub(crate) fn unreadable(column: &'static str) -> StoreError {
    StoreError::damaged(format!("a row has an unreadable `{column}`"))
}

/// Reads every row with `read`.
pub(crate) fn all<T>(
    rows: Vec<Row>,
    read: fn(&Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    rows.iter().map(read).collect()
}

/// Reads the row, if there is one.
pub(crate) fn one<T>(
    row: Option<Row>,
    read: fn(&Row) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    row.as_ref().map(read).transpose()
}
