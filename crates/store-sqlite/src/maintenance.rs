use std::sync::atomic::Ordering;

use async_trait::async_trait;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use leadtrail_domain::ports::{Durability, Maintenance, StoreError};
use leadtrail_domain::time::Timestamp;

use crate::SqliteStore;
use crate::failure::pool_failure;

#[derive(QueryableByName)]
struct JournalMode {
    #[diesel(sql_type = Text)]
    journal_mode: String,
}

#[derive(QueryableByName)]
struct Synchronous {
    #[diesel(sql_type = BigInt)]
    synchronous: i64,
}

/// How many events are written before the log is copied into the file: about 4 MiB of it.
const EVENTS_PER_CHECKPOINT: usize = 2_000;

/// `PRAGMA synchronous`: the log is synchronised at each commit.
const SYNCHRONOUS_FULL: i64 = 2;

#[async_trait]
impl Maintenance for SqliteStore {
    async fn ping(&self) -> Result<(), StoreError> {
        self.read(|connection| {
            // The schema's table is there in every file, and reading it reads the file.
            diesel::sql_query("SELECT 1 FROM sqlite_schema LIMIT 1").execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn durability(&self) -> Result<Durability, StoreError> {
        let (journal, synchronous) = self
            .with_writer(|connection| {
                let journal: JournalMode = diesel::sql_query("PRAGMA journal_mode").get_result(connection)?;
                let synchronous: Synchronous =
                    diesel::sql_query("PRAGMA synchronous").get_result(connection)?;
                Ok((journal.journal_mode, synchronous.synchronous))
            })
            .await?;
        let mut reasons = Vec::new();
        // The older journals survive as well; a journal in memory, or none, does not.
        if journal == "memory" || journal == "off" {
            reasons.push(format!("journal_mode = {journal}"));
        }
        if synchronous < SYNCHRONOUS_FULL {
            reasons.push(format!("synchronous = {synchronous}"));
        }
        Ok(if reasons.is_empty() { Durability::Full } else { Durability::Relaxed(reasons) })
    }

    async fn upkeep(&self, _now: Timestamp) -> Result<(), StoreError> {
        self.checkpoint().await?;
        self.with_writer(|connection| {
            // What the checkpoint beside the commits left over is little; with no writer at work the log begins anew.
            // No `PRAGMA optimize`: every statement here has the one index it is meant to use, and figures about one
            // large project would only mislead the plans for the small ones.
            connection.batch_execute("PRAGMA wal_checkpoint(PASSIVE);")?;
            Ok(())
        })
        .await
    }
}

impl SqliteStore {
    /// Begins a checkpoint beside the commits once enough has been written: left to the commits, each that fills the
    /// log would wait for all of it to be copied.
    pub(crate) fn committed(&self, events: usize) {
        let written = self.events_in_log.fetch_add(events, Ordering::Relaxed) + events;
        if written < EVENTS_PER_CHECKPOINT || self.checkpointer.free() == 0 {
            return;
        }
        self.events_in_log.store(0, Ordering::Relaxed);
        let store = self.clone();
        tokio::spawn(async move {
            if let Err(error) = store.checkpoint().await {
                // Nothing is lost: the log keeps what was not copied, and a commit copies it when the log is full.
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the write-ahead log could not be checkpointed");
            }
        });
    }

    /// Copies what is committed from the log into the file, without keeping anybody from writing or reading.
    pub(crate) async fn checkpoint(&self) -> Result<(), StoreError> {
        let copied = self
            .checkpointer
            .run(|connection| connection.batch_execute("PRAGMA wal_checkpoint(PASSIVE);"))
            .await
            .map_err(pool_failure)?;
        copied.map_err(StoreError::transient)
    }
}
