//! What a CRM person is told: the table of our fields, and their values for one lead.

use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate};
use chrono_tz::Tz;

use super::{Dossier, SessionSpan, Wanted};
use crate::click_id;
use crate::crm::{FieldName, FieldValue, WritePolicy};
use crate::project::{CrmSettings, ProjectSettings, TouchChoice, UrlQuery};
use crate::touch::Touch;
use crate::web_url::with_parameters;

/// One of our fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldSpec {
    /// Its name.
    pub name: &'static str,
    /// The type of CRM field that suits it.
    pub kind: FieldKind,
    /// Another type that it has a value for.
    pub also: Option<FieldKind>,
    /// Whose it is.
    pub subject: Subject,
}

/// The type of CRM field that suits one of our fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldKind {
    /// A text that fits 255 characters.
    Text,
    /// A text that may be longer: addresses, lists.
    LongText,
    /// A number.
    Number,
    /// A calendar date, or a text that shows one.
    Date,
}

/// Whose a field is; decides its default write policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// The touch that the project chose ([`TouchChoice`]).
    ChosenTouch,
    /// The first touch.
    FirstTouch,
    /// The last touch.
    LastTouch,
    /// The lead, its visitor and what happened so far.
    Lead,
}

macro_rules! table {
    (touch: [$($touch:literal $touch_kind:ident),+ $(,)?], lead: [$($lead:literal $lead_kind:ident),+ $(,)?] $(,)?) => {
        /// The fields but for the click ids of the registry that are not columns.
        const FIELDS: &[FieldSpec] = &[
            $(FieldSpec { name: $touch, kind: FieldKind::$touch_kind, also: None, subject: Subject::ChosenTouch },)+
            $(FieldSpec { name: concat!("first_", $touch), kind: FieldKind::$touch_kind, also: None, subject: Subject::FirstTouch },)+
            $(FieldSpec { name: concat!("last_", $touch), kind: FieldKind::$touch_kind, also: None, subject: Subject::LastTouch },)+
            $(FieldSpec { name: $lead, kind: FieldKind::$lead_kind, also: also($lead), subject: Subject::Lead },)+
        ];
    };
}

table! {
    touch: [
        "utm_source" Text, "utm_medium" Text, "utm_campaign" Text, "utm_content" Text, "utm_term" Text, "utm_id" Text,
        "gclid" Text, "fbclid" Text, "msclkid" Text, "ttclid" Text, "twclid" Text, "li_fat_id" Text, "sc_click_id" Text,
        "campaign_region" Text, "ad_group" Text, "ad_id" Text, "search_query" Text,
        "channel" Text, "landing_page" LongText,
    ],
    lead: [
        "event_id" Text, "visitor_id" Text, "session_id" Text, "pixel_id" Text, "project_id" Text, "event_type" Text,
        "page_url" LongText, "page_title" Text, "referrer_url" LongText, "first_referrer_url" LongText,
        "last_referrer_url" LongText,
        "country" Text, "region" Text, "city" Text, "location" Text, "ip_address" Text,
        "user_agent" LongText, "screen_resolution" Text, "device_type" Text, "operating_system" Text, "browser" Text,
        "last_visited_on" Text, "first_seen_on" Date, "visited_pages" LongText, "session_duration" Text,
        "lead_count" Number, "visit_count" Number, "days_to_lead" Number,
    ],
}

/// The fields that are shown as a text and known as a number or date, too ([`Wanted::typed`]).
const fn also(name: &str) -> Option<FieldKind> {
    match name.as_bytes() {
        b"session_duration" => Some(FieldKind::Number),
        b"last_visited_on" | b"first_seen_on" => Some(FieldKind::Date),
        _ => None,
    }
}

