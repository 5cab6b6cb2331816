use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::arrival::{Arrival, Neighbourhood, Referrer};
use super::form::form_of;
use super::{
    Client, Consent, Event, EventKind, Form, Prop, RawEvent, RawForm, RawSize, Scalar, Size, VisitorName,
};
use crate::click_id;
use crate::conversion::{Converted, conversions_of};
use crate::cookie;
use crate::id::{EventId, VisitorCookie};
use crate::project::{BotMode, ConsentMode, GpcMode, IpMode, PixelContext, ProjectSettings};
use crate::signals::Signals;
use crate::text::{self, PARAMETER_CHARS_MAX, TITLE_CHARS_MAX, URL_CHARS_MAX, USER_AGENT_CHARS_MAX};
use crate::time::Timestamp;
use crate::web_url::{self, Query, WebUrl};

/// What stands before the name of a parameter that the replaced tool remembers from an earlier visit, among an event's
/// properties.
pub const HISTORY_PREFIX: &str = "history.";
/// How far behind `received_at` a client's clock is believed.
pub const CLIENT_CLOCK_BEHIND_MAX: Duration = Duration::from_hours(72);
/// How far ahead of `received_at` a client's clock is believed.
pub const CLIENT_CLOCK_AHEAD_MAX: Duration = Duration::from_mins(5);

const PROPS_MAX: usize = 30;
const PROPS_BYTES_MAX: usize = 2_048;
const PROP_NAME_CHARS_MAX: usize = 64;
const ORIGINAL_ID_CHARS_MAX: usize = 200;
const LANGUAGE_CHARS_MAX: usize = 35;
const KIND_CHARS_MAX: usize = 64;

/// What is known of a message beside its body.
#[derive(Clone, Debug)]
pub struct ParseContext<'a> {
    /// The pixel it was sent to, which is active.
    pub pixel: &'a PixelContext,
    /// When it arrived.
    pub received_at: Timestamp,
    /// The id it gets where it has none.
    pub fallback_id: EventId,
    /// The visitor's cookie as the request's headers have it.
    pub header_cookie: Option<VisitorCookie>,
    /// The cookie the visitor gets where it has none.
    pub fallback_cookie: VisitorCookie,
    /// What the request's headers told about the client, with the whole address.
    pub client: Client,
    /// Whether the browser says Global Privacy Control.
    pub gpc: bool,
    /// The request's `Referer` header.
    pub referer: Option<&'a str>,
}

/// An event, how its visitor arrived, and as what it counts.
#[derive(Clone, PartialEq, Debug)]
pub struct Collected {
    /// The event.
    pub event: Event,
    /// How its visitor arrived at the page.
    pub arrival: Arrival,
    /// As what it counts, by name.
    pub conversions: Vec<Converted>,
    /// Why the project does not want it kept; it is then counted and dropped.
    pub unwanted: Option<Unwanted>,
}

/// Why a project does not want an event kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unwanted {
    /// A bot sent it, for this reason.
    Bot(String),
    /// The browser says Global Privacy Control, and the project honours it.
    Gpc,
}

/// Why a message is no event: every problem that was found.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a valid event")]
pub struct Rejected {
    /// The problems.
    pub problems: Vec<FieldProblem>,
}

/// One field's problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldProblem {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it, safe to show.
    pub problem: String,
}

