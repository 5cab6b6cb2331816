//! Complete values with everything defaulted: tenants, visitors, and the `Changes` that their visits make.
//!
//! All times are whole minutes after [`at`]`(0)`; ids follow from numbers and minutes, so that a case can name an
//! event again without having kept it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use leadtrail_domain::click_id::{COLUMNS, ClickId};
use leadtrail_domain::conversion::Conversion;
use leadtrail_domain::crm::{FieldKey, FieldValue, PersonId};
use leadtrail_domain::email::EmailAddress;
use leadtrail_domain::event::{
    Client, Consent, Event, EventKind, EventSync, Form, Prop, Size, StoredEvent, VisitorName,
};
use leadtrail_domain::id::{
    ConversionId, EventId, KeyId, LeadId, PixelId, ProjectId, SessionId, Slug, SyncJobId, VisitorCookie,
    VisitorId,
};
use leadtrail_domain::key::{ApiKey, KeySecret, Scope};
use leadtrail_domain::lead::{Lead, SubmissionKey};
use leadtrail_domain::ports::{Queue, SyncJobs};
use leadtrail_domain::project::{Pixel, PixelSettings, Project, ProjectSettings, default_account};
use leadtrail_domain::signals::{AdParameters, Signals, Utm};
use leadtrail_domain::sync::{Claim, JobStatus, PlannedWrite, Wanted};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::{FourTouches, RULES_VERSION, Touch, TouchKind};
use leadtrail_domain::visit::{
    AssumedVisitor, Changes, EventKey, Freshness, Identity, JoinedJob, NewSession, NewSubmission, NewSyncJob,
    NewTouch, NewVisitor, PersonKey, VisitQuery, VisitorKey,
};

use crate::Stores;

/// 2026-03-01T12:00:00Z in milliseconds.
const START_MS: u64 = 1_772_366_400_000;

/// How long after the form a job made here is due.
pub const SYNC_DELAY_MINUTES: u32 = 7;

/// So many minutes after 2026-03-01T12:00:00Z.
pub fn at(minute: u32) -> Timestamp {
    Timestamp::from_millis(i64::try_from(START_MS).expect("fits"))
        .plus(Duration::from_mins(u64::from(minute)))
}

/// The `n`th event id: a `UUIDv7` of 2026-03-01.
pub fn event_id(n: u32) -> EventId {
    event_id_dated(START_MS + u64::from(n), n)
}

/// A `UUIDv7` with that time inside, in milliseconds since 1970.
pub fn event_id_dated(millis: u64, n: u32) -> EventId {
    EventId::of_text(&format!("{:08x}-{:04x}-7000-8000-{n:012x}", millis >> 16, millis & 0xffff))
}

/// Entropy that follows from a number.
fn entropy<const N: usize>(n: u32) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    bytes
}

/// The `n`th project, with the settings every project starts with.
pub fn project(n: u32) -> Project {
    Project {
        id: ProjectId::new(at(0), entropy(n)),
        slug: slug(&format!("project-{n}")),
        name: format!("Project {n}"),
        settings: ProjectSettings::default(),
        created_at: at(0),
        archived_at: None,
    }
}

/// A pixel of a project.
///
/// # Panics
/// When `id` is no pixel id.
pub fn pixel(project: ProjectId, id: &str) -> Pixel {
    Pixel {
        id: pixel_id(id),
        project_id: project,
        name: format!("Pixel {id}"),
        settings: PixelSettings::default(),
        created_at: at(0),
        archived_at: None,
    }
}

/// The `n`th API key: bound to no project, reading and sending, without an end.
pub fn key(n: u32) -> ApiKey {
    let secret = KeySecret::new(entropy(n));
    ApiKey {
        id: KeyId::new(at(n), entropy(n)),
        name: format!("Key {n}"),
        prefix: secret.prefix().to_owned(),
        hash: secret.hash(),
        scopes: BTreeSet::from([Scope::Ingest, Scope::Read]),
        project_id: None,
        created_at: at(0),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    }
}

/// A slug.
///
/// # Panics
/// When `text` is none.
pub fn slug(text: &str) -> Slug {
    text.parse().expect("a slug")
}