/// Every field.
pub fn all() -> impl Iterator<Item = FieldSpec> {
    let others = click_id::REGISTRY.iter().filter(|kind| !click_id::COLUMNS.contains(&kind.parameter));
    FIELDS.iter().copied().chain(others.map(|kind| FieldSpec {
        name: kind.parameter,
        kind: FieldKind::Text,
        also: None,
        subject: Subject::ChosenTouch,
    }))
}

/// Whether a name is one of our fields.
pub fn is_field(name: &str) -> bool {
    all().any(|spec| spec.name == name)
}

/// When a field may be written.
pub fn policy(name: &FieldName, settings: &CrmSettings) -> WritePolicy {
    let mapped = settings.mapping.get(name).and_then(|target| target.policy);
    mapped.unwrap_or_else(|| default_policy(name, settings))
}

/// When a field may be written where the project says nothing: what belongs to a first touch once, the rest always.
pub fn default_policy(name: &FieldName, settings: &CrmSettings) -> WritePolicy {
    let subject = all().find(|spec| spec.name == name.as_str()).map_or(Subject::Lead, |spec| spec.subject);
    let first = match subject {
        Subject::FirstTouch => true,
        Subject::ChosenTouch => matches!(settings.touch, TouchChoice::First | TouchChoice::FirstNonDirect),
        Subject::LastTouch => false,
        Subject::Lead => matches!(name.as_str(), "first_referrer_url" | "first_seen_on"),
    };
    if first { WritePolicy::Once } else { WritePolicy::Always }
}

/// What the person shall be told, with what happened until now. Empty values are left out; name and e-mail are never
/// part of it.
pub fn wanted(dossier: &Dossier, settings: &ProjectSettings) -> Wanted {
    let mut build = Build { wanted: Wanted { lead_id: Some(dossier.lead.id), ..Wanted::default() } };
    let crm = &settings.crm;
    let four = &dossier.lead.touches;
    let chosen = match crm.touch {
        TouchChoice::First => &four.first,
        TouchChoice::FirstNonDirect => &four.first_non_direct,
        TouchChoice::Session => &dossier.lead.session_touch,
        TouchChoice::LastNonDirect => &four.last_non_direct,
    };
    build.touch("", chosen.as_deref());
    build.touch("first_", four.first.as_deref());
    build.touch("last_", four.last.as_deref());
    for (name, touch) in [("first_referrer_url", &four.first), ("last_referrer_url", &four.last)] {
        build.text(
            name,
            touch.as_ref().and_then(|t| t.referrer_url.as_deref()).map(|url| told_url(url, crm.url_query)),
        );
    }
    build.lead(dossier, crm);
    build.history(dossier, settings);
    build.wanted
}

struct Build {
    wanted: Wanted,
}

impl Build {
    fn put(&mut self, name: &str, value: FieldValue) {
        if let Ok(name) = name.parse::<FieldName>() {
            self.wanted.fields.insert(name, value);
        }
    }

