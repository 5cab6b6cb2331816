use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use leadtrail_domain::ports::CrmError;
use leadtrail_outbound::{Destination, Outbound, OutboundError, Request, Response};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::answer::{self, About};
use crate::settings::PipedriveSettings;
use crate::wire::Envelope;

/// Requests to one account.
#[derive(Debug)]
pub(crate) struct Calls {
    outbound: Arc<Outbound>,
    settings: PipedriveSettings,
}

impl Calls {
    const RETRIES_MAX: u32 = 2;

    pub(crate) fn new(outbound: Arc<Outbound>, settings: PipedriveSettings) -> Self {
        Self { outbound, settings }
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        about: About,
    ) -> Result<Envelope<T>, CrmError> {
        let request = || {
            let request = Request::get(self.at(path));
            Ok(query.iter().fold(request, |request, (name, value)| request.query(name, value)))
        };
        answer::data(&self.send(request).await?, about, &Map::new())
    }

    /// Sends `custom_fields` and nothing else.
    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &[&str],
        custom_fields: &Map<String, Value>,
        about: About,
    ) -> Result<Envelope<T>, CrmError> {
        let body = json!({ "custom_fields": custom_fields });
        let answer = self.send(|| Request::patch(self.at(path), &body)).await?;
        answer::data(&answer, about, custom_fields)
    }

    fn at(&self, path: &[&str]) -> Destination {
        self.settings.base_url.destination().below(path.iter().copied())
    }

    /// Sends, and sends again what may succeed at once: all requests of this adapter may be repeated, for it only
    /// reads, and sets fields to values.
    async fn send(
        &self,
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
            let outcome = self.outbound.send(request).await;
            let may_pass = match &outcome {
                Ok(answer) => answer::is_passing(answer),
                Err(
                    OutboundError::Connect { .. }
                    | OutboundError::Timeout { .. }
                    | OutboundError::Broken { .. },
                ) => true,
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