impl Event {
    /// Makes an event of a raw message: the one door for input.
    ///
    /// A strange value never costs an event: it is cut, cleaned or left out. Under Global Privacy Control, or without
    /// the consent a project requires, the event loses what would recognise its visitor (cookie, click ids, address).
    ///
    /// # Errors
    /// There is no `page_url`, or it is not an http or https URL with a host.
    pub fn parse(raw: &RawEvent<'_>, context: &ParseContext<'_>) -> Result<Collected, Rejected> {
        let settings = &context.pixel.project.settings;
        let (page, page_query) = parse_page(raw)?;
        let referrer = raw.text("referrer_url").and_then(Referrer::new);

        let mut signals = signals_of(raw, &page, &page_query, referrer.as_ref(), context.referer);
        let consent = match raw.text("consent") {
            Some("granted") => Some(Consent::Granted),
            Some("denied") => Some(Consent::Denied),
            _ => None,
        };
        let by_gpc = (context.gpc || raw.scalar("gpc").is_yes()) && settings.gpc != GpcMode::Ignore;
        let unlinked = by_gpc
            || consent == Some(Consent::Denied)
            || (settings.consent == ConsentMode::Required && consent != Some(Consent::Granted));
        if unlinked {
            signals.click_ids.clear();
        }
        let arrival = Neighbourhood::from(context.pixel).arrival(
            &signals,
            page.host(),
            referrer.as_ref().and_then(|referrer| referrer.host.as_deref()),
        );
        let mut page_url = without_visitor(String::from(page));
        let mut referrer_url = referrer.map(|referrer| without_visitor(referrer.kept));
        if unlinked {
            page_url = without_click_ids(&page_url);
            referrer_url = referrer_url.map(|url| without_click_ids(&url));
        }
        let form = raw.form.as_ref().map(|form| form_of(form, context.pixel)).filter(|form| !form.is_empty());
        let kind = kind_of(raw, form.as_ref());
        let unwanted = match &context.client.bot {
            Some(reason) if settings.bots == BotMode::Drop => Some(Unwanted::Bot(reason.clone())),
            _ if by_gpc && settings.gpc == GpcMode::Honour && kind != EventKind::FormSubmit => {
                Some(Unwanted::Gpc)
            }
            _ => None,
        };
        let (id, original_id) = id_of(raw, context);
        // What an earlier visit said would link the two.
        let history = if unlinked { Vec::new() } else { history_of(raw, &signals) };
        let props = props_of(raw.props.iter().flatten().chain(&history));
        let event = Event {
            id,
            original_id,
            project_id: context.pixel.project.id,
            pixel_id: context.pixel.pixel.id.clone(),
            kind,
            occurred_at: occurred_at(raw, context.received_at),
            received_at: context.received_at,
            visitor: if unlinked {
                VisitorName::Unlinked
            } else {
                VisitorName::Cookie(cookie_of(raw, context))
            },
            page_url,
            page_title: raw.text("page_title").and_then(|title| text::clean(title, TITLE_CHARS_MAX)),
            referrer_url,
            signals,
            form,
            viewport: raw.viewport.and_then(size_of),
            screen: raw.screen.and_then(size_of),
            language: raw.text("language").and_then(|tag| text::clean(tag, LANGUAGE_CHARS_MAX)),
            value: raw.scalar("value").to_number().or_else(|| match props.get("value") {
                Some(Prop::Number(value)) => Some(*value),
                Some(Prop::Bool(_) | Prop::Text(_)) | None => None,
            }),
            props,
            consent,
            client: client_of(&context.client, settings, unlinked),
        };
        let conversions = conversions_of(&event, &settings.conversions);
        Ok(Collected { event, arrival, conversions, unwanted })
    }
}

impl Collected {
    /// A stored event as the rules of this version read it: signals that its addresses have and that nobody knew when it
    /// was stored are added, none is replaced, and how its visitor arrived and as what it counts is judged anew.
    ///
    /// What only the request's headers told is not stored and stays as it was read then.
    pub fn reread(mut event: Event, pixel: &PixelContext) -> Self {
        let referrer = event.referrer_url.as_deref().and_then(Referrer::new);
        let Ok((page, query)) = WebUrl::parse(&event.page_url) else {
            return Self { event, arrival: Arrival::Direct, conversions: Vec::new(), unwanted: None };
        };
        // The end of an address that was cut may be half a name.
        let is_whole = |url: &str| url.chars().count() < URL_CHARS_MAX;
        if is_whole(&event.page_url) {
            event.signals.offer_query(&query);
        }
        if let Some(referrer) = referrer.as_ref().filter(|referrer| is_whole(&referrer.kept)) {
            event.signals.offer_query(&referrer.query);
        }
        if event.visitor == VisitorName::Unlinked {
            // Click ids that nobody knew as such when the event was stored are still in its addresses.
            event.signals.click_ids.clear();
        }
        let referrer_host = referrer.as_ref().and_then(|referrer| referrer.host.as_deref());
        let arrival = Neighbourhood::from(pixel).arrival(&event.signals, page.host(), referrer_host);
        let conversions = conversions_of(&event, &pixel.project.settings.conversions);
        Self { event, arrival, conversions, unwanted: None }
    }
}

/// The address without the visitor that another site of the same owner handed over in it: what is stored of an event
/// names a visitor in one place only, where it may be missing.
fn without_visitor(url: String) -> String {
    if !url.contains("_visitor=") {
        return url;
    }
    web_url::with_parameters(&url, |name| !cookie::NAMES.contains(&name))
}

/// The address without the parameters that would recognise who clicked.
fn without_click_ids(url: &str) -> String {
    web_url::with_parameters(url, |name| click_id::lookup(name).is_none())
}