/// A pixel id.
///
/// # Panics
/// When `text` is none.
pub fn pixel_id(text: &str) -> PixelId {
    text.parse().expect("a pixel id")
}

/// An e-mail address.
///
/// # Panics
/// When `text` is none.
pub fn email(text: &str) -> EmailAddress {
    text.parse().expect("an e-mail address")
}

/// A project with one pixel.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The project.
    pub project: Project,
    /// Its pixel.
    pub pixel: Pixel,
}

/// The `n`th tenant, not stored yet.
pub fn tenant(n: u32) -> Tenant {
    let project = project(n);
    let pixel = pixel(project.id, &format!("px-{n}"));
    Tenant { project, pixel }
}

impl Tenant {
    /// The `n`th tenant, stored.
    ///
    /// # Panics
    /// When the store does not take it.
    pub async fn create(stores: &Stores, n: u32) -> Self {
        let tenant = tenant(n);
        stores.projects.create_project(&tenant.project).await.expect("the project is created");
        stores.projects.create_pixel(&tenant.pixel).await.expect("the pixel is created");
        tenant
    }

    /// A second pixel of the project, stored.
    ///
    /// # Panics
    /// When the store does not take it.
    pub async fn second_pixel(&self, stores: &Stores) -> Pixel {
        let second = pixel(self.project.id, &format!("{}-second", self.pixel.id));
        stores.projects.create_pixel(&second).await.expect("the pixel is created");
        second
    }

    /// The project's id.
    pub fn id(&self) -> ProjectId {
        self.project.id
    }

    /// The `n`th visitor of this tenant: with the same cookie as the `n`th of any other.
    pub fn visitor(&self, n: u32) -> Visitor {
        let cookie: VisitorCookie = format!("pxl_visitor_{n}").parse().expect("a cookie");
        Visitor {
            project_id: self.project.id,
            pixel_id: self.pixel.id.clone(),
            id: VisitorId::derive(at(0), self.project.id, cookie.as_str()),
            cookie,
            number: n,
        }
    }
}

/// A visitor and what it does. Each method that makes [`Changes`] makes them complete.
///
/// `opened` is always the minute in which the session was opened, `minute` that of the event.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The project.
    pub project_id: ProjectId,
    /// The pixel its events are sent to.
    pub pixel_id: PixelId,
    /// The visitor's id.
    pub id: VisitorId,
    /// Its cookie.
    pub cookie: VisitorCookie,
    number: u32,
}

impl Visitor {
    /// How it is asked for.
    pub fn key(&self) -> VisitorKey {
        (self.project_id, self.cookie.clone())
    }

    /// The same visitor on another pixel: its events have the ids and times of those here.
    #[must_use]
    pub fn on(&self, pixel: &Pixel) -> Self {
        Self { pixel_id: pixel.id.clone(), ..self.clone() }
    }

    /// A query for this visitor alone.
    pub fn query(&self, freshness: Freshness) -> VisitQuery {
        VisitQuery { visitors: BTreeMap::from([(self.key(), freshness)]), ..VisitQuery::default() }
    }

    /// The id of its event in a minute.
    pub fn event_id(&self, minute: u32) -> EventId {
        event_id(self.number * 10_000 + minute)
    }

    /// How its event of a minute is asked for.
    pub fn event_key(&self, minute: u32) -> EventKey {
        (self.pixel_id.clone(), self.event_id(minute))
    }

    /// The session it opened in a minute.
    pub fn session_id(&self, opened: u32) -> SessionId {
        SessionId::derive(at(opened), self.id, &self.pixel_id, self.event_id(opened))
    }

    /// A page view with nothing but what every event has.
    pub fn pageview(&self, minute: u32) -> Event {
        Event {
            id: self.event_id(minute),
            original_id: None,
            project_id: self.project_id,
            pixel_id: self.pixel_id.clone(),
            kind: EventKind::Pageview,
            occurred_at: at(minute),
            received_at: at(minute),
            visitor: VisitorName::Cookie(self.cookie.clone()),
            page_url: format!("https://shop.example/page/{minute}"),
            page_title: None,
            referrer_url: None,
            signals: Signals::default(),
            form: None,
            viewport: None,
            screen: None,
            language: None,
            props: BTreeMap::new(),
            value: None,
            consent: None,
            client: Client::default(),
        }
    }

