//! Values as PostgreSQL's columns have them.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::data_types::PgTimestamp;
use diesel::pg::sql_types::Inet;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Double, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as UuidSql,
};
use leadtrail_domain::ports::StoreError;
use leadtrail_domain::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::statement::{Bind, bind};

/// An instant as `timestamptz`: eight bytes either way, no calendar between.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, AsExpression, FromSqlRow)]
#[diesel(sql_type = Timestamptz)]
pub(crate) struct At(pub(crate) Timestamp);

/// PostgreSQL counts from 2000-01-01.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

impl ToSql<Timestamptz, Pg> for At {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let since_2000 = PgTimestamp(self.0.micros() - POSTGRES_EPOCH_MICROS);
        ToSql::<Timestamptz, Pg>::to_sql(&since_2000, &mut out.reborrow())
    }
}

impl FromSql<Timestamptz, Pg> for At {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let PgTimestamp(since_2000) = FromSql::<Timestamptz, Pg>::from_sql(value)?;
        Ok(Self(Timestamp::from_micros(since_2000.saturating_add(POSTGRES_EPOCH_MICROS))))
    }
}

/// A JSON text as `jsonb`, so that a value is written and read without a tree in between.
#[derive(Clone, PartialEq, Eq, Debug, AsExpression, FromSqlRow)]
#[diesel(sql_type = Jsonb)]
pub(crate) struct JsonText(String);

/// The version byte before the text, the only one there is.
const JSONB_VERSION: u8 = 1;

impl JsonText {
    /// The value as JSON.
    pub(crate) fn of<T: Serialize>(value: &T) -> Result<Self, StoreError> {
        let text = serde_json::to_string(value).map_err(StoreError::rejected)?;
        if has_escaped_nul(&text) { Err(StoreError::rejected(Nul)) } else { Ok(Self(text)) }
    }

    /// The value, where it is one.
    pub(crate) fn parse<T: DeserializeOwned>(
        &self,
        table: &'static str,
        column: &'static str,
        id: impl ToString + Copy,
    ) -> Result<T, StoreError> {
        serde_json::from_str(&self.0).map_err(|_unreadable| StoreError::Corrupt {
            table,
            column,
            id: id.to_string(),
        })
    }
}

impl ToSql<Jsonb, Pg> for JsonText {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&[JSONB_VERSION])?;
        out.write_all(self.0.as_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<Jsonb, Pg> for JsonText {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes() {
            [JSONB_VERSION, text @ ..] => Ok(Self(std::str::from_utf8(text)?.to_owned())),
            _ => Err("not jsonb of version 1".into()),
        }
    }
}

/// An address as `inet`, always a single host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, AsExpression, FromSqlRow)]
#[diesel(sql_type = Inet)]
pub(crate) struct Address(pub(crate) IpAddr);

/// `PGSQL_AF_INET` and `PGSQL_AF_INET6` of PostgreSQL's `utils/inet.h`, the first byte on the wire.
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 3;

impl ToSql<Inet, Pg> for Address {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        // Family, bits of the netmask, whether it is a `cidr`, bytes of the address, address.
        match self.0 {
            IpAddr::V4(address) => {
                out.write_all(&[FAMILY_V4, 32, 0, 4])?;
                out.write_all(&address.octets())?;
            }
            IpAddr::V6(address) => {
                out.write_all(&[FAMILY_V6, 128, 0, 16])?;
                out.write_all(&address.octets())?;
            }
        }
        Ok(IsNull::No)
    }
}

impl FromSql<Inet, Pg> for Address {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes() {
            [FAMILY_V4, _, _, 4, octets @ ..] => {
                Ok(Self(Ipv4Addr::from(<[u8; 4]>::try_from(octets)?).into()))
            }
            [FAMILY_V6, _, _, 16, octets @ ..] => {
                Ok(Self(Ipv6Addr::from(<[u8; 16]>::try_from(octets)?).into()))
            }
            _ => Err("not an inet address".into()),
        }
    }
}

/// What a stored text was read as; `Corrupt` where it is none.
pub(crate) fn parsed<T: std::str::FromStr>(
    text: &str,
    table: &'static str,
    column: &'static str,
    id: impl ToString + Copy,
) -> Result<T, StoreError> {
    text.parse().map_err(|_unreadable| StoreError::Corrupt { table, column, id: id.to_string() })
}

/// What a stored number was read as; `Corrupt` where it is out of range.
pub(crate) fn ranged<N, T: TryFrom<N>>(
    number: N,
    table: &'static str,
    column: &'static str,
    id: impl ToString + Copy,
) -> Result<T, StoreError> {
    T::try_from(number).map_err(|_out_of_range| StoreError::Corrupt { table, column, id: id.to_string() })
}

/// A hash of 32 bytes.
pub(crate) fn hash(
    bytes: &[u8],
    table: &'static str,
    column: &'static str,
    id: impl ToString + Copy,
) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_wrong_length| StoreError::Corrupt { table, column, id: id.to_string() })
}

/// PostgreSQL keeps no NUL in a text. Found before it is sent, because diesel does not tell which error the server
/// answered with.
#[derive(Debug, thiserror::Error)]
#[error("a text contains a NUL character")]
pub(crate) struct Nul;

/// Whether a JSON text contains `\u0000`, and not just `\\u0000`.
fn has_escaped_nul(text: &str) -> bool {
    text.match_indices("\\u0000").any(|(start, _)| {
        let backslashes = text[..start].bytes().rev().take_while(|byte| *byte == b'\\').count();
        backslashes % 2 == 0
    })
}

