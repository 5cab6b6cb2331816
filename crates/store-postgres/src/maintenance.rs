use async_trait::async_trait;
use chrono::{Datelike as _, Months};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text, Timestamptz};
use leadtrail_domain::ports::{Durability, Maintenance, StoreError};
use leadtrail_domain::time::Timestamp;

use crate::PostgresStore;
use crate::column::At;

/// How many months beyond the current one have their partition.
const MONTHS_AHEAD: u32 = 2;

diesel::define_sql_function! {
    /// Creates the partition of a month, by the first migration.
    fn leadtrail_create_partition(instant: Timestamptz) -> Bool;
}

#[async_trait]
impl Maintenance for PostgresStore {
    async fn ping(&self) -> Result<(), StoreError> {
        self.ask(|connection| {
            diesel::select(sql::<Bool>("true")).execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn durability(&self) -> Result<Durability, StoreError> {
        let settings = self
            .ask(|connection| {
                let shown = diesel::select((
                    sql::<Text>("current_setting('fsync')"),
                    sql::<Text>("current_setting('synchronous_commit')"),
                    sql::<Text>("current_setting('full_page_writes')"),
                ));
                Ok(shown.get_result::<(String, String, String)>(connection)?)
            })
            .await?;
        Ok(judge(&settings.0, &settings.1, &settings.2))
    }

    async fn upkeep(&self, now: Timestamp) -> Result<(), StoreError> {
        let clock = std::sync::Arc::clone(&self.clock);
        self.ask(move |connection| clock.set(connection)).await?;
        create_partitions(self, now).await
    }
}

/// Creates the partitions of `now`'s month and of those to come, as far as they are missing; each in a transaction of
/// its own, so that the lock on DEFAULT is held as shortly as can be.
pub(crate) async fn create_partitions(store: &PostgresStore, now: Timestamp) -> Result<(), StoreError> {
    let first = now.to_datetime().with_day(1).unwrap_or_default();
    let months: Vec<_> = (0..=MONTHS_AHEAD)
        .filter_map(|ahead| first.checked_add_months(Months::new(ahead)))
        .map(|month| At(month.into()))
        .collect();
    store
        .change(move |connection| {
            for month in months {
                diesel::select(leadtrail_create_partition(month)).execute(connection)?;
            }
            Ok(())
        })
        .await
}

/// `synchronous_commit` waits for the local disk at `local` and everything stronger.
fn judge(fsync: &str, synchronous_commit: &str, full_page_writes: &str) -> Durability {
    let mut reasons = Vec::new();
    if fsync != "on" {
        reasons.push(format!("fsync = {fsync}"));
    }
    if synchronous_commit == "off" {
        reasons.push(format!("synchronous_commit = {synchronous_commit}"));
    }
    if full_page_writes != "on" {
        reasons.push(format!("full_page_writes = {full_page_writes}"));
    }
    if reasons.is_empty() { Durability::Full } else { Durability::Relaxed(reasons) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_may_lose_is_named() {
        for synchronous_commit in ["on", "local", "remote_write", "remote_apply"] {
            assert_eq!(judge("on", synchronous_commit, "on"), Durability::Full);
        }
        assert_eq!(
            judge("off", "off", "off"),
            Durability::Relaxed(vec![
                "fsync = off".to_owned(),
                "synchronous_commit = off".to_owned(),
                "full_page_writes = off".to_owned()
            ])
        );
    }
}