    /// An event with everything an event can have.
    pub fn everything(&self, minute: u32) -> Event {
        let mut click_ids: Vec<ClickId> = COLUMNS
            .into_iter()
            .chain(["gbraid", "yclid"])
            .map(|parameter| ClickId {
                parameter: parameter.to_owned(),
                value: format!("test+{parameter}/=%2B "),
            })
            .collect();
        // As received, not as the registry has them.
        click_ids.reverse();
        Event {
            original_id: Some("Bestellung №17 \u{1f6d2}".to_owned()),
            kind: EventKind::Custom("größe gewählt".to_owned()),
            occurred_at: Timestamp::from_micros(at(minute).micros() + 123_457),
            received_at: Timestamp::from_micros(at(minute).micros() + 999_999),
            page_url: "https://shop.example/größe?utm_source=x&q=%F0%9F%9B%92#frag".to_owned(),
            page_title: Some("Größe „L“ — \u{1f6d2} '\"\\ %_".to_owned()),
            referrer_url: Some("https://www.google.com/search?q=größe".to_owned()),
            signals: Signals {
                utm: Utm {
                    source: Some("news".to_owned()),
                    medium: Some("e-mail".to_owned()),
                    campaign: Some("frühling 50%off".to_owned()),
                    term: Some("größe".to_owned()),
                    content: Some("data:content_type=x".to_owned()),
                    id: Some("17".to_owned()),
                    extra: vec![
                        ("utm_weird".to_owned(), "ünï".to_owned()),
                        ("utm_aaa".to_owned(), "second in order".to_owned()),
                    ],
                },
                click_ids,
                ad: AdParameters {
                    campaign_region: Some("Zürich".to_owned()),
                    ad_group: Some("warm".to_owned()),
                    ad_id: Some("7".to_owned()),
                    search_query: Some("dach reparieren".to_owned()),
                },
            },
            form: Some(Form {
                email: Some(email("jane@example.com")),
                first_name: Some("Jané".to_owned()),
                last_name: Some("O'Døe".to_owned()),
                extra: BTreeMap::from([("company".to_owned(), "Ünlimited \"Ltd\"".to_owned())]),
            }),
            viewport: Some(Size { width: 1, height: 100_000 }),
            screen: Some(Size { width: 1_920, height: 1_080 }),
            language: Some("de-CH".to_owned()),
            props: BTreeMap::from([
                ("flag".to_owned(), Prop::Bool(false)),
                ("ratio".to_owned(), Prop::Number(0.1)),
                ("whole".to_owned(), Prop::Number(-3.0)),
                ("text".to_owned(), Prop::Text("\u{1f6d2} größe".to_owned())),
            ]),
            value: Some(-1_234.567_8),
            consent: Some(Consent::Granted),
            client: Client {
                ip: Some([192, 0, 2, 1].into()),
                user_agent: Some("Mozilla/5.0 (Test) \u{e9}".to_owned()),
                device_type: Some("mobile".to_owned()),
                browser: Some("Firefox".to_owned()),
                operating_system: Some("Android".to_owned()),
                country: Some("CH".to_owned()),
                region: Some("Zürich".to_owned()),
                city: Some("Zürich".to_owned()),
                bot: Some("user agent".to_owned()),
            },
            ..self.pageview(minute)
        }
    }

    /// An event of this visitor as it is stored.
    pub fn stored(&self, opened: u32, event: Event) -> StoredEvent {
        StoredEvent {
            event,
            visitor_id: self.id,
            session_id: self.session_id(opened),
            lead_id: None,
            sync: EventSync::default(),
        }
    }

