//! Statements that diesel's query builder cannot express, prepared once per connection.
//!
//! `diesel::sql_query` is never cached: each call is parsed and planned again, which at small batches costs more than
//! the work itself (622 against 375 µs for one event). A [`Statement`] has a static query id and is.

use std::marker::PhantomData;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::serialize::ToSql;
use diesel::sql_types::HasSqlType;

/// The text of a statement: one type per text, by which its prepared form is found again.
pub(crate) trait Text: 'static {
    /// The SQL, with [`PLACEHOLDER`] for each parameter.
    const SQL: &'static str;
    /// The types of its columns.
    type Row;
}

const PLACEHOLDER: &str = "{}";

/// A statement with its parameters.
pub(crate) struct Statement<T> {
    binds: Vec<Box<dyn Bind>>,
    text: PhantomData<fn() -> T>,
}

impl<T: Text> Statement<T> {
    /// The statement with its parameters in the order of the text.
    pub(crate) fn new(binds: Vec<Box<dyn Bind>>) -> Self {
        Self { binds, text: PhantomData }
    }
}

/// A parameter of any type.
pub(crate) trait Bind: Send + Sync {
    fn push<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

/// A parameter as the SQL type `ST`.
pub(crate) fn bind<ST, V>(value: V) -> Box<dyn Bind>
where
    ST: 'static,
    Pg: HasSqlType<ST>,
    V: ToSql<ST, Pg> + Send + Sync + 'static,
{
    Box::new(Typed::<ST, V> { value, sql_type: PhantomData })
}

struct Typed<ST, V> {
    value: V,
    sql_type: PhantomData<fn() -> ST>,
}

impl<ST, V> Bind for Typed<ST, V>
where
    Pg: HasSqlType<ST>,
    V: ToSql<ST, Pg> + Send + Sync,
{
    fn push<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_bind_param::<ST, V>(&self.value)
    }
}

impl<T: Text> QueryFragment<Pg> for Statement<T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let mut pieces = T::SQL.split(PLACEHOLDER);
        out.push_sql(pieces.next().unwrap_or_default());
        let mut binds = self.binds.iter();
        for piece in pieces {
            let bind = binds.next().ok_or_else(|| Error::QueryBuilderError("too few parameters".into()))?;
            bind.push(out.reborrow())?;
            out.push_sql(piece);
        }
        match binds.next() {
            None => Ok(()),
            Some(_) => Err(Error::QueryBuilderError("too many parameters".into())),
        }
    }
}

impl<T: Text> QueryId for Statement<T> {
    type QueryId = Statement<T>;

    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<T: Text> Query for Statement<T> {
    type SqlType = T::Row;
}

impl<T: Text> RunQueryDsl<PgConnection> for Statement<T> {}

impl<T: Text> RunQueryDsl<PgConnection> for &Statement<T> {}
