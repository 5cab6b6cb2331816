//! What is measured: one event as an ad's landing sends it, a visitor with a past, a long path.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use leadtrail_domain::classify::{Landing, classify};
use leadtrail_domain::event::{Arrival, Client, Collected, Event, Neighbourhood, ParseContext, RawEvent};
use leadtrail_domain::id::{EventId, ProjectId, SessionId, VisitorCookie, VisitorId};
use leadtrail_domain::ingest::{Decision, IngestPolicy, Policies, ingest};
use leadtrail_domain::model::{Credits, Model, ModelSettings, Touchpoint, credits};
use leadtrail_domain::project::{Pixel, PixelContext, PixelSettings, Project, ProjectSettings};
use leadtrail_domain::signals::{AdParameters, Signals, Utm};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::{Attribution, Origin, RULES_VERSION, Touch, TouchKind};
use leadtrail_domain::visit::{Known, KnownSession, KnownVisitor};

const PAGE: &str = "https://www.acme.example/roofs/repair?utm_source=google&utm_medium=cpc&utm_campaign=spring+sale&utm_term=roof+repair&utm_content=ad-7&gclid=Cj0KCQjwtest-gclid_example&gad_source=1&adgroup=roofs";
const REFERRER: &str = "https://www.google.com/";
const BODY: &str = r#"{"pixel_id":"acme-site","visitor_cookie":"pxl_0123456789abcdef","event_id":"019ab0e4-7c00-7abc-8def-0123456789ab","page_url":"https://www.acme.example/roofs/repair?utm_source=google&utm_medium=cpc&utm_campaign=spring+sale&utm_term=roof+repair&utm_content=ad-7&gclid=Cj0KCQjwtest-gclid_example&gad_source=1&adgroup=roofs","referrer_url":"https://www.google.com/","page_title":"Roof repair in a day - Acme","timestamp":"2026-11-23T11:59:58.123Z","event_type":"pageview","viewport":{"width":1512,"height":823},"screen":{"width":1512,"height":982},"language":"en-GB"}"#;

/// The longest path that is measured.
pub(crate) const PATH: usize = 10_000;

/// What the edge draws for each request.
struct Drawn {
    id: EventId,
    cookie: VisitorCookie,
}

/// What the measured functions are given.
pub(crate) struct Subjects {
    pixel: PixelContext,
    drawn: Drawn,
    known: Known,
    inside: [Collected; 1],
    arrival: [Collected; 1],
    policies: Policies,
    path: Vec<Touchpoint>,
}

impl Subjects {
    /// Everything that is measured.
    pub(crate) fn new() -> Self {
        let pixel = pixel();
        let project = pixel.project.id;
        let drawn =
            Drawn { id: EventId::of_text("fallback"), cookie: "somebody-new".parse().expect("a cookie") };
        let arrival = [collected(&pixel, &drawn, BODY)];
        let inner = BODY.replace(REFERRER, "https://www.acme.example/");
        let query = inner.find("?utm").unwrap_or(inner.len())..inner.find("adgroup=roofs").unwrap_or(0) + 13;
        let mut inner = inner;
        inner.replace_range(query, "");
        let inside = [collected(&pixel, &drawn, &inner)];
        let policies = Policies::from([(project, IngestPolicy::default())]);
        let path = (0..PATH)
            .map(|n| {
                let hours = u64::try_from(n).unwrap_or(0);
                let at =
                    received_at().minus(Duration::from_hours(2_000)).plus(Duration::from_mins(10 * hours));
                Touchpoint { order: (at, EventId::of_text("touch")), is_direct: n % 3 == 0 }
            })
            .collect();
        Self { known: known(project, &arrival[0]), pixel, drawn, inside, arrival, policies, path }
    }