fn parse_page(raw: &RawEvent<'_>) -> Result<(WebUrl, Query), Rejected> {
    let problem = match raw.text("page_url") {
        None | Some("") => "is required".to_owned(),
        Some(url) => match WebUrl::parse(url) {
            Ok(parsed) => return Ok(parsed),
            Err(error) => format!("is {error}"),
        },
    };
    Err(Rejected { problems: vec![FieldProblem { field: "page_url", problem }] })
}

/// Gathers the signals in the order of their sources; what is present is never replaced.
fn signals_of(
    raw: &RawEvent<'_>,
    page: &WebUrl,
    page_query: &Query,
    referrer: Option<&Referrer>,
    referer_header: Option<&str>,
) -> Signals {
    let mut signals = Signals::default();
    // The replaced tool's copies of the parameters are lossy and mixed with those of the first visit, so that only the
    // page's own address speaks for this visit.
    if !is_of_replaced_tool(raw) {
        for (name, value) in &raw.parameters {
            if let Some(value) = value.to_text() {
                signals.offer(name, &value);
            }
        }
    }
    signals.offer_query(page_query);
    let page_is_silent = signals.is_silent();
    if let Some(referrer) = referrer {
        signals.offer_query(&referrer.query);
    }
    if page_is_silent
        && let Some(Ok((header, query))) = referer_header.map(WebUrl::parse)
        && header.host() == page.host()
    {
        signals.offer_query(&query);
    }
    signals
}

/// Whether the script of the tool that this replaces sent it: no other says `attribution_source`.
fn is_of_replaced_tool(raw: &RawEvent<'_>) -> bool {
    raw.scalar("attribution_source") != &Scalar::Absent
}

/// What only the body of a message of the replaced tool says: that was an earlier visit's, kept as a note beside the
/// event, where no touch is made of it.
fn history_of<'a>(raw: &'a RawEvent<'_>, signals: &Signals) -> Vec<(Cow<'a, str>, Scalar<'a>)> {
    if !is_of_replaced_tool(raw) {
        return Vec::new();
    }
    let said_by_body_alone = raw.parameters.iter().filter_map(|(name, value)| {
        let value = value.to_text()?;
        let mut with = signals.clone();
        with.offer(name, &value);
        (with != *signals).then(|| (Cow::Owned(format!("{HISTORY_PREFIX}{name}")), Scalar::Text(value)))
    });
    said_by_body_alone.collect()
}

fn id_of(raw: &RawEvent<'_>, context: &ParseContext<'_>) -> (EventId, Option<String>) {
    let sent = raw.scalar("event_id").to_text().filter(|id| !id.trim().is_empty());
    match sent {
        None => (id_of_content(raw, context.received_at).unwrap_or(context.fallback_id), None),
        Some(sent) => {
            let id = EventId::of_text(sent.trim());
            let same = id.to_string().eq_ignore_ascii_case(sent.trim());
            (id, if same { None } else { text::clean(&sent, ORIGINAL_ID_CHARS_MAX) })
        }
    }
}

/// The id of a message of the replaced tool, which sends none: the same visitor's same message of the same millisecond is
/// the same event, however often a browser or a proxy sends it again. `None` where visitor or time is not said.
fn id_of_content(raw: &RawEvent<'_>, received_at: Timestamp) -> Option<EventId> {
    let occurred_at = sent_timestamp(raw).filter(|at| *at == believed(*at, received_at))?;
    let visitor = raw.visitor_cookie().filter(|_| is_of_replaced_tool(raw))?;
    let mut parts = vec![visitor.to_owned()];
    for field in ["event_type", "page_url", "referrer_url"] {
        parts.push(raw.text(field).unwrap_or_default().to_owned());
    }
    match &raw.form {
        Some(RawForm::Fields(fields)) => {
            for (name, value) in fields {
                parts.push(name.clone().into_owned());
                parts.push(value.to_text().unwrap_or_default().into_owned());
            }
        }
        Some(RawForm::Text(text)) => parts.push(text.clone().into_owned()),
        Some(RawForm::Other) | None => {}
    }
    let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
    Some(EventId::of_content(occurred_at, &parts))
}

fn cookie_of(raw: &RawEvent<'_>, context: &ParseContext<'_>) -> VisitorCookie {
    raw.visitor_cookie()
        .and_then(|cookie| cookie.parse().ok())
        .or_else(|| context.header_cookie.clone())
        .unwrap_or_else(|| context.fallback_cookie.clone())
}