    /// A touch of that minute: from `source` by UTM parameter, or direct without one.
    pub fn touch(&self, opened: u32, minute: u32, source: Option<&str>) -> Arc<Touch> {
        Arc::new(Touch {
            event_id: self.event_id(minute),
            pixel_id: self.pixel_id.clone(),
            session_id: self.session_id(opened),
            at: at(minute),
            kind: if source.is_some() { TouchKind::Utm } else { TouchKind::Direct },
            utm: Utm {
                source: source.map(str::to_owned),
                medium: source.map(|_named| "e-mail".to_owned()),
                campaign: source.map(|_named| "spring".to_owned()),
                ..Utm::default()
            },
            click_ids: Vec::new(),
            ad: AdParameters::default(),
            referrer_url: None,
            referrer_host: None,
            landing_page: format!("https://shop.example/page/{minute}"),
            rules_version: RULES_VERSION,
        })
    }

    /// A touch of this visitor, to be written.
    pub fn new_touch(&self, touch: &Arc<Touch>) -> NewTouch {
        NewTouch { project_id: self.project_id, visitor_id: self.id, touch: Arc::clone(touch) }
    }

    /// A session opened by its page view of that minute and a touch from `source`.
    pub fn new_session(&self, opened: u32, source: Option<&str>) -> NewSession {
        NewSession {
            id: self.session_id(opened),
            project_id: self.project_id,
            visitor_id: self.id,
            pixel_id: self.pixel_id.clone(),
            opening_event_id: self.event_id(opened),
            started_at: at(opened),
            attribution: self.touch(opened, opened, source).attribution(),
            landing_page: format!("https://shop.example/page/{opened}"),
        }
    }

    /// This visitor, to be written.
    pub fn new_visitor(&self, minute: u32) -> NewVisitor {
        NewVisitor {
            id: self.id,
            project_id: self.project_id,
            name: VisitorName::Cookie(self.cookie.clone()),
            first_seen_at: at(minute),
            version: 1,
        }
    }

    /// What is assumed of this visitor by a commit that leaves the version as it is.
    pub fn assumed(&self, version: i64) -> AssumedVisitor {
        AssumedVisitor {
            id: self.id,
            project_id: self.project_id,
            version,
            advances: false,
            no_event_after: None,
        }
    }

    /// Its first page view: a new visitor, its session and a touch from `news`.
    pub fn arrives(&self, minute: u32) -> Changes {
        Changes {
            events: vec![self.stored(minute, self.pageview(minute))],
            visitors: vec![self.new_visitor(minute)],
            sessions: vec![self.new_session(minute, Some("news"))],
            touches: vec![self.new_touch(&self.touch(minute, minute, Some("news")))],
            ..Changes::default()
        }
    }

    /// A page view that opens a further session with a direct touch, where the latest known event was in `last`.
    pub fn returns(&self, version: i64, last: u32, minute: u32) -> Changes {
        Changes {
            events: vec![self.stored(minute, self.pageview(minute))],
            assumed: vec![AssumedVisitor {
                advances: true,
                no_event_after: Some(at(last)),
                ..self.assumed(version)
            }],
            sessions: vec![self.new_session(minute, None)],
            touches: vec![self.new_touch(&self.touch(minute, minute, None))],
            ..Changes::default()
        }
    }

    /// A further page view in an open session; it changes nothing else.
    pub fn views(&self, version: i64, opened: u32, minute: u32) -> Changes {
        Changes {
            events: vec![self.stored(opened, self.pageview(minute))],
            assumed: vec![self.assumed(version)],
            ..Changes::default()
        }
    }

    /// The event of a form with an e-mail.
    pub fn form(&self, minute: u32, address: &str) -> Event {
        Event {
            kind: EventKind::FormSubmit,
            form: Some(Form {
                email: Some(email(address)),
                first_name: Some("Jane".to_owned()),
                last_name: None,
                extra: BTreeMap::from([("message".to_owned(), format!("number {minute}"))]),
            }),
            ..self.pageview(minute)
        }
    }

    /// The lead that the form of that minute makes.
    pub fn lead_id(&self, minute: u32) -> LeadId {
        LeadId::derive(at(minute), &self.pixel_id, self.event_id(minute))
    }

    /// The job that the form of that minute makes.
    pub fn job_id(&self, minute: u32) -> SyncJobId {
        SyncJobId::derive(at(minute), self.lead_id(minute))
    }