    /// The body of one message, read.
    pub(crate) fn read() -> RawEvent<'static> {
        serde_json::from_str(black_box(BODY)).expect("an event")
    }

    /// What was read, made an event, with its source, medium and channel.
    pub(crate) fn parse(&self, raw: &RawEvent<'_>) -> (Collected, Attribution) {
        let collected = Event::parse(raw, &context(&self.pixel, &self.drawn)).expect("a page");
        let (kind, referrer_host) = match &collected.arrival {
            Arrival::External { kind, referrer_host } => (*kind, referrer_host.as_deref()),
            Arrival::Internal | Arrival::Direct => (TouchKind::Direct, None),
        };
        let Signals { utm, click_ids, .. } = &collected.event.signals;
        let attribution = Origin { kind, utm, click_ids, referrer_host }.attribution();
        (collected, attribution)
    }

    /// One landing, classified.
    pub(crate) fn classify(&self) -> Landing {
        classify(black_box(PAGE), Some(REFERRER), &Neighbourhood::from(&self.pixel)).expect("a page")
    }

    /// A page view inside a known session.
    pub(crate) fn decide_inside(&self) -> Decision {
        ingest(black_box(&self.known), &self.inside, &self.policies)
    }

    /// An ad's landing that opens a session of a known visitor.
    pub(crate) fn decide_arrival(&self) -> Decision {
        ingest(black_box(&self.known), &self.arrival, &self.policies)
    }

    /// The credits of a path of 10,000 touches, all in the window.
    pub(crate) fn credits(&self, model: Model) -> Credits {
        let conversion = (received_at(), EventId::of_text("conversion"));
        credits(black_box(&self.path), conversion, model, &ModelSettings::default())
    }
}

/// 2026-11-23 12:00 UTC.
fn received_at() -> Timestamp {
    Timestamp::from_millis(1_795_435_200_000)
}

fn collected(pixel: &PixelContext, drawn: &Drawn, body: &str) -> Collected {
    Event::parse(&serde_json::from_str(body).expect("an event"), &context(pixel, drawn)).expect("a page")
}

fn context<'a>(pixel: &'a PixelContext, drawn: &Drawn) -> ParseContext<'a> {
    ParseContext {
        pixel,
        received_at: received_at(),
        fallback_id: drawn.id,
        header_cookie: None,
        fallback_cookie: drawn.cookie.clone(),
        client: Client::default(),
        gpc: false,
        referer: None,
    }
}

fn pixel() -> PixelContext {
    let created_at = received_at();
    let project = Project {
        id: ProjectId::new(created_at, [7; 16]),
        slug: "acme".parse().expect("a slug"),
        name: "Acme".into(),
        settings: ProjectSettings::default(),
        created_at,
        archived_at: None,
    };
    let settings = PixelSettings {
        origins: vec![
            "*.acme.example".parse().expect("a pattern"),
            "acme-shop.example".parse().expect("a host"),
        ],
        ..PixelSettings::default()
    };
    let pixel = Pixel {
        id: "acme-site".parse().expect("a pixel id"),
        project_id: project.id,
        name: "Acme site".into(),
        settings,
        created_at,
        archived_at: None,
    };
    PixelContext { pixel, project }
}

/// A visitor with ten sessions, each opened by a touch; the last one ended a minute before the event.
fn known(project: ProjectId, event: &Collected) -> Known {
    let event = &event.event;
    let cookie = event.visitor.cookie().expect("a cookie").clone();
    let id = VisitorId::derive(received_at(), project, cookie.as_str());
    let mut visitor = KnownVisitor {
        id,
        version: 10,
        first_seen_at: received_at().minus(Duration::from_hours(10)),
        sessions: Vec::new(),
        touches: Vec::new(),
    };
    for hours in (0..10).rev() {
        let at = received_at().minus(Duration::from_hours(hours)).minus(Duration::from_mins(1));
        let opening = EventId::of_text(&format!("opening {hours}"));
        let session_id = SessionId::derive(at, id, &event.pixel_id, opening);
        visitor.sessions.push(KnownSession {
            id: session_id,
            started_at: at,
            last_event_at: at,
            attribution: Attribution::default(),
        });
        visitor.touches.push(Arc::new(Touch {
            event_id: opening,
            pixel_id: event.pixel_id.clone(),
            session_id,
            at,
            kind: TouchKind::Referrer,
            utm: Utm::default(),
            click_ids: Vec::new(),
            ad: AdParameters::default(),
            referrer_url: Some(REFERRER.to_owned()),
            referrer_host: Some("www.google.com".to_owned()),
            landing_page: "https://www.acme.example/".to_owned(),
            rules_version: RULES_VERSION,
        }));
    }
    let visitors = BTreeMap::from([((project, cookie), Arc::new(visitor))]);
    Known { visitors, ..Known::default() }
}
