//! A project with one pixel and a store behind it, for tests of what a batch of events means.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use leadtrail_domain::conversion::{Conversion, ConversionName, ConversionRule};
use leadtrail_domain::event::{Client, Collected, Event, ParseContext, StoredEvent};
use leadtrail_domain::id::{EventId, PixelId, ProjectId, VisitorCookie};
use leadtrail_domain::ingest::{CrmRoute, IngestPolicy, Policies, ingest, query_for};
use leadtrail_domain::ports::{ConversionFilter, Conversions, JobFilter, Projects, SyncJobs, Visits};
use leadtrail_domain::project::{
    Pixel, PixelContext, PixelSettings, Project, ProjectSettings, default_account,
};
use leadtrail_domain::sync::SyncJob;
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::visit::{Answer, Changes, Freshness, Known, KnownVisitor, VisitQuery};
use leadtrail_store_memory::MemoryStore;
use serde_json::{Value, json};

/// How long after a form the site's CRM is told.
pub(crate) const DELAY: Duration = Duration::from_mins(7);

/// A site under test; clones share the store.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) pixel: PixelContext,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) policy: IngestPolicy,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::of(Arc::new(MemoryStore::new()), "acme", "px")
    }

    /// The only site of a project of this slug.
    pub(crate) fn of(store: Arc<MemoryStore>, slug: &str, pixel: &str) -> Self {
        let created_at = minute(0);
        let mut entropy = [7; 16];
        for (place, byte) in entropy.iter_mut().zip(slug.bytes()) {
            *place = byte;
        }
        let project = Project {
            id: ProjectId::new(created_at, entropy),
            slug: slug.parse().expect("a slug"),
            name: slug.to_owned(),
            settings: ProjectSettings { conversions: conversion_rules(), ..ProjectSettings::default() },
            created_at,
            archived_at: None,
        };
        let pixel = Pixel {
            id: pixel.parse().expect("a pixel id"),
            project_id: project.id,
            name: "Its site".into(),
            settings: PixelSettings::default(),
            created_at,
            archived_at: None,
        };
        block_on(store.create_project(&project)).expect("a project of its own");
        block_on(store.create_pixel(&pixel)).expect("a pixel of its own");
        let policy = IngestPolicy {
            crm: Some(CrmRoute { account: default_account(), delay: DELAY }),
            split_sessions_on_campaign: false,
        };
        Self { pixel: PixelContext { pixel, project }, store, policy }
    }

    pub(crate) fn project(&self) -> ProjectId {
        self.pixel.project.id
    }

    /// A message that arrived at `minute`, when it also occurred unless its body says otherwise.
    pub(crate) fn collected(&self, at: u32, body: &Value) -> Collected {
        let text = body.to_string();
        let raw = serde_json::from_str(&text).expect("an event");
        let context = ParseContext {
            pixel: &self.pixel,
            received_at: minute(at),
            fallback_id: EventId::of_text(&format!("{at} {text}")),
            header_cookie: None,
            fallback_cookie: "somebody-new".parse().expect("a cookie"),
            client: Client::default(),
            gpc: false,
            referer: None,
        };
        Event::parse(&raw, &context).expect("a page")
    }

    /// Decides and commits a batch, as the service does.
    pub(crate) fn take(&self, events: &[Collected]) -> (Changes, Vec<Answer>) {
        let known = block_on(self.store.load(&query_for(events))).expect("a store that works");
        let decision = ingest(&known, events, &Policies::from([(self.project(), self.policy.clone())]));
        if !decision.changes.is_empty() {
            block_on(self.store.commit(&decision.changes)).expect("changes that fit what is known");
        }
        (decision.changes, decision.answers)
    }

    /// A page view of `cookie` at `at`.
    pub(crate) fn visit(&self, at: u32, cookie: &str, page: &str, referrer: &str) -> Answer {
        let body = json!({ "page_url": format!("https://www.acme.example{page}"), "referrer_url": referrer, "visitor_cookie": cookie });
        self.one(at, &body)
    }

    /// A form of `cookie` at `at`.
    pub(crate) fn submit(&self, at: u32, cookie: &str, email: &str) -> Answer {
        self.one(at, &form(cookie, email, "Jane"))
    }

    pub(crate) fn one(&self, at: u32, body: &Value) -> Answer {
        self.take(&[self.collected(at, body)]).1.pop().expect("one answer for one event")
    }

    pub(crate) fn known(&self, cookie: &str) -> KnownVisitor {
        let cookie: VisitorCookie = cookie.parse().expect("a cookie");
        let key = (self.project(), cookie);
        let query = VisitQuery {
            visitors: [(key.clone(), Freshness::Current)].into(),
            sessions_since: Some(Timestamp::MIN),
            ..VisitQuery::default()
        };
        let known: Known = block_on(self.store.load(&query)).expect("a store that works");
        known.visitors.get(&key).expect("a known visitor").as_ref().clone()
    }

    pub(crate) fn sources(&self, cookie: &str) -> Vec<Option<String>> {
        self.known(cookie).touches.iter().map(|touch| touch.source().map(str::to_owned)).collect()
    }

    pub(crate) fn events(&self) -> Vec<StoredEvent> {
        block_on(self.store.events(self.project(), None::<(EventId, PixelId)>, u32::MAX))
            .expect("a store that works")
    }

    /// By id.
    pub(crate) fn conversions(&self) -> Vec<Conversion> {
        let mut all =
            block_on(self.store.conversions(self.project(), &ConversionFilter::default(), u32::MAX))
                .expect("a store that works");
        all.reverse();
        all
    }

    pub(crate) fn jobs(&self) -> Vec<SyncJob> {
        block_on(self.store.jobs(self.project(), &JobFilter::default(), u32::MAX))
            .expect("a store that works")
    }

    pub(crate) fn leads(&self) -> BTreeSet<leadtrail_domain::id::LeadId> {
        self.events().iter().filter_map(|event| event.lead_id).collect()
    }
}

/// Whoever looks at the prices, sends a form or downloads something converts.
fn conversion_rules() -> BTreeMap<ConversionName, ConversionRule> {
    serde_json::from_value(json!({
        "prices": {"page": "/pricing", "value": 5.0},
        "form": {"event": "form_submit"},
        "download": {"event": "download", "page": "*.acme.example/**", "value": 1.0},
    }))
    .expect("conversions")
}

/// A form as the pixel sends it.
pub(crate) fn form(cookie: &str, email: &str, first_name: &str) -> Value {
    json!({
        "page_url": "https://www.acme.example/contact",
        "referrer_url": "https://www.acme.example/",
        "visitor_cookie": cookie,
        "form_data": { "email": email, "first_name": first_name },
    })
}

/// The instant so many minutes after the tests begin.
pub(crate) fn minute(minute: u32) -> Timestamp {
    let start: Timestamp = "2026-11-23T10:00:00Z".parse().expect("an instant");
    start.plus(Duration::from_mins(u64::from(minute)))
}
