//! How well the queue is doing, in one number and the parts it is made of.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::JobStatus;
use super::account::Standing;
use crate::ports::JobCounts;
use crate::time::Timestamp;

/// A score below this is worth a human's attention.
pub const SCORE_MIN: u8 = 80;
/// Over which time outcomes are looked at.
pub const OUTCOMES_OF: Duration = Duration::from_hours(24);

/// How long a due job may wait without anything being wrong: a poll, a batch, a retry.
const LAG_FINE: Duration = Duration::from_mins(5);
/// After so long a wait nothing is right any more.
const LAG_BAD: Duration = Duration::from_hours(6);

/// What the score is made of.
#[derive(Clone, PartialEq, Debug)]
pub struct HealthFacts {
    /// Where the jobs stand.
    pub counts: JobCounts,
    /// How they ended during [`OUTCOMES_OF`].
    pub outcomes: BTreeMap<JobStatus, u64>,
    /// How the connections stand, by name; empty where only a running service would know.
    pub accounts: BTreeMap<String, Standing>,
}

/// How well the queue is doing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SyncHealth"))]
pub struct Health {
    /// 0 to 100: the parts' scores by their weights.
    pub score: u8,
    /// What it is made of.
    pub parts: Vec<HealthPart>,
}

/// A part of the score.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SyncHealthPart"))]
pub struct HealthPart {
    /// `lag`, `errors`, `matches` or `accounts`.
    pub name: &'static str,
    /// 0 to 100.
    pub score: u8,
    /// How much it counts.
    pub weight: u8,
    /// What was found, in a line.
    pub found: String,
}

/// The score at `now`.
pub fn score(facts: &HealthFacts, now: Timestamp) -> Health {
    let mut parts = vec![lag(&facts.counts, now), errors(&facts.outcomes), matches(&facts.outcomes)];
    if !facts.accounts.is_empty() {
        parts.push(accounts(&facts.accounts));
    }
    let weights: u32 = parts.iter().map(|part| u32::from(part.weight)).sum();
    let sum: u32 = parts.iter().map(|part| u32::from(part.weight) * u32::from(part.score)).sum();
    Health { score: u8::try_from(sum / weights.max(1)).unwrap_or(100), parts }
}

fn lag(counts: &JobCounts, now: Timestamp) -> HealthPart {
    let lag = counts.oldest_due_at.map_or(Duration::ZERO, |at| now.since(at));
    let (left, all) = (LAG_BAD.saturating_sub(lag), LAG_BAD.saturating_sub(LAG_FINE));
    let score = share(left.as_secs(), all.as_secs());
    let found = match counts.due {
        0 => format!("nothing is due; {} pending", counts.pending),
        due => format!("{due} of {} pending due, the oldest for {} s", counts.pending, lag.as_secs()),
    };
    HealthPart { name: "lag", score, weight: 50, found }
}

fn errors(outcomes: &BTreeMap<JobStatus, u64>) -> HealthPart {
    let (errors, all) = (of(outcomes, JobStatus::Error), outcomes.values().sum());
    let found = format!("{errors} of {all} jobs of the last day ended as error");
    HealthPart { name: "errors", score: share_of(all - errors, all), weight: 25, found }
}

fn matches(outcomes: &BTreeMap<JobStatus, u64>) -> HealthPart {
    let unmatched = of(outcomes, JobStatus::NotFound) + of(outcomes, JobStatus::Ambiguous);
    let all = unmatched + of(outcomes, JobStatus::Synced);
    let found = format!("{unmatched} of {all} persons of the last day not found or ambiguous");
    HealthPart { name: "matches", score: share_of(all - unmatched, all), weight: 10, found }
}

fn accounts(accounts: &BTreeMap<String, Standing>) -> HealthPart {
    let ready = accounts.values().filter(|standing| **standing == Standing::Ready).count();
    let others = accounts.iter().filter(|(_, standing)| **standing != Standing::Ready);
    let named: Vec<String> =
        others.map(|(name, standing)| format!("{name}: {}", standing.as_str())).collect();
    let found = if named.is_empty() { "every connection is ready".to_owned() } else { named.join(", ") };
    let [ready, all] = [ready, accounts.len()].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
    HealthPart { name: "accounts", score: share_of(ready, all), weight: 15, found }
}

fn of(outcomes: &BTreeMap<JobStatus, u64>, status: JobStatus) -> u64 {
    outcomes.get(&status).copied().unwrap_or(0)
}

/// Of nothing, everything is well.
fn share_of(good: u64, all: u64) -> u8 {
    if all == 0 { 100 } else { share(good, all) }
}

fn share(good: u64, all: u64) -> u8 {
    let percent = u128::from(good) * 100 / u128::from(all.max(1));
    u8::try_from(percent.min(100)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_mins(minutes))
    }

    fn facts(oldest_due: Option<u64>, outcomes: &[(JobStatus, u64)]) -> HealthFacts {
        let due = u64::from(oldest_due.is_some());
        HealthFacts {
            counts: JobCounts { pending: 3, due, oldest_due_at: oldest_due.map(at) },
            outcomes: outcomes.iter().copied().collect(),
            accounts: BTreeMap::new(),
        }
    }

    #[test]
    fn a_queue_with_nothing_to_complain_of_has_a_hundred() {
        assert_eq!(score(&facts(None, &[]), at(1_000)).score, 100);
        assert_eq!(score(&facts(Some(1_000), &[(JobStatus::Synced, 5)]), at(1_005)).score, 100);
    }

    #[test]
    fn a_queue_that_stands_still_or_fails_is_below_the_threshold() {
        assert!(score(&facts(Some(0), &[]), at(600)).score < SCORE_MIN);
        let failing = score(&facts(None, &[(JobStatus::Error, 9), (JobStatus::Synced, 1)]), at(0));
        assert!(failing.score < SCORE_MIN, "{failing:?}");
        let parts: Vec<_> = failing.parts.iter().map(|part| (part.name, part.score)).collect();
        assert_eq!(parts, [("lag", 100), ("errors", 10), ("matches", 100)]);
    }

    #[test]
    fn a_refused_connection_shows() {
        let accounts = BTreeMap::from([("default".to_owned(), Standing::Refused(at(5)))]);
        let health = score(&HealthFacts { accounts, ..facts(None, &[]) }, at(0));
        assert_eq!(health.parts[3].found, "default: refused");
        assert_eq!(health.score, 85);
    }
}
