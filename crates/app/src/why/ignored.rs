//! What made no touch, and why.

use std::collections::{BTreeMap, BTreeSet};

use leadtrail_domain::event::{
    Arrival, Collected, Event, Neighbourhood, ReferrerKind, StoredEvent, VisitorName,
};
use leadtrail_domain::id::{EventId, PixelId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::Journey;
use leadtrail_domain::project::PixelContext;
use leadtrail_domain::time::Timestamp;
use serde::Serialize;

/// Events that are no touches, for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ignored {
    /// Why, for people.
    pub why: String,
    /// How many.
    pub events: u32,
    /// The latest of them.
    pub latest: EventId,
    /// When that was.
    pub latest_at: Timestamp,
}

/// The events up to the form that made no touch, by the reason, in the order of the latest.
pub(super) fn ignored(
    journey: &Journey,
    lead: &Lead,
    pixels: &BTreeMap<PixelId, PixelContext>,
) -> Vec<Ignored> {
    let touched: BTreeSet<_> =
        journey.touches.iter().map(|one| (one.touch.event_id, &one.touch.pixel_id)).collect();
    let mut by_reason: BTreeMap<String, Ignored> = BTreeMap::new();
    for StoredEvent { event, .. } in &journey.events {
        if touched.contains(&(event.id, &event.pixel_id))
            || (event.occurred_at, event.id) > (lead.occurred_at, lead.event_id)
        {
            continue;
        }
        let why = pixels
            .get(&event.pixel_id)
            .map_or_else(|| "its pixel is gone".to_owned(), |pixel| reason(event, pixel));
        let one = Ignored { why: why.clone(), events: 0, latest: event.id, latest_at: event.occurred_at };
        let ignored = by_reason.entry(why).or_insert(one);
        ignored.events += 1;
        (ignored.latest, ignored.latest_at) = (event.id, event.occurred_at);
    }
    let mut ignored: Vec<Ignored> = by_reason.into_values().collect();
    ignored.sort_by_key(|one| (one.latest_at, one.latest));
    ignored
}

/// Why an event made no touch.
fn reason(event: &Event, pixel: &PixelContext) -> String {
    let host = |url: &str| url.split('/').nth(2).unwrap_or(url).to_owned();
    let from = event.referrer_url.as_deref().map(host).unwrap_or_default();
    let by = Collected::reread(event.clone(), pixel);
    if let Some(bot) = &event.client.bot {
        return format!("taken for a bot: {bot}");
    }
    match by.arrival {
        Arrival::External { .. } => "says the same as the touch before it in its session".to_owned(),
        Arrival::Direct if event.visitor == VisitorName::Unlinked => {
            "no consent, or Global Privacy Control: nothing is kept that would say from where".to_owned()
        }
        Arrival::Direct => "nothing says from where, in a session that was open".to_owned(),
        Arrival::Internal => match Neighbourhood::from(pixel).kind_of(event) {
            ReferrerKind::Ignored => format!(
                "from {from}, which visitors only pass through (payment, sign-in, or ignored by the project)"
            ),
            ReferrerKind::OwnSite => format!("from {from}, another of the pixel's own sites"),
            ReferrerKind::None | ReferrerKind::SameSite | ReferrerKind::Elsewhere => {
                "from another page of the site".to_owned()
            }
        },
    }
}
