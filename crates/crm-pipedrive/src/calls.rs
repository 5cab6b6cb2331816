use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leadtrail_domain::crm::Budget;
use leadtrail_domain::ports::{CrmError, RateScope};
use leadtrail_outbound::{Destination, Outbound, OutboundError, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::answer::{self, About};
use crate::burst::{Bursts, Kind};
use crate::settings::PipedriveSettings;
use crate::wire::Envelope;

/// Requests to one account.
#[derive(Debug)]
pub(crate) struct Calls {
    outbound: Arc<Outbound>,
    settings: PipedriveSettings,
    bursts: Mutex<Bursts>,
    budget: Mutex<Option<Budget>>,
}

/// Whether a request whose outcome is unknown may be sent a second time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Repeat {
    /// It only reads, or sets fields to values.
    Harmless,
    /// It makes something.
    Doubles,
}

impl Calls {
    const RETRIES_MAX: u32 = 2;

    pub(crate) fn new(outbound: Arc<Outbound>, settings: PipedriveSettings) -> Self {
        Self { outbound, settings, bursts: Mutex::default(), budget: Mutex::default() }
    }

    /// What the latest answer that said so had left of the day's budget.
    pub(crate) fn budget(&self) -> Option<Budget> {
        *locked(&self.budget)
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        until: Instant,
        path: &[&str],
        query: &[(&str, &str)],
        about: About,
    ) -> Result<Envelope<T>, CrmError> {
        let request = || {
            let request = Request::get(self.at(path));
            Ok(query.iter().fold(request, |request, (name, value)| request.query(name, value)))
        };
        let kind = if path.last() == Some(&"search") { Kind::Search } else { Kind::Other };
        answer::data(&self.send(until, kind, Repeat::Harmless, request).await?, about, &Map::new())
    }

    /// Sends `custom_fields` and nothing else.
    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        until: Instant,
        path: &[&str],
        custom_fields: &Map<String, Value>,
        about: About,
    ) -> Result<Envelope<T>, CrmError> {
        let body = json!({ "custom_fields": custom_fields });
        let request = || Request::patch(self.at(path), &body);
        let answer = self.send(until, Kind::Other, Repeat::Harmless, request).await?;
        answer::data(&answer, about, custom_fields)
    }

    /// Makes something; never twice.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        until: Instant,
        path: &[&str],
        body: &(impl Serialize + Sync),
    ) -> Result<Envelope<T>, CrmError> {
        let request = || Request::post(self.at(path), body);
        let answer = self.send(until, Kind::Other, Repeat::Doubles, request).await?;
        answer::data(&answer, About::Account, &Map::new())
    }

    fn at(&self, path: &[&str]) -> Destination {
        self.settings.base_url.destination().below(path.iter().copied())
    }

    /// Sends, and sends again what may succeed at once and may be repeated.
    async fn send(
        &self,
        until: Instant,
        kind: Kind,
        repeat: Repeat,
        request: impl Fn() -> Result<Request, serde_json::Error>,
    ) -> Result<Response, CrmError> {
        let mut wait = self.settings.retry_wait;
        let mut retries_left = Self::RETRIES_MAX;
        loop {
            let request = request().map_err(|error| CrmError::Permanent {
                code: format!("{:?} error in the request", error.classify()),
                fields: BTreeSet::new(),
            })?;
            let request = request.secret_header("x-api-token", &self.settings.token);
            self.await_turn(kind, until).await?;
            let outcome = self.outbound.send(request).await;
            if let Ok(answer) = &outcome {
                self.learn(kind, answer);
            }
            let may_pass = match &outcome {
                Ok(answer) => answer::is_passing(answer) && repeat == Repeat::Harmless,
                Err(
                    error @ (OutboundError::Connect { .. }
                    | OutboundError::Timeout { .. }
                    | OutboundError::Broken { .. }),
                ) => repeat == Repeat::Harmless || error.nothing_was_sent(),
                Err(
                    OutboundError::Refused { .. }
                    | OutboundError::TooLong { .. }
                    | OutboundError::Tls { .. }
                    | OutboundError::Header { .. },
                ) => false,
            };
            if !may_pass || retries_left == 0 {
                return outcome.map_err(|error| unanswered(&error));
            }
            retries_left -= 1;
            tokio::time::sleep(jittered(wait)).await;
            wait *= 3;
        }
    }

    /// Waits until the limit of a few seconds has room. Half of the time left is kept for the answer.
    async fn await_turn(&self, kind: Kind, until: Instant) -> Result<(), CrmError> {
        let now = Instant::now();
        let wait_max = until.saturating_duration_since(now) / 2;
        let turn = locked(&self.bursts).reserve(kind, now, wait_max);
        let at =
            turn.map_err(|retry_after| CrmError::RateLimited { retry_after, scope: RateScope::Burst })?;
        // A sleep until now would last a millisecond.
        if at > now {
            tokio::time::sleep_until(at).await;
        }
        Ok(())
    }

    /// Takes what an answer says of the limits.
    fn learn(&self, kind: Kind, answer: &Response) {
        if let Some(remaining) = answer::count(answer, "x-daily-ratelimit-token-remaining") {
            let said = answer::count(answer, "x-daily-ratelimit-token-limit").filter(|limit| *limit > 0);
            let mut budget = locked(&self.budget);
            let limit = said.or_else(|| budget.and_then(|budget| budget.limit));
            *budget = Some(Budget { remaining, limit });
        }
        // A search has a limit of its own, and a refusal one that is narrowed for a while.
        if kind == Kind::Other
            && answer.status < 300
            && let Some(requests) = answer::count(answer, "x-ratelimit-limit")
        {
            locked(&self.bursts).learn(usize::try_from(requests).unwrap_or(usize::MAX));
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unanswered(error: &OutboundError) -> CrmError {
    match error {
        OutboundError::Header { .. } => {
            CrmError::Auth("the API token holds characters that a header cannot carry".to_owned())
        }
        OutboundError::Connect { .. }
        | OutboundError::Refused { .. }
        | OutboundError::Timeout { .. }
        | OutboundError::Broken { .. }
        | OutboundError::TooLong { .. }
        | OutboundError::Tls { .. } => CrmError::Transient(error.to_string()),
    }
}

/// Between half and one and a half of `wait`, so that workers that failed together do not return together.
fn jittered(wait: Duration) -> Duration {
    let mut byte = [128];
    // Without randomness the wait is just the middle one.
    let _drawn = getrandom::fill(&mut byte).is_ok();
    wait.mul_f64(0.5 + f64::from(byte[0]) / 256.0)
}
