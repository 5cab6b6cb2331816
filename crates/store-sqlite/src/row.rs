use std::str::FromStr;

use leadtrail_domain::ports::StoreError;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// A row that is being read: where it stands, for the error that one of its columns cannot be what it should.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) table: &'static str,
    pub(crate) id: RowId<'a>,
}

/// How a row is named in an error.
#[derive(Clone, Copy)]
pub(crate) enum RowId<'a> {
    Uuid(&'a [u8]),
    Text(&'a str),
}

impl<'a> Row<'a> {
    /// A row of a table whose key is a UUID.
    pub(crate) fn of(table: &'static str, id: &'a [u8]) -> Self {
        Self { table, id: RowId::Uuid(id) }
    }

    /// A row of a table whose key is a text.
    pub(crate) fn named(table: &'static str, id: &'a str) -> Self {
        Self { table, id: RowId::Text(id) }
    }

    pub(crate) fn corrupt(&self, column: &'static str) -> StoreError {
        let id = match self.id {
            RowId::Uuid(bytes) => {
                Uuid::from_slice(bytes).map_or_else(|_not_16| format!("{bytes:02x?}"), |id| id.to_string())
            }
            RowId::Text(text) => text.to_owned(),
        };
        StoreError::Corrupt { table: self.table, column, id }
    }

    pub(crate) fn uuid(&self, column: &'static str, bytes: &[u8]) -> Result<Uuid, StoreError> {
        Uuid::from_slice(bytes).map_err(|_not_16| self.corrupt(column))
    }

    pub(crate) fn hash(&self, column: &'static str, bytes: &[u8]) -> Result<[u8; 32], StoreError> {
        bytes.try_into().map_err(|_not_32| self.corrupt(column))
    }

    pub(crate) fn parse<T: FromStr>(&self, column: &'static str, text: &str) -> Result<T, StoreError> {
        text.parse().map_err(|_unreadable| self.corrupt(column))
    }

    pub(crate) fn json<T: DeserializeOwned>(
        &self,
        column: &'static str,
        text: &str,
    ) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|_unreadable| self.corrupt(column))
    }

    pub(crate) fn json_or_none<T: DeserializeOwned>(
        &self,
        column: &'static str,
        text: Option<&str>,
    ) -> Result<Option<T>, StoreError> {
        text.map(|text| self.json(column, text)).transpose()
    }

    pub(crate) fn count<T: TryFrom<i64>>(&self, column: &'static str, count: i64) -> Result<T, StoreError> {
        T::try_from(count).map_err(|_out_of_range| self.corrupt(column))
    }
}
