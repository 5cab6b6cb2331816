//! What an answer means: data, or one of the port's errors.

use std::collections::BTreeSet;
use std::time::Duration;

use leadtrail_domain::crm::FieldKey;
use leadtrail_domain::ports::{CrmError, RateScope};
use leadtrail_outbound::Response;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::wire::Envelope;

/// The window in which requests are counted, and so the shortest wait that can help.
const BURST_WAIT_MIN: Duration = Duration::from_secs(2);
/// A wait longer than this is not about requests in a few seconds.
const BURST_WAIT_MAX: Duration = Duration::from_mins(1);
/// The wait where the day's budget is used up and nothing says when the day ends.
const DAILY_WAIT: Duration = Duration::from_hours(1);
/// The least wait after requests were sent on in spite of their limit, until when an HTML page answers.
const BLOCKED_WAIT_MIN: Duration = Duration::from_mins(30);
/// The longest wait believed: every limit of Pipedrive's ends with the day.
const WAIT_MAX: Duration = Duration::from_hours(24);

/// Whether a 404 says that a person is gone, or that the address is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum About {
    Person,
    Account,
}

/// The data of an answer to a request that sent these custom fields.
pub(crate) fn data<T: DeserializeOwned>(
    answer: &Response,
    about: About,
    sent: &Map<String, Value>,
) -> Result<Envelope<T>, CrmError> {
    if !(200..300).contains(&answer.status) {
        return Err(refusal(answer, about, sent));
    }
    let unreadable =
        |why: &str| CrmError::Transient(format!("an answer cannot be read: {why}{}", trace_of(answer)));
    // What serde_json says of JSON that does not fit may quote it.
    let envelope: Envelope<T> = answer.json().map_err(|quoting| {
        unreadable(&format!(
            "{:?} error in line {}, column {}",
            quoting.classify(),
            quoting.line(),
            quoting.column()
        ))
    })?;
    if envelope.success == Some(false) {
        return Err(unreadable("it says that it failed, with the status of a success"));
    }
    Ok(envelope)
}

/// Whether the same request may succeed at once.
pub(crate) fn is_passing(answer: &Response) -> bool {
    answer.status >= 500 && answer.status != 501
}

fn refusal(answer: &Response, about: About, sent: &Map<String, Value>) -> CrmError {
    let json: Option<Value> = answer.json().ok().filter(Value::is_object);
    let status = answer.status;
    let told = |what: &str| format!("{what} (status {status}{})", trace_of(answer));
    match (status, about) {
        (401, _) => CrmError::Auth(told("the API token is not accepted")),
        (402, _) => CrmError::Auth(told("the account is closed or unpaid")),
        (403, _) if json.is_none() => CrmError::RateLimited {
            retry_after: wait_header(answer, "retry-after").unwrap_or_default().max(BLOCKED_WAIT_MIN),
            scope: RateScope::Blocked,
        },
        (404 | 410, About::Person) => CrmError::NotFound,
        (300..400 | 404 | 410, _) => {
            CrmError::Transient(told("the API is not at this address; is the base URL right?"))
        }
        (408 | 423, _) => CrmError::Transient(told("no answer for now")),
        (429, _) => limited(answer, json.as_ref()),
        (501, _) => CrmError::Permanent { code: code(status, json.as_ref()), fields: BTreeSet::new() },
        (500.., _) => CrmError::Transient(told("Pipedrive failed")),
        (400 | 422, _) => {
            CrmError::Permanent { code: code(status, json.as_ref()), fields: named(json.as_ref(), sent) }
        }
        _ => CrmError::Permanent { code: code(status, json.as_ref()), fields: BTreeSet::new() },
    }
}

fn limited(answer: &Response, json: Option<&Value>) -> CrmError {
    let asked = wait_header(answer, "retry-after");
    let says_daily = json.is_some_and(|json| texts(json).any(|text| text.to_lowercase().contains("daily")));
    let used_up = count(answer, "x-daily-ratelimit-token-remaining") == Some(0);
    if says_daily || used_up || asked.is_some_and(|wait| wait > BURST_WAIT_MAX) {
        CrmError::RateLimited {
            retry_after: asked.unwrap_or(DAILY_WAIT).max(BURST_WAIT_MIN),
            scope: RateScope::Daily,
        }
    } else {
        let reset = wait_header(answer, "x-ratelimit-reset").filter(|wait| *wait <= BURST_WAIT_MAX);
        let retry_after = asked.max(reset).unwrap_or_default().max(BURST_WAIT_MIN);
        CrmError::RateLimited { retry_after, scope: RateScope::Burst }
    }
}

/// A header of whole seconds.
fn wait_header(answer: &Response, name: &str) -> Option<Duration> {
    let seconds = answer.header(name)?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(WAIT_MAX))
}

/// A header that counts something; what is overdrawn is nothing.
pub(crate) fn count(answer: &Response, name: &str) -> Option<u64> {
    let count: i64 = answer.header(name)?.trim().parse().ok()?;
    Some(u64::try_from(count).unwrap_or(0))
}

/// Pipedrive's code where it gives one that is a plain word, else the status. Its messages quote what was sent, and
/// its tokens have the form of field codes; but where a plan has no more of something, the message may be the code.
fn code(status: u16, json: Option<&Value>) -> String {
    let is_word = |text: &&str| {
        (1..=64).contains(&text.len())
            && !is_field_code(text)
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let coded = json.and_then(|json| json.get("code")?.as_str());
    let capped = json.into_iter().flat_map(texts).find(|text| text.starts_with("feature_capping_"));
    coded.filter(is_word).or(capped.filter(is_word)).map_or_else(|| status.to_string(), str::to_owned)
}

/// The fields among `sent` that the error's texts name. What else has the form of a field's code may be anything, the
/// token included.
fn named(json: Option<&Value>, sent: &Map<String, Value>) -> BTreeSet<FieldKey> {
    json.into_iter()
        .flat_map(texts)
        .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric()))
        .filter(|word| sent.contains_key(*word))
        .map(|word| FieldKey(word.to_owned()))
        .collect()
}

/// Whether a text has the form of a custom field's code: forty hexadecimal digits.
pub(crate) fn is_field_code(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn texts(json: &Value) -> impl Iterator<Item = &str> {
    ["error", "error_info", "message"].into_iter().filter_map(|name| json.get(name)?.as_str())
}

/// What Pipedrive's support asks for, where it is there.
fn trace_of(answer: &Response) -> String {
    let is_plain = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    answer
        .header("x-correlation-id")
        .filter(is_plain)
        .map(|id| format!(", correlation {id}"))
        .unwrap_or_default()
}