/// A form with a usable e-mail is a submission whatever the type says, unless it identifies.
fn kind_of(raw: &RawEvent<'_>, form: Option<&Form>) -> EventKind {
    let named =
        raw.text("event_type").filter(|name| !name.trim().is_empty()).map_or(EventKind::Pageview, |name| {
            EventKind::parse(name).unwrap_or_else(|| EventKind::Custom(usable_name(name)))
        });
    let submits = form.is_some_and(|form| form.email.is_some()) && named != EventKind::Identify;
    if submits { EventKind::FormSubmit } else { named }
}

/// The nearest name to one that is not allowed.
fn usable_name(name: &str) -> String {
    let keep = |c: char| if c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ') { c } else { '_' };
    name.trim().chars().map(keep).take(KIND_CHARS_MAX).collect()
}

fn occurred_at(raw: &RawEvent<'_>, received_at: Timestamp) -> Timestamp {
    sent_timestamp(raw).map_or(received_at, |at| believed(at, received_at))
}

/// The time that a client's clock shows, as far as it is believed.
fn believed(at: Timestamp, received_at: Timestamp) -> Timestamp {
    at.clamp(received_at.minus(CLIENT_CLOCK_BEHIND_MAX), received_at.plus(CLIENT_CLOCK_AHEAD_MAX))
}

fn sent_timestamp(raw: &RawEvent<'_>) -> Option<Timestamp> {
    match raw.scalar("timestamp") {
        Scalar::Text(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse::<i64>().ok().map(Timestamp::from_millis))
        }
        Scalar::Integer(millis) => i64::try_from(*millis).ok().map(Timestamp::from_millis),
        Scalar::Number(millis) => whole(*millis).map(Timestamp::from_millis),
        Scalar::Absent | Scalar::Bool(_) => None,
    }
}

/// The whole part of a number, where an `i64` holds it with certainty.
fn whole(number: f64) -> Option<i64> {
    const LIMIT: f64 = 9_007_199_254_740_992.0; // 2^53: beyond it doubles skip whole numbers.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::as_conversions,
        reason = "the range is checked on this line"
    )]
    (number.is_finite() && number.abs() <= LIMIT).then_some(number as i64)
}

fn size_of(raw: RawSize) -> Option<Size> {
    let side = |value: f64| {
        let pixels = whole(value.round()).and_then(|pixels| u32::try_from(pixels).ok());
        pixels.filter(|pixels| (1..=100_000).contains(pixels))
    };
    Some(Size { width: side(raw.width?)?, height: side(raw.height?)? })
}

fn props_of<'a>(raw: impl Iterator<Item = &'a (Cow<'a, str>, Scalar<'a>)>) -> BTreeMap<String, Prop> {
    let mut props = BTreeMap::new();
    let mut bytes = 0;
    for (name, value) in raw {
        let Some(name) = text::clean(name, PROP_NAME_CHARS_MAX) else { continue };
        let value = match value {
            Scalar::Absent => continue,
            Scalar::Bool(value) => Prop::Bool(*value),
            Scalar::Integer(_) | Scalar::Number(_) => match value.to_number() {
                Some(number) => Prop::Number(number),
                None => continue,
            },
            Scalar::Text(value) => match text::clean(value, PARAMETER_CHARS_MAX) {
                Some(value) => Prop::Text(value),
                None => continue,
            },
        };
        let size = name.len()
            + match &value {
                Prop::Bool(_) | Prop::Number(_) => 8,
                Prop::Text(value) => value.len(),
            };
        if props.len() == PROPS_MAX || bytes + size > PROPS_BYTES_MAX {
            break;
        }
        bytes += size;
        props.insert(name, value);
    }
    props
}

fn client_of(client: &Client, settings: &ProjectSettings, unlinked: bool) -> Client {
    let ip = match settings.ip {
        _ if unlinked => None,
        IpMode::Full => client.ip,
        IpMode::Masked => client.ip.map(masked),
        IpMode::None => None,
    };
    Client {
        ip,
        user_agent: client.user_agent.as_deref().and_then(|agent| text::clean(agent, USER_AGENT_CHARS_MAX)),
        ..client.clone()
    }
}