    /// What the form of that minute is recognised by when it comes again.
    pub fn submission_key(&self, minute: u32, address: &str) -> SubmissionKey {
        let form = self.form(minute, address).form.unwrap_or_default();
        SubmissionKey::of(self.project_id, &self.pixel_id, &email(address), &form)
    }

    /// A lead, of a session that opened with a touch from `news`.
    pub fn lead(&self, opened: u32, minute: u32, address: &str, job_id: Option<SyncJobId>) -> Lead {
        let touch = self.touch(opened, opened, Some("news"));
        Lead {
            id: self.lead_id(minute),
            project_id: self.project_id,
            pixel_id: self.pixel_id.clone(),
            event_id: self.event_id(minute),
            visitor_id: self.id,
            session_id: self.session_id(opened),
            job_id,
            email: email(address),
            first_name: Some("Jane".to_owned()),
            last_name: None,
            occurred_at: at(minute),
            received_at: at(minute),
            touches: FourTouches::among([&touch], (at(minute), self.event_id(minute))),
            session_touch: Some(touch),
        }
    }

    /// A form that makes a lead, told to no CRM.
    pub fn enquires(&self, version: i64, opened: u32, minute: u32, address: &str) -> Changes {
        Changes {
            events: vec![StoredEvent {
                lead_id: Some(self.lead_id(minute)),
                ..self.stored(opened, self.form(minute, address))
            }],
            assumed: vec![self.assumed(version)],
            leads: vec![self.lead(opened, minute, address, None)],
            submissions: vec![NewSubmission {
                key: self.submission_key(minute, address),
                project_id: self.project_id,
                count: 1,
                lead_id: self.lead_id(minute),
                received_at: at(minute),
            }],
            identities: vec![self.identity(minute, address)],
            ..Changes::default()
        }
    }

    /// The page view of a minute as a conversion, in a session that opened with a touch from `news`.
    ///
    /// # Panics
    /// When `name` is none of a conversion.
    pub fn conversion(&self, opened: u32, minute: u32, name: &str) -> Conversion {
        let name = name.parse().expect("the name of a conversion");
        let touch = self.touch(opened, opened, Some("news"));
        Conversion {
            id: ConversionId::derive(at(minute), &self.pixel_id, self.event_id(minute), &name),
            project_id: self.project_id,
            name,
            pixel_id: self.pixel_id.clone(),
            event_id: self.event_id(minute),
            visitor_id: self.id,
            session_id: self.session_id(opened),
            occurred_at: at(minute),
            value: None,
            touches: FourTouches::among([&touch], (at(minute), self.event_id(minute))),
        }
    }

    /// A further page view in an open session that counts as conversions of these names.
    pub fn converts(&self, version: i64, opened: u32, minute: u32, names: &[&str]) -> Changes {
        let mut changes = self.views(version, opened, minute);
        for assumed in &mut changes.assumed {
            assumed.advances = true;
        }
        changes.conversions = names.iter().map(|name| self.conversion(opened, minute, name)).collect();
        changes
    }

    /// This visitor gave an e-mail.
    pub fn identity(&self, minute: u32, address: &str) -> Identity {
        Identity {
            project_id: self.project_id,
            email_hash: email(address).hash(),
            visitor_id: self.id,
            at: at(minute),
        }
    }

    /// A form that makes a lead and a job of its own, the person's `sequence`th, due seven minutes later.
    pub fn submits(&self, version: i64, opened: u32, minute: u32, address: &str, sequence: i64) -> Changes {
        let mut changes = self.enquires(version, opened, minute, address);
        for lead in &mut changes.leads {
            lead.job_id = Some(self.job_id(minute));
        }
        changes.jobs.push(NewSyncJob {
            id: self.job_id(minute),
            project_id: self.project_id,
            account: default_account(),
            lead_id: self.lead_id(minute),
            email_hash: email(address).hash(),
            sequence,
            created_at: at(minute),
            due_at: at(minute + SYNC_DELAY_MINUTES),
        });
        changes
    }