    fn text(&mut self, name: &str, value: Option<impl Into<String>>) {
        if let Some(value) = value.map(Into::into).filter(|value| !value.trim().is_empty()) {
            self.put(name, FieldValue::Text(value));
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        #[expect(
            clippy::cast_precision_loss,
            clippy::as_conversions,
            reason = "counts and days stay far below 2^53"
        )]
        self.put(name, FieldValue::Number(value as f64));
    }

    /// The same value as a number or date, for a CRM field of that type.
    fn typed(&mut self, name: &str, value: FieldValue) {
        if let Ok(name) = name.parse::<FieldName>() {
            self.wanted.typed.insert(name, value);
        }
    }

    fn touch(&mut self, prefix: &str, touch: Option<&Touch>) {
        let Some(touch) = touch else { return };
        let utm = &touch.utm;
        let ad = &touch.ad;
        let parameters = [
            ("utm_source", &utm.source),
            ("utm_medium", &utm.medium),
            ("utm_campaign", &utm.campaign),
            ("utm_content", &utm.content),
            ("utm_term", &utm.term),
            ("utm_id", &utm.id),
            ("campaign_region", &ad.campaign_region),
            ("ad_group", &ad.ad_group),
            ("ad_id", &ad.ad_id),
            ("search_query", &ad.search_query),
        ];
        for (name, value) in parameters {
            self.text(&format!("{prefix}{name}"), value.as_deref());
        }
        for id in &touch.click_ids {
            self.text(&format!("{prefix}{}", id.parameter), Some(id.value.as_str()));
        }
        self.text(&format!("{prefix}channel"), touch.attribution().channel);
        self.text(&format!("{prefix}landing_page"), Some(touch.landing_page.as_str()));
    }

    fn lead(&mut self, dossier: &Dossier, crm: &CrmSettings) {
        let stored = &dossier.event;
        let event = &stored.event;
        let client = &event.client;
        let recognised = event.visitor.cookie().is_some();
        self.text("event_id", Some(event.id.to_string()));
        self.text("visitor_id", recognised.then(|| stored.visitor_id.to_string()));
        self.text("session_id", recognised.then(|| stored.session_id.to_string()));
        self.text("pixel_id", Some(event.pixel_id.as_str()));
        self.text("project_id", Some(event.project_id.to_string()));
        self.text("event_type", Some(event.kind.as_str()));
        self.text("page_url", Some(told_url(&event.page_url, crm.url_query)));
        self.text("page_title", event.page_title.as_deref());
        self.text("referrer_url", event.referrer_url.as_deref().map(|url| told_url(url, crm.url_query)));
        self.text("country", client.country.as_deref());
        self.text("region", client.region.as_deref());
        self.text("city", client.city.as_deref());
        let place: Vec<&str> = [&client.city, &client.region, &client.country]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        self.text("location", Some(place.join(", ")));
        self.text("ip_address", client.ip.map(|ip| ip.to_string()));
        self.text("user_agent", client.user_agent.as_deref());
        self.text("screen_resolution", event.screen.map(|size| size.to_string()));
        self.text("device_type", client.device_type.as_deref());
        self.text("operating_system", client.operating_system.as_deref());
        self.text("browser", client.browser.as_deref());
    }

    fn history(&mut self, dossier: &Dossier, settings: &ProjectSettings) {
        let zone = settings.time_zone;
        for (name, at) in
            [("last_visited_on", dossier.last_seen_at), ("first_seen_on", dossier.first_seen_at)]
        {
            let local = at.to_datetime().with_timezone(&zone);
            self.text(name, Some(shown_instant(&local)));
            self.typed(name, FieldValue::Date(date_of(&local)));
        }
        self.text("visited_pages", Some(visited_pages(&dossier.visited_pages, &settings.crm)));
        let SessionSpan { started_at, last_event_at } = dossier.session;
        let length = last_event_at.since(started_at);
        self.text("session_duration", Some(shown_duration(length)));
        self.typed(
            "session_duration",
            FieldValue::Number(Duration::from_secs(length.as_secs()).as_secs_f64()),
        );
        self.number("lead_count", dossier.lead_count);
        self.number("visit_count", dossier.visit_count);
        self.number("days_to_lead", dossier.lead.occurred_at.since(dossier.first_seen_at).as_secs() / 86_400);
    }
}

fn date_of(local: &DateTime<Tz>) -> NaiveDate {
    NaiveDate::from_ymd_opt(local.year(), local.month(), local.day()).unwrap_or_default()
}

/// As `January 27, 2025 at 2:30 PM`.
fn shown_instant(local: &DateTime<Tz>) -> String {
    local.format("%B %-d, %Y at %-I:%M %p").to_string()
}

