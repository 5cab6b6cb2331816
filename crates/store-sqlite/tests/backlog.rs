//! How long a worker waits for its jobs behind a long outage. Not run by itself: a figure, not a claim.
//!
//! `cargo test --release -p leadtrail-store-sqlite --test backlog -- --ignored --nocapture`

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use leadtrail_contract::fixtures::at;
use leadtrail_domain::ports::SyncJobs;
use leadtrail_store_sqlite::SqliteStore;

const PENDING: u32 = 100_000;

#[test]
#[ignore = "a figure, not a claim"]
fn a_claim_of_fifty_out_of_a_hundred_thousand() {
    for projects in [1, 100] {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("leadtrail.db").display().to_string();
        leadtrail_contract::run(async {
            let store = SqliteStore::open(&format!("sqlite:{path}")).expect("the URL names a file");
            store.migrate().await.expect("the migrations run");
            let mut connection = SqliteConnection::establish(&path).expect("the file can be opened");
            let jobs = format!(
                "INSERT INTO sync_jobs (job_id, project_id, account, lead_id, email_hash, sequence, created_at, due_at,
                    status, looks, failures, persons, lease_number)
                 WITH RECURSIVE jobs (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM jobs WHERE n < {PENDING})
                 SELECT randomblob(16), unhex(printf('%032x', n % {projects})), 'default', randomblob(16),
                    randomblob(32), 1, 0, {} - n * 1000, 'pending', 0, 0, '[]', 0
                 FROM jobs",
                at(0).micros()
            );
            connection.batch_execute(&jobs).expect("the jobs are inserted");
            for _round in 0..3 {
                let (asked, claimed) = round(&store).await;
                eprintln!("{PENDING} pending in {projects}: due_queues {asked:?}, claim of 50 {claimed:?}");
            }
        });
    }
}

async fn round(store: &SqliteStore) -> (Duration, Duration) {
    let begun = Instant::now();
    let queues = store.due_queues(at(1)).await.expect("the store answers");
    let asked = begun.elapsed();
    let claims = store.claim(&queues[0].queue, at(1), Duration::from_mins(2), 50).await;
    assert_eq!(claims.expect("the store answers").len(), 50);
    (asked, begun.elapsed().saturating_sub(asked))
}
