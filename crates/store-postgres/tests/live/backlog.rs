//! How long a worker waits for its jobs behind a long outage. Not run by itself: a figure, not a claim.
//!
//! `cargo test --release -p leadtrail-store-postgres --features live -- --ignored --nocapture backlog`

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use leadtrail_contract::fixtures::at;
use leadtrail_contract::run;
use leadtrail_domain::ports::SyncJobs as _;
use leadtrail_store_postgres::PostgresStore;

use crate::beside;
use crate::scratch::Scratch;

const PENDING: u32 = 100_000;

#[test]
#[ignore = "a figure, not a claim"]
fn a_claim_of_fifty_out_of_a_hundred_thousand() {
    for (projects, analyzed) in [(1, false), (1, true), (100, false), (100, true)] {
        run(async {
            let scratch = Scratch::new().await;
            let store = scratch.store_with(1, 1).await;
            let jobs = format!(
                "INSERT INTO sync_jobs (job_id, project_id, account, lead_id, email_hash, sequence, created_at, due_at)
                 SELECT gen_random_uuid(), lpad((n % {projects})::text, 32, '0')::uuid, 'default', gen_random_uuid(),
                    sha256(n::text::bytea), 1, now(), '{}'::timestamptz - n * interval '1 ms'
                 FROM generate_series(1, {PENDING}) AS n",
                at(0)
            );
            let mut beside = beside(&scratch);
            beside.batch_execute(&jobs).expect("the jobs are inserted");
            if analyzed {
                beside.batch_execute("VACUUM ANALYZE sync_jobs").expect("the server answers");
            }
            for _round in 0..3 {
                let (asked, claimed) = round(&store).await;
                eprintln!(
                    "{PENDING} pending in {projects}, analyzed: {analyzed}: due_queues {asked:?}, claim of 50 {claimed:?}"
                );
            }
        });
    }
}

async fn round(store: &PostgresStore) -> (Duration, Duration) {
    let begun = Instant::now();
    let queues = store.due_queues(at(1)).await.expect("the store answers");
    let asked = begun.elapsed();
    let claims = store.claim(&queues[0].queue, at(1), Duration::from_mins(2), 50).await;
    assert_eq!(claims.expect("the store answers").len(), 50);
    (asked, begun.elapsed().saturating_sub(asked))
}
