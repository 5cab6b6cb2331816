//! From a raw message to what its sender is told.

use leadtrail_app::measures::Outcome;
use leadtrail_domain::event::{Collected, Event, FieldProblem, ParseContext, RawEvent, Unwanted};
use leadtrail_domain::id::PixelId;
use leadtrail_domain::ingest::IngestPolicy;
use leadtrail_domain::key::{ApiKey, Scope};
use leadtrail_domain::ports::RequestFacts;
use leadtrail_domain::visit::Answer;

use crate::limits::Allowance;
use crate::refusal::Refusal;
use crate::sender::{self, Sender};
use crate::server::State;
use crate::{access, cookie, cors};

/// What became of an event that was not refused.
pub(crate) enum Taken {
    /// It is stored.
    Stored {
        answer: Answer,
        /// The `Set-Cookie` its visitor gets, where the browser would take it as the page's own.
        set_cookie: Option<String>,
    },
    /// The project does not want it kept, for this reason.
    Dropped(Unwanted),
}

/// Takes in one event and answers once it is durable.
///
/// # Errors
/// It is not valid, comes from a site that may not send it, is one too many, or cannot be stored now.
pub(crate) async fn take(
    state: &State,
    sender: &Sender<'_>,
    key: Option<&ApiKey>,
    allowance: &Allowance<'_>,
    raw: &RawEvent<'_>,
) -> Result<Taken, Refusal> {
    let received = state.measures.events.received();
    match read(state, sender, key, allowance, raw).await {
        Ok(Read::Wanted { collected, policy, page_host }) => {
            received.handed_over();
            let answer = state.collector.ingest.collect(*collected, policy).await?;
            let set_cookie = set_cookie(state, sender, page_host.as_deref(), &answer);
            Ok(Taken::Stored { answer, set_cookie })
        }
        Ok(Read::Unwanted(unwanted)) => {
            received.ended(match unwanted {
                Unwanted::Bot(_) => Outcome::Bot,
                Unwanted::Gpc => Outcome::Gpc,
            });
            Ok(Taken::Dropped(unwanted))
        }
        Err(refusal) => {
            received.ended(refusal.outcome());
            Err(refusal)
        }
    }
}

/// An event that is valid.
enum Read {
    Wanted { collected: Box<Collected>, policy: IngestPolicy, page_host: Option<String> },
    Unwanted(Unwanted),
}

async fn read(
    state: &State,
    sender: &Sender<'_>,
    key: Option<&ApiKey>,
    allowance: &Allowance<'_>,
    raw: &RawEvent<'_>,
) -> Result<Read, Refusal> {
    let collector = &state.collector;
    // Only a key that may be a server's waits for its pixel to be known: others are charged before anything is done.
    let server_key = key.filter(|key| access::may_ingest(key));
    if server_key.is_none() {
        allowance.charge(raw)?;
    }
    let pixel_id = pixel_id(raw)?;
    let pixel = collector.pixels.known(&pixel_id).await?.filter(|pixel| pixel.context.is_active());
    let project = pixel.as_ref().map(|pixel| pixel.context.project.id);
    let is_by_server = server_key.is_some_and(|key| key.opens(Scope::Ingest, project));
    if server_key.is_some() && !is_by_server {
        allowance.charge(raw)?;
    }
    let pixel = pixel.ok_or_else(|| unknown(raw))?;
    let origins = &pixel.context.pixel.settings.origins;
    if sender.origin.as_ref().is_some_and(|origin| !cors::is_listed(origins, origin.host.as_deref())) {
        return Err(Refusal::foreign("origin"));
    }

    let received_at = collector.clock.now();
    let facts = RequestFacts { ip: sender.ip, user_agent: sender.user_agent.as_deref() };
    let mut client = collector.enrich.enrich(&facts);
    // A server that may send events is a program and says so: that makes no bot of the visitors it speaks for.
    if is_by_server {
        client.bot = None;
    }
    if let Some(place) = &sender.place {
        place.put_into(&mut client);
    }
    let context = ParseContext {
        pixel: &pixel.context,
        received_at,
        fallback_id: sender::new_event_id(received_at),
        header_cookie: sender.cookie.clone(),
        fallback_cookie: sender.fallback_cookie.clone(),
        client,
        gpc: sender.gpc,
        referer: sender.referer,
    };
    let collected = Event::parse(raw, &context)?;
    let page_host = sender::host_of_url(&collected.event.page_url);
    if !cors::is_listed(origins, page_host.as_deref()) {
        return Err(Refusal::foreign("page_url"));
    }
    if let Some(unwanted) = collected.unwanted {
        return Ok(Read::Unwanted(unwanted));
    }
    Ok(Read::Wanted { collected: Box::new(collected), policy: pixel.policy.clone(), page_host })
}

fn pixel_id(raw: &RawEvent<'_>) -> Result<PixelId, Refusal> {
    let problem = match raw.pixel_id() {
        None | Some("") => "is required".to_owned(),
        Some(id) => match id.parse() {
            Ok(id) => return Ok(id),
            Err(error) => format!("is {error}"),
        },
    };
    Err(refuse_pixel(raw, problem))
}

fn unknown(raw: &RawEvent<'_>) -> Refusal {
    refuse_pixel(raw, "is not the id of an active pixel".to_owned())
}

fn refuse_pixel(raw: &RawEvent<'_>, problem: String) -> Refusal {
    let mut problems = vec![FieldProblem { field: "pixel_id", problem }];
    if !raw.has_page_url() {
        problems.push(FieldProblem { field: "page_url", problem: "is required".to_owned() });
    }
    Refusal::unknown_pixel(problems)
}

/// Only a page of the site the request went to gets the cookie: any other would be a third party's.
fn set_cookie(
    state: &State,
    sender: &Sender<'_>,
    page_host: Option<&str>,
    answer: &Answer,
) -> Option<String> {
    let cookie = answer.visitor_cookie.as_ref()?;
    let origin_host = sender.origin.as_ref().map_or(page_host, |origin| origin.host.as_deref());
    let is_own = sender.is_same_site_as(page_host?) && sender.is_same_site_as(origin_host?);
    is_own.then(|| {
        let is_https = state.collector.settings.is_https() || sender.is_https;
        cookie::set(cookie, sender.host.as_deref().unwrap_or_default(), is_https)
    })
}
