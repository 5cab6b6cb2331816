//! The touches of a lead as they are shown.

use std::collections::BTreeSet;

use leadtrail_domain::id::EventId;
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{Journey, JourneyTouch};
use leadtrail_domain::project::TouchChoice;
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::{Touch, TouchKind};
use serde::Serialize;

/// How many touches of a lead or a conversion are shown.
pub(super) const SHOWN_MAX: usize = 500;

/// A touch as it is shown.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TouchShown {
    /// When.
    pub at: Timestamp,
    /// The event that carried it.
    pub event_id: EventId,
    /// What decided: `utm`, `click_id`, `referrer` or `direct`.
    pub kind: &'static str,
    /// The effective source; absent where it is direct.
    pub source: Option<String>,
    /// The effective medium.
    pub medium: Option<String>,
    /// The campaign.
    pub campaign: Option<String>,
    /// The channel; absent where it is direct.
    pub channel: Option<String>,
    /// The names of the click ids.
    pub click_ids: Vec<String>,
    /// The page landed on.
    pub landing_page: String,
    /// Which of the lead's frozen touches it is: `first`, `first_non_direct`, `session`, `last_non_direct`, `last`.
    pub is: Vec<&'static str>,
    /// Why it counts, or does not.
    pub note: String,
}

/// The touch that a project's rule chooses.
pub(super) fn chosen(lead: &Lead, choice: TouchChoice) -> Option<&Touch> {
    match choice {
        TouchChoice::First => lead.touches.first.as_deref(),
        TouchChoice::FirstNonDirect => lead.touches.first_non_direct.as_deref(),
        TouchChoice::Session => lead.session_touch.as_deref(),
        TouchChoice::LastNonDirect => lead.touches.last_non_direct.as_deref(),
    }
}

/// The rule, for people.
pub(super) fn rule(choice: TouchChoice) -> &'static str {
    match choice {
        TouchChoice::First => "first: the earliest touch",
        TouchChoice::FirstNonDirect => "first_non_direct: the earliest touch that is not direct",
        TouchChoice::Session => "session: the touch that opened the session of the form",
        TouchChoice::LastNonDirect => "last_non_direct: the latest touch that is not direct",
    }
}

/// The places of the touches that are shown: all, or of too many those that are frozen with the lead and those to which
/// the models give most, later ones first.
pub(super) fn shown(journey: &Journey, lead: &Lead, weights: &[f64]) -> BTreeSet<usize> {
    let mut places: Vec<usize> = (0..journey.touches.len()).collect();
    if places.len() > SHOWN_MAX {
        let is_frozen = |place: usize| !names(&journey.touches[place].touch, lead).is_empty();
        places.sort_by(|one, other| {
            is_frozen(*other)
                .cmp(&is_frozen(*one))
                .then(weights[*other].total_cmp(&weights[*one]))
                .then(other.cmp(one))
        });
        places.truncate(SHOWN_MAX);
    }
    places.into_iter().collect()
}

/// Which of the lead's frozen touches a touch is.
fn names(touch: &Touch, lead: &Lead) -> Vec<&'static str> {
    let four = &lead.touches;
    let frozen = [
        ("first", &four.first),
        ("first_non_direct", &four.first_non_direct),
        ("session", &lead.session_touch),
        ("last_non_direct", &four.last_non_direct),
        ("last", &four.last),
    ];
    let is_it = |other: &Touch| other.key() == touch.key();
    frozen.iter().filter(|(_, one)| one.as_deref().is_some_and(is_it)).map(|(name, _)| *name).collect()
}

/// A touch as it is shown.
pub(super) fn described(
    one: &JourneyTouch,
    journey: &Journey,
    lead: &Lead,
    chosen: Option<&Touch>,
) -> TouchShown {
    let touch = &one.touch;
    let attribution = touch.attribution();
    let is_chosen = chosen.is_some_and(|chosen| chosen.key() == touch.key());
    TouchShown {
        at: touch.at,
        event_id: touch.event_id,
        kind: touch.kind.as_str(),
        source: attribution.source,
        medium: attribution.medium,
        campaign: attribution.campaign,
        channel: attribution.channel,
        click_ids: touch.click_ids.iter().map(|id| id.parameter.clone()).collect(),
        landing_page: touch.landing_page.clone(),
        is: names(touch, lead),
        note: note(one, journey, lead, is_chosen),
    }
}

fn note(one: &JourneyTouch, journey: &Journey, lead: &Lead, is_chosen: bool) -> String {
    let touch = &one.touch;
    let rule = match touch.kind {
        TouchKind::Utm => "a UTM parameter decides, before click ids and the referrer",
        TouchKind::ClickId => "no UTM parameter; a click id decides, before the referrer",
        TouchKind::Referrer => "neither UTM parameter nor click id; the referrer on another site decides",
        TouchKind::Direct => "no signal and no referrer on another site",
    };
    let is_counted = journey.counts_for(lead, one.visitor_id);
    if !is_counted && journey.browsers.get(&one.visitor_id).copied().flatten().is_some() {
        "ignored: that browser gave the e-mail only after the form".to_owned()
    } else if !is_counted {
        "ignored: no event is kept by which that browser gave the e-mail".to_owned()
    } else if touch.order() > (lead.occurred_at, lead.event_id) {
        "ignored: it came after the form".to_owned()
    } else if is_chosen {
        format!("chosen; {rule}")
    } else if touch.is_direct() {
        format!("direct: {rule}")
    } else {
        rule.to_owned()
    }
}