fn masked(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;
    use crate::project::{Pixel, PixelSettings, Project};
    use crate::touch::TouchKind;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn pixel() -> PixelContext {
        let created_at = at("2026-01-01T00:00:00Z");
        let project = Project {
            id: ProjectId::new(created_at, [1; 16]),
            slug: "acme".parse().unwrap(),
            name: "Acme".into(),
            settings: ProjectSettings::default(),
            created_at,
            archived_at: None,
        };
        let pixel = Pixel {
            id: "px".parse().unwrap(),
            project_id: project.id,
            name: "Site".into(),
            settings: PixelSettings::default(),
            created_at,
            archived_at: None,
        };
        PixelContext { pixel, project }
    }

    fn context(pixel: &PixelContext) -> ParseContext<'_> {
        ParseContext {
            pixel,
            received_at: at("2026-11-23T12:00:00Z"),
            fallback_id: EventId::of_text("fallback"),
            header_cookie: None,
            fallback_cookie: "fallback-cookie".parse().unwrap(),
            client: Client { ip: "203.0.113.77".parse().ok(), ..Client::default() },
            gpc: false,
            referer: None,
        }
    }

    fn parse_in(pixel: &PixelContext, json: &str) -> Collected {
        Event::parse(&serde_json::from_str(json).unwrap(), &context(pixel)).unwrap()
    }

    fn parse(json: &str) -> Collected {
        parse_in(&pixel(), json)
    }

    fn parse_page_view(more: &str) -> Collected {
        parse(&format!(r#"{{"page_url":"https://acme.example/p?a=1"{more}}}"#))
    }

    #[test]
    fn an_event_needs_a_page_and_nothing_else() {
        let pixel = pixel();
        for (json, problem) in [
            ("{}", "is required"),
            (r#"{"page_url":7}"#, "is required"),
            (r#"{"page_url":"javascript:alert(1)"}"#, "is not an http or https URL with a host"),
        ] {
            let error = Event::parse(&serde_json::from_str(json).unwrap(), &context(&pixel)).unwrap_err();
            assert_eq!(error.problems, [FieldProblem { field: "page_url", problem: problem.to_owned() }]);
        }
        let event = parse_page_view("").event;
        assert_eq!(event.kind, EventKind::Pageview);
        assert_eq!(event.id, EventId::of_text("fallback"));
        assert_eq!(event.occurred_at, event.received_at);
    }

    #[test]
    fn a_strange_value_never_costs_an_event() {
        let event = parse_page_view(
            r#","timestamp":{},"viewport":[],"screen":{"width":-1,"height":1e99},"value":"NaN","props":7,"event_type":"<b>","visitor_cookie":"é","consent":1,"utm_content":"data:x\u0000","event_id":[],"form_data":"{not json"#
                .replace("{not json", "{not json\"")
                .as_str(),
        )
        .event;
        assert_eq!(event.occurred_at, event.received_at);
        assert_eq!((event.viewport, event.screen, event.value), (None, None, None));
        assert_eq!(event.kind, EventKind::Custom("_b_".into()));
        assert_eq!(event.visitor, VisitorName::Cookie("fallback-cookie".parse().unwrap()));
        assert_eq!(event.signals.utm.content.as_deref(), Some("data:x"));
        assert_eq!(event.form, None);
    }

    #[test]
    fn a_clients_clock_is_believed_within_72_hours_back_and_5_minutes_ahead() {
        for (timestamp, occurred) in [
            (r#""2026-11-23T13:58:00+02:00""#, "2026-11-23T11:58:00Z"),
            (r#""2026-11-01T00:00:00Z""#, "2026-11-20T12:00:00Z"),
            (r#""2030-01-01T00:00:00Z""#, "2026-11-23T12:05:00Z"),
            ("1795435140000", "2026-11-23T11:59:00Z"),
            ("1e300", "2026-11-23T12:00:00Z"),
        ] {
            let event = parse_page_view(&format!(r#","timestamp":{timestamp}"#)).event;
            assert_eq!(event.occurred_at, at(occurred), "{timestamp}");
        }
    }

    #[test]
    fn body_beats_page_beats_referrer_and_empty_beats_nothing() {
        let event = parse(
            r#"{"page_url":"https://a.example/?utm_source=page&utm_medium=page","referrer_url":"https://a.example/?utm_source=ref&utm_medium=ref&utm_term=ref","utm_source":"body","utm_medium":"","utm_term":null}"#,
        )
        .event;
        let utm = event.signals.utm;
        assert_eq!(
            (utm.source.as_deref(), utm.medium.as_deref(), utm.term.as_deref()),
            (Some("body"), Some("page"), Some("ref"))
        );
    }

    #[test]
    fn the_replaced_tools_copies_of_parameters_do_not_speak_for_the_visit() {
        let event = parse(
            r#"{"page_url":"https://a.example/?utm_source=page","utm_source":"old","gclid":"old","attribution_source":"first_visit"}"#,
        )
        .event;
        assert_eq!(event.signals.utm.source.as_deref(), Some("page"));
        assert_eq!(event.signals.click_ids, []);
    }

    /// What the script of the tool that is replaced sends: every key, null where nothing is known, and no event id.
    fn of_replaced_tool(more: &str) -> String {
        format!(
            r#"{{"pixel_id":"px","visitor_cookie":"pxl_0123456789abcdef","page_url":"https://a.example/p?utm_source=page&gclid=a%3Db%2Bc","referrer_url":null,"page_title":"P","timestamp":"2026-11-23T11:59:58.123Z","event_type":"pageview","form_data":null,"viewport":{{}},"screen":{{}},"utm_source":"page","utm_medium":null,"utm_campaign":"last year's","utm_content":null,"utm_term":null,"gclid":"a","fbclid":"old.fb","msclkid":null,"ttclid":null,"twclid":null,"li_fat_id":null,"sc_click_id":null,"attribution_source":"current"{more}}}"#
        )
    }

    #[test]
    fn what_only_the_replaced_tool_remembers_is_history_and_no_signal() {
        for source in ["current", "first_visit"] {
            let json = of_replaced_tool("").replace("\"current\"", &format!("\"{source}\""));
            let event = parse(&json).event;
            assert_eq!(event.signals.utm.source.as_deref(), Some("page"), "{source}");
            assert_eq!(event.signals.utm.campaign, None);
            assert_eq!(event.signals.click_id("gclid"), Some("a=b+c"), "not the copy cut at the second `=`");
            assert_eq!(event.signals.click_ids.len(), 1);
            let text = |value: &str| Prop::Text(value.to_owned());
            let history: Vec<_> = event.props.into_iter().collect();
            assert_eq!(
                history,
                [
                    ("history.fbclid".to_owned(), text("old.fb")),
                    ("history.utm_campaign".to_owned(), text("last year's")),
                ]
            );
        }
    }

    #[test]
    fn history_is_not_kept_of_who_does_not_wish_to_be_recognised() {
        let event = parse(&of_replaced_tool(r#","gpc":true"#)).event;
        assert_eq!((event.visitor, event.props.len()), (VisitorName::Unlinked, 0));
    }

    #[test]
    fn the_replaced_tools_message_sent_again_is_the_same_event() {
        let first = parse(&of_replaced_tool("")).event;
        assert_eq!(first.id.partition_at(), first.occurred_at);
        assert_eq!((first.id, first.original_id), (parse(&of_replaced_tool("")).event.id, None));
        let form = |email: &str| {
            let form = format!(r#""form_submit","form_data":{{"email":"{email}"}}"#);
            of_replaced_tool("").replace(r#""pageview","form_data":null"#, &form)
        };
        let others = [
            of_replaced_tool("").replace("58.123Z", "58.124Z"),
            of_replaced_tool("").replace("0123456789abcdef", "0123456789abcde0"),
            of_replaced_tool("").replace("/p?", "/q?"),
            form("a@x.example"),
            form("b@x.example"),
        ];
        let mut ids: Vec<EventId> = others.iter().map(|json| parse(json).event.id).collect();
        ids.push(first.id);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 6, "whatever differs makes another event");
        for unsaid in [
            of_replaced_tool("").replace(r#""pxl_0123456789abcdef""#, "null"),
            of_replaced_tool("").replace(r#""2026-11-23T11:59:58.123Z""#, "null"),
            of_replaced_tool("").replace("2026-11-23T11", "2019-11-23T11"),
            of_replaced_tool("").replace(r#""attribution_source":"current""#, r#""attribution_source":null"#),
        ] {
            assert_eq!(parse(&unsaid).event.id, EventId::of_text("fallback"), "{unsaid}");
        }
    }

    #[test]
    fn what_decides_an_arrival_is_utm_then_click_id_then_another_sites_referrer() {
        let of = |query: &str, referrer: &str| {
            parse(&format!(
                r#"{{"page_url":"https://www.acme.example/{query}","referrer_url":"{referrer}"}}"#
            ))
            .arrival
        };
        let external =
            |kind, host: Option<&str>| Arrival::External { kind, referrer_host: host.map(str::to_owned) };
        assert_eq!(
            of("?utm_source=x&gclid=y", "https://t.example/"),
            external(TouchKind::Utm, Some("t.example"))
        );
        assert_eq!(of("?gclid=y", ""), external(TouchKind::ClickId, None));
        assert_eq!(of("?gclsrc=aw.ds", ""), Arrival::Direct);
        assert_eq!(of("", "https://www.google.com/"), external(TouchKind::Referrer, Some("www.google.com")));
        assert_eq!(
            of("", "android-app://com.google.android.gm/"),
            external(TouchKind::Referrer, Some("com.google.android.gm"))
        );
        assert_eq!(of("", "https://shop.acme.example/cart"), Arrival::Internal);
        assert_eq!(of("", "https://checkout.stripe.com/c/pay"), Arrival::Internal);
        assert_eq!(of("", "https://notstripe.com/"), external(TouchKind::Referrer, Some("notstripe.com")));
        assert_eq!(of("", "nonsense"), Arrival::Direct);
    }

    #[test]
    fn a_visitor_that_was_handed_over_is_no_part_of_the_addresses() {
        let event = parse_page_view(r#","referrer_url":"https://b.example/?ppp_visitor=pxl_1&b=2""#).event;
        assert_eq!(event.referrer_url.as_deref(), Some("https://b.example/?b=2"));
        let body = r#"{"page_url":"https://www.acme.example/a?lt_visitor=0123456789&utm_source=x"}"#;
        let event = parse_in(&pixel(), body).event;
        assert_eq!(event.page_url, "https://www.acme.example/a?utm_source=x");
    }

    #[test]
    fn a_click_id_that_nobody_knew_is_not_given_to_who_is_not_recognised() {
        let url = "https://www.acme.example/?mkt_tok=t&utm_source=x";
        let mut event = parse_page_view("").event;
        (event.page_url, event.visitor) = (url.to_owned(), VisitorName::Unlinked);
        let reread = Collected::reread(event.clone(), &pixel()).event;
        assert_eq!((reread.signals.click_ids.len(), reread.signals.utm.source.as_deref()), (0, Some("x")));
        event.visitor = VisitorName::Cookie("cookie-a".parse().unwrap());
        assert_eq!(Collected::reread(event, &pixel()).event.signals.click_ids.len(), 1);
    }

    #[test]
    fn the_value_is_that_of_the_event_and_otherwise_that_of_the_property() {
        let value = |body: &str| parse_page_view(body).event.value;
        assert_eq!(value(r#","value":2,"props":{"value":3}"#), Some(2.0));
        assert_eq!(value(r#","value":null,"props":{"value":3.5}"#), Some(3.5));
        assert_eq!(value(r#","props":{"value":"much"}"#), None);
    }

    #[test]
    fn a_form_with_an_email_is_a_submission_whatever_its_type() {
        for kind in ["pageview", "form_submission", "newsletter"] {
            let event = parse_page_view(&format!(
                r#","event_type":"{kind}","form_data":{{"E-Mail":" Jane@X.example "}}"#
            ))
            .event;
            assert_eq!(event.kind, EventKind::FormSubmit, "{kind}");
            assert_eq!(event.form.unwrap().email.unwrap().as_str(), "jane@x.example");
        }
        let identify =
            parse_page_view(r#","event_type":"identify","form_data":{"email":"jane@x.example"}"#).event;
        assert_eq!(identify.kind, EventKind::Identify);
        let without = parse_page_view(r#","event_type":"form_submit","form_data":{"email":"none"}"#).event;
        assert_eq!((without.kind, without.form), (EventKind::FormSubmit, None));
    }

    #[test]
    fn only_allowed_fields_of_a_form_are_kept() {
        let mut pixel = pixel();
        pixel.pixel.settings.form_fields = vec!["company".into(), "card".into(), "password".into()];
        let event = parse_in(
            &pixel,
            r#"{"page_url":"https://a.example/","form_data":"{\"email\":\"a@x.example\",\"name\":\"Jane van Doe\",\"company\":\"Acme\",\"phone\":\"1\",\"card\":\"4111 1111 1111 1111\",\"password\":\"x\",\"contact_mail\":\"b@x.example\"}"}"#,
        )
        .event;
        let form = event.form.unwrap();
        assert_eq!((form.first_name.as_deref(), form.last_name.as_deref()), (Some("Jane"), Some("van Doe")));
        assert_eq!(form.extra.into_iter().collect::<Vec<_>>(), [("company".to_owned(), "Acme".to_owned())]);
    }

    #[test]
    fn without_the_wish_to_be_recognised_cookie_click_ids_and_address_are_not_kept() {
        let pixel = pixel();
        let raw = serde_json::from_str(
            r#"{"page_url":"https://a.example/?utm_source=x&gclid=y","visitor_cookie":"cookie-12345"}"#,
        )
        .unwrap();
        let event = Event::parse(&raw, &ParseContext { gpc: true, ..context(&pixel) }).unwrap().event;
        assert_eq!(event.visitor, VisitorName::Unlinked);
        assert_eq!((event.signals.click_ids.len(), event.client.ip), (0, None));
        assert_eq!(event.signals.utm.source.as_deref(), Some("x"));
        assert_eq!(event.page_url, "https://a.example/?utm_source=x");

        let mut strict = pixel;
        strict.project.settings.consent = ConsentMode::Required;
        let asked = |consent: &str| {
            let json =
                format!(r#"{{"page_url":"https://a.example/","visitor_cookie":"cookie-12345"{consent}}}"#);
            parse_in(&strict, &json).event.visitor
        };
        assert_eq!(asked(""), VisitorName::Unlinked);
        assert_eq!(asked(r#","consent":"denied""#), VisitorName::Unlinked);
        assert_eq!(asked(r#","consent":"granted""#), VisitorName::Cookie("cookie-12345".parse().unwrap()));
    }

    #[test]
    fn global_privacy_control_may_be_said_by_the_body_and_a_project_may_ignore_it() {
        let mut pixel = pixel();
        let visitor = |pixel: &PixelContext, gpc: &str| {
            let json = format!(
                r#"{{"page_url":"https://a.example/","visitor_cookie":"cookie-12345","consent":"granted","gpc":{gpc}}}"#
            );
            parse_in(pixel, &json).event.visitor
        };
        let known = VisitorName::Cookie("cookie-12345".parse().unwrap());
        for (said, wanted) in [
            ("true", VisitorName::Unlinked),
            ("1", VisitorName::Unlinked),
            (r#""1""#, VisitorName::Unlinked),
            ("false", known.clone()),
            ("null", known.clone()),
            ("[]", known.clone()),
        ] {
            assert_eq!(visitor(&pixel, said), wanted, "{said}");
        }
        pixel.project.settings.gpc = GpcMode::Ignore;
        assert_eq!(visitor(&pixel, "true"), known);
    }

    #[test]
    fn a_project_that_honours_gpc_wants_no_page_views_but_forms() {
        let mut pixel = pixel();
        pixel.project.settings.gpc = GpcMode::Honour;
        let parse = |json: &str| {
            Event::parse(&serde_json::from_str(json).unwrap(), &ParseContext { gpc: true, ..context(&pixel) })
                .unwrap()
        };
        assert_eq!(parse(r#"{"page_url":"https://a.example/"}"#).unwanted, Some(Unwanted::Gpc));
        assert_eq!(
            parse(r#"{"page_url":"https://a.example/","form_data":{"email":"a@x.example"}}"#).unwanted,
            None
        );
    }

    #[test]
    fn another_id_than_a_uuid_v7_is_kept_beside_the_one_made_of_it() {
        let event = parse_page_view(r#","event_id":"order-17""#).event;
        assert_eq!(
            (event.id, event.original_id.as_deref()),
            (EventId::of_text("order-17"), Some("order-17"))
        );
        let own = parse_page_view(r#","event_id":"019AB0E4-7C00-7abc-8def-0123456789ab""#).event;
        assert_eq!(own.original_id, None);
    }

    #[test]
    fn an_address_is_kept_as_the_project_says() {
        let mut pixel = pixel();
        for (mode, kept) in [
            (IpMode::Full, Some("203.0.113.77")),
            (IpMode::Masked, Some("203.0.113.0")),
            (IpMode::None, None),
        ] {
            pixel.project.settings.ip = mode;
            let event = parse_in(&pixel, r#"{"page_url":"https://a.example/"}"#).event;
            assert_eq!(event.client.ip, kept.and_then(|ip| ip.parse().ok()), "{mode:?}");
        }
        assert_eq!(masked("2001:db8:1:2:3::4".parse().unwrap()).to_string(), "2001:db8:1::");
    }

    #[test]
    fn properties_are_kept_up_to_their_bounds() {
        let many = (0..50).map(|n| format!(r#""k{n}":{n}"#)).collect::<Vec<_>>().join(",");
        assert_eq!(parse_page_view(&format!(r#","props":{{{many}}}"#)).event.props.len(), PROPS_MAX);
        let long = (0..9).map(|n| format!(r#""k{n}":"{}""#, "x".repeat(400))).collect::<Vec<_>>().join(",");
        assert_eq!(parse_page_view(&format!(r#","props":{{{long}}}"#)).event.props.len(), 5);
    }

    #[test]
    fn a_gif_without_own_signals_takes_those_of_the_page_that_shows_it() {
        let pixel = pixel();
        let raw = serde_json::from_str(r#"{"page_url":"https://a.example/p"}"#).unwrap();
        let with = |referer| {
            Event::parse(&raw, &ParseContext { referer: Some(referer), ..context(&pixel) }).unwrap()
        };
        assert_eq!(with("https://a.example/p?gclid=x").event.signals.click_id("gclid"), Some("x"));
        assert!(with("https://b.example/p?gclid=x").event.signals.is_silent());
    }
}