/// The columns of rows that are written together, each as one array parameter.
#[derive(Default)]
pub(crate) struct Columns {
    binds: Vec<Box<dyn Bind>>,
    problem: Option<StoreError>,
}

impl Columns {
    /// The parameters.
    ///
    /// # Errors
    /// `Rejected` when the server would never take one.
    pub(crate) fn finish(self) -> Result<Vec<Box<dyn Bind>>, StoreError> {
        match self.problem {
            None => Ok(self.binds),
            Some(problem) => Err(problem),
        }
    }

    pub(crate) fn uuids(&mut self, values: impl Iterator<Item = Uuid>) {
        self.binds.push(bind::<Array<UuidSql>, _>(values.collect::<Vec<_>>()));
    }

    pub(crate) fn optional_uuids(&mut self, values: impl Iterator<Item = Option<Uuid>>) {
        self.binds.push(bind::<Array<Nullable<UuidSql>>, _>(values.collect::<Vec<_>>()));
    }

    pub(crate) fn instants(&mut self, values: impl Iterator<Item = Timestamp>) {
        self.binds.push(bind::<Array<Timestamptz>, _>(values.map(At).collect::<Vec<_>>()));
    }

    pub(crate) fn optional_instants(&mut self, values: impl Iterator<Item = Option<Timestamp>>) {
        self.binds
            .push(bind::<Array<Nullable<Timestamptz>>, _>(values.map(|at| at.map(At)).collect::<Vec<_>>()));
    }

    pub(crate) fn texts<'a>(&mut self, values: impl Iterator<Item = &'a str>) {
        let values: Vec<_> = values.map(|text| self.text(text)).collect();
        self.binds.push(bind::<Array<Text>, _>(values));
    }

    pub(crate) fn optional_texts<'a>(&mut self, values: impl Iterator<Item = Option<&'a str>>) {
        let values: Vec<_> = values.map(|text| text.map(|text| self.text(text))).collect();
        self.binds.push(bind::<Array<Nullable<Text>>, _>(values));
    }

    pub(crate) fn optional_json<T: Serialize>(&mut self, values: impl Iterator<Item = Option<T>>) {
        let values: Vec<_> = values.map(|value| value.and_then(|value| self.json(&value))).collect();
        self.binds.push(bind::<Array<Nullable<Jsonb>>, _>(values));
    }

    pub(crate) fn big_ints(&mut self, values: impl Iterator<Item = i64>) {
        self.binds.push(bind::<Array<BigInt>, _>(values.collect::<Vec<_>>()));
    }

    pub(crate) fn integers(&mut self, values: impl Iterator<Item = i32>) {
        self.binds.push(bind::<Array<Integer>, _>(values.collect::<Vec<_>>()));
    }

    /// Numbers of pixels; what no screen has is kept as the largest number a column takes.
    pub(crate) fn optional_sizes(&mut self, values: impl Iterator<Item = Option<u32>>) {
        let values: Vec<_> =
            values.map(|size| size.map(|size| i32::try_from(size).unwrap_or(i32::MAX))).collect();
        self.binds.push(bind::<Array<Nullable<Integer>>, _>(values));
    }

    pub(crate) fn optional_doubles(&mut self, values: impl Iterator<Item = Option<f64>>) {
        self.binds.push(bind::<Array<Nullable<Double>>, _>(values.collect::<Vec<_>>()));
    }

    pub(crate) fn bools(&mut self, values: impl Iterator<Item = bool>) {
        self.binds.push(bind::<Array<Bool>, _>(values.collect::<Vec<_>>()));
    }

    pub(crate) fn hashes<'a>(&mut self, values: impl Iterator<Item = &'a [u8; 32]>) {
        self.binds.push(bind::<Array<Binary>, _>(values.map(|hash| hash.to_vec()).collect::<Vec<_>>()));
    }

    pub(crate) fn optional_addresses(&mut self, values: impl Iterator<Item = Option<IpAddr>>) {
        let values: Vec<_> = values.map(|address| address.map(Address)).collect();
        self.binds.push(bind::<Array<Nullable<Inet>>, _>(values));
    }

    /// A single number, not a column.
    pub(crate) fn count(&mut self, count: usize) {
        self.binds.push(bind::<BigInt, _>(i64::try_from(count).unwrap_or(i64::MAX)));
    }

    /// A single instant, not a column.
    pub(crate) fn optional_instant(&mut self, at: Option<Timestamp>) {
        self.binds.push(bind::<Nullable<Timestamptz>, _>(at.map(At)));
    }

    fn text(&mut self, text: &str) -> String {
        if text.contains('\0') {
            self.problem = Some(StoreError::rejected(Nul));
        }
        text.to_owned()
    }

    fn json<T: Serialize>(&mut self, value: &T) -> Option<JsonText> {
        JsonText::of(value).map_err(|problem| self.problem = Some(problem)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_found_in_json_and_told_from_its_spelling() {
        assert!(matches!(JsonText::of(&"a\0b"), Err(StoreError::Rejected(_))));
        assert!(matches!(JsonText::of(&"a\\\0b"), Err(StoreError::Rejected(_))));
        assert!(JsonText::of(&"a\\u0000b").is_ok());
        assert!(JsonText::of(&"a\\\\u0000b").is_ok());
    }

    #[test]
    fn a_text_with_a_nul_rejects_the_columns() {
        let mut columns = Columns::default();
        columns.texts(["fine", "not\0fine"].into_iter());
        assert!(matches!(columns.finish(), Err(StoreError::Rejected(_))));
    }
}