    /// A form that makes a lead which joins a job that still waits.
    pub fn joins(&self, version: i64, opened: u32, minute: u32, address: &str, job: SyncJobId) -> Changes {
        let mut changes = self.enquires(version, opened, minute, address);
        for lead in &mut changes.leads {
            lead.job_id = Some(job);
        }
        changes.joined.push(JoinedJob { id: job, project_id: self.project_id });
        changes
    }
}

/// A page view of somebody who is not recognised: a visitor and a session of its own, without touch.
pub fn unlinked(tenant: &Tenant, n: u32) -> Changes {
    let nobody = tenant.visitor(n);
    let mut changes = nobody.arrives(0);
    changes.touches.clear();
    for event in &mut changes.events {
        event.event.visitor = VisitorName::Unlinked;
    }
    for visitor in &mut changes.visitors {
        visitor.name = VisitorName::Unlinked;
    }
    for session in &mut changes.sessions {
        session.attribution = leadtrail_domain::touch::Attribution::default();
    }
    changes
}

/// A form of somebody who is not recognised, with a job: no identity follows from it.
pub fn unlinked_form(tenant: &Tenant, n: u32, address: &str) -> Changes {
    let mut changes = unlinked(tenant, n);
    let form = tenant.visitor(n).submits(1, 0, 0, address, 1);
    changes.events = form.events;
    for event in &mut changes.events {
        event.event.visitor = VisitorName::Unlinked;
    }
    changes.leads = form.leads;
    changes.submissions = form.submissions;
    changes.jobs = form.jobs;
    changes
}

/// A query for one person.
pub fn person_query(person: PersonKey) -> VisitQuery {
    VisitQuery { people: BTreeSet::from([person]), ..VisitQuery::default() }
}

/// A query for one event.
pub fn event_query(event: EventKey) -> VisitQuery {
    VisitQuery { events: BTreeSet::from([event]), ..VisitQuery::default() }
}

/// What a person shall be told, built from a lead.
///
/// # Panics
/// When the domain no longer has the fields `utm_source` and `days_to_lead`.
pub fn wanted(lead: LeadId) -> Wanted {
    Wanted {
        fields: BTreeMap::from([(
            "utm_source".parse().expect("one of our fields"),
            FieldValue::Text("näws \u{1f6d2}".to_owned()),
        )]),
        typed: BTreeMap::from([(
            "days_to_lead".parse().expect("one of our fields"),
            FieldValue::Number(0.5),
        )]),
        lead_id: Some(lead),
    }
}

/// A write to a person, of the given fields.
pub fn write(person: &str, fields: &[&str]) -> PlannedWrite {
    PlannedWrite {
        person: PersonId(person.to_owned()),
        patch: fields
            .iter()
            .map(|field| (FieldKey((*field).to_owned()), FieldValue::Text(format!("new {field}"))))
            .collect(),
        before: BTreeMap::from([(FieldKey("before".to_owned()), FieldValue::Number(0.5))]),
    }
}

/// The queue of the jobs made here.
pub fn queue(project: ProjectId) -> Queue {
    Queue { project_id: project, account: default_account() }
}

/// Claims from every queue with due jobs, in their order, and from the queues of the first two tenants, due or not;
/// `limit` at most in all.
///
/// # Panics
/// When the store is out of reach.
pub async fn claim_all(jobs: &dyn SyncJobs, now: Timestamp, lease: Duration, limit: u32) -> Vec<Claim> {
    let due = jobs.due_queues(now).await.expect("the store answers");
    let mut queues: Vec<Queue> = due.into_iter().map(|due| due.queue).collect();
    for other in [1, 2].map(|n| queue(project(n).id)) {
        if !queues.contains(&other) {
            queues.push(other);
        }
    }
    let mut claims = Vec::new();
    for queue in queues {
        let left = limit.saturating_sub(u32::try_from(claims.len()).unwrap_or(u32::MAX));
        claims.extend(jobs.claim(&queue, now, lease, left).await.expect("the store answers"));
    }
    claims
}

/// What became of an event's sync, for an event that is stored with it.
pub fn event_sync() -> EventSync {
    EventSync { status: Some(JobStatus::Synced), at: Some(at(9)), person_id: Some("person-1".to_owned()) }
}