/// As `45 seconds`, `15 minutes`, `1h 23m`.
fn shown_duration(length: Duration) -> String {
    let counted = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    match length.as_secs() {
        seconds @ 0..60 => counted(seconds, "second"),
        seconds @ 60..3_600 => counted(seconds / 60, "minute"),
        seconds => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// The pages joined by `, `, each once, newest first; cut to the CRM field's limit later, at a page's boundary.
fn visited_pages(pages: &[String], crm: &CrmSettings) -> String {
    let most = match usize::try_from(crm.visited_pages_max) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(most) => most,
    };
    let mut told: Vec<String> = Vec::new();
    for page in pages {
        let page = told_url(page, crm.url_query);
        if told.len() == most {
            break;
        }
        if !told.contains(&page) {
            told.push(page);
        }
    }
    told.join(PAGE_SEPARATOR)
}

/// What stands between two visited pages.
pub(super) const PAGE_SEPARATOR: &str = ", ";

/// An address as the CRM is told it: without fragment, its query reduced to UTM parameters and click ids unless the
/// project wants all of it.
fn told_url(url: &str, query: UrlQuery) -> String {
    with_parameters(url, |name| {
        let is_utm = name.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("utm_"));
        query == UrlQuery::Full || is_utm || click_id::lookup(name).is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn every_field_stands_once() {
        let names: std::collections::BTreeSet<_> = all().map(|spec| spec.name).collect();
        assert_eq!(names.len(), all().count());
        for brief in
            ["utm_source", "gclid", "first_utm_source", "last_gclid", "li_fat_id", "_kx", "visited_pages"]
        {
            assert!(is_field(brief), "{brief}");
        }
        for other in ["email", "name", "first_name", "phone", ""] {
            assert!(!is_field(other), "{other}");
        }
    }

    #[test]
    fn first_touch_fields_are_written_once() {
        let mut settings = CrmSettings::default();
        let policy = |name: &str, settings: &CrmSettings| default_policy(&name.parse().unwrap(), settings);
        assert_eq!(policy("first_utm_source", &settings), WritePolicy::Once);
        assert_eq!(policy("utm_source", &settings), WritePolicy::Once);
        assert_eq!(policy("last_utm_source", &settings), WritePolicy::Always);
        assert_eq!(policy("visited_pages", &settings), WritePolicy::Always);
        settings.touch = TouchChoice::LastNonDirect;
        assert_eq!(policy("utm_source", &settings), WritePolicy::Always);
    }

    #[test]
    fn durations_and_instants_read_as_people_write_them() {
        for (seconds, shown) in
            [(0, "0 seconds"), (1, "1 second"), (45, "45 seconds"), (900, "15 minutes"), (4_980, "1h 23m")]
        {
            assert_eq!(shown_duration(Duration::from_secs(seconds)), shown);
        }
        let at: Timestamp = "2025-01-27T19:30:00Z".parse().unwrap();
        let local = at.to_datetime().with_timezone(&Tz::America__New_York);
        assert_eq!(shown_instant(&local), "January 27, 2025 at 2:30 PM");
    }

    #[test]
    fn an_email_in_a_query_does_not_travel() {
        let url = "https://a.example/p?email=jane%40x.example&utm_source=s&ScCid=c&x#frag";
        assert_eq!(told_url(url, UrlQuery::AllowList), "https://a.example/p?utm_source=s&ScCid=c");
        assert_eq!(told_url("https://a.example/p?email=e", UrlQuery::AllowList), "https://a.example/p");
        assert!(told_url(url, UrlQuery::Full).contains("email="));
    }

    #[test]
    fn visited_pages_stand_once_up_to_the_projects_bound() {
        let pages: Vec<String> =
            ["/a?x=1", "/a?x=2", "/b", "/c"].map(|p| format!("https://a.example{p}")).into();
        let mut crm = CrmSettings { visited_pages_max: 2, ..CrmSettings::default() };
        assert_eq!(visited_pages(&pages, &crm), "https://a.example/a, https://a.example/b");
        crm.visited_pages_max = 0;
        assert!(visited_pages(&pages, &crm).ends_with("/c"));
    }
}
