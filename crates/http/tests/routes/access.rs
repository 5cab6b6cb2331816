//! Who may use which route: every route of the table, under every kind of key.

use std::collections::BTreeSet;
use std::time::Duration;

use leadtrail_domain::id::{ProjectId, SyncJobId};
use leadtrail_domain::key::{ApiKey, KeySecret, Scope};
use leadtrail_domain::ports::{
    Clock as _, ConversionFilter, Conversions as _, JobFilter, Keys as _, Page, Projects as _, SyncJobs as _,
};
use leadtrail_domain::project::Project;
use leadtrail_http::{Class, HttpSettings, MetricsAccess, Needs, Reach, RouteEntry, routes};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::service::{Reply, Service, Setup, key, telling};

/// A key of the matrix, and what is expected of it.
pub(crate) struct Presented {
    pub(crate) name: String,
    pub(crate) secret: Option<String>,
    /// What it opens; absent: nothing, since it is no valid key.
    pub(crate) key: Option<ApiKey>,
}

/// Every kind of key, bound to `own`, to `other` and to no project.
pub(crate) async fn presented(service: &Service, own: ProjectId, other: ProjectId) -> Vec<Presented> {
    let store = &service.store;
    let mut all = vec![
        Presented { name: "none".to_owned(), secret: None, key: None },
        Presented { name: "empty".to_owned(), secret: Some(String::new()), key: None },
        Presented { name: "malformed".to_owned(), secret: Some("lt_nonsense".to_owned()), key: None },
        Presented {
            name: "wrong".to_owned(),
            secret: Some(KeySecret::new([250; 32]).reveal().to_owned()),
            key: None,
        },
    ];
    let mut byte = 100;
    let mut next = |scopes: &[Scope], project| {
        byte += 1;
        key(byte, scopes, project)
    };
    let (revoked, secret) = next(&[Scope::Admin], None);
    store.create_key(&revoked).await.expect("a memory store answers");
    store.revoke_key(None, revoked.id, store.now()).await.expect("a memory store answers");
    all.push(Presented { name: "revoked".to_owned(), secret: Some(secret.reveal().to_owned()), key: None });
    let (expired, secret) = next(&[Scope::Admin], None);
    let expired = ApiKey { expires_at: Some(store.now()), ..expired };
    store.create_key(&expired).await.expect("a memory store answers");
    all.push(Presented { name: "expired".to_owned(), secret: Some(secret.reveal().to_owned()), key: None });
    for (place, project) in [("service", None), ("own", Some(own)), ("other", Some(other))] {
        for scope in Scope::ALL {
            let (key, secret) = next(&[scope], project);
            store.create_key(&key).await.expect("a memory store answers");
            let name = format!("{scope} of {place}");
            all.push(Presented { name, secret: Some(secret.reveal().to_owned()), key: Some(key) });
        }
    }
    all
}

/// The job that nobody has.
pub(crate) const NO_JOB: SyncJobId = SyncJobId(uuid::Uuid::nil());

/// What a class answers a key, where the path names something of `own`.
fn expected(needs: Needs, key: Option<&ApiKey>, own: ProjectId) -> Option<StatusCode> {
    let Some(key) = key else { return Some(StatusCode::UNAUTHORIZED) };
    let has_scope =
        key.scopes.contains(&Scope::Admin) || needs.scopes.iter().any(|scope| key.scopes.contains(scope));
    match (has_scope, key.project_id, needs.reach) {
        (false, _, _) | (true, Some(_), Reach::Service) => Some(StatusCode::FORBIDDEN),
        (true, Some(project), Reach::Named) if project != own => Some(StatusCode::NOT_FOUND),
        (true, _, _) => None,
    }
}

/// The path of a route that names something of the project `demo`: its pixel, a key bound to it, a sync job, or itself.
pub(crate) fn path_of(route: &RouteEntry, key_of_own: &ApiKey, job_of_own: SyncJobId) -> String {
    // Project and pixel have the same name.
    let id = match route.path {
        path if path.starts_with("/api/keys") => key_of_own.id.to_string(),
        path if path.starts_with("/api/sync/jobs") => job_of_own.to_string(),
        _ => "demo".to_owned(),
    };
    let file = if route.path.starts_with("/static/docs") { "docs.css" } else { "index.css" };
    let path = route.path.replace("{id}", &id).replace("{name}", file).replace("{hash}", "src");
    path.replace("{name:.*}", "index.html")
}

pub(crate) fn request(
    service: &Service,
    method: &str,
    path: &str,
    secret: Option<&str>,
) -> reqwest::RequestBuilder {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = service.request(method.clone(), path);
    if let Some(secret) = secret {
        request = request.header("authorization", format!("Bearer {secret}"));
    }
    // An input that no route takes: whoever is let in changes nothing for those who come after.
    if [Method::POST, Method::PUT, Method::PATCH].contains(&method) {
        request = request.json(&json!({"no such field": 1}));
    }
    request
}

/// An answer without what differs each time.
pub(crate) fn comparable(reply: &Reply) -> (StatusCode, Vec<String>, Value) {
    let mut headers: Vec<String> = reply
        .headers
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    headers.sort_unstable();
    let mut body = reply.json();
    body["request_id"] = Value::Null;
    (reply.status, headers, body)
}

#[test]
fn every_route_under_api_but_the_tracking_ones_and_the_description_needs_a_key() {
    for route in routes() {
        let is_private = route.path.starts_with("/api/")
            && !route.path.starts_with("/api/track")
            && route.path != "/api/openapi.json";
        assert_eq!(matches!(route.class, Class::Key(_)), is_private, "{route:?}");
        assert_eq!(route.class == Class::Local, route.path == "/metrics", "{route:?}");
        if let Class::Key(needs) = route.class {
            assert!(!needs.scopes.is_empty(), "{route:?}");
            assert_eq!(needs.reach == Reach::Named, route.path.contains("{id}"), "{route:?}");
        }
    }
}

#[tokio::test]
async fn every_route_answers_every_key_as_its_class_says() {
    let service = Service::with(Setup { project: telling(), ..Setup::default() }).await;
    let (own, other) = (service.project, service.add_project("other").await);
    let job = service.add_job(own, "demo", "a@x.example").await;
    let (key_of_own, _) = key(99, &[Scope::Read], Some(own));
    service.store.create_key(&key_of_own).await.unwrap();
    let all = presented(&service, own, other).await;
    let mut cells = 0;
    for route in routes() {
        let Class::Key(needs) = route.class else { continue };
        let path = path_of(&route, &key_of_own, job);
        let (mut denials, mut absences) = (Vec::new(), Vec::new());
        // What a deletion leaves behind is still there for the next: everything is archived or revoked, not removed.
        for presented in &all {
            let reply = Reply::of(request(&service, route.method, &path, presented.secret.as_deref())).await;
            let cell = format!("{} {path} with {}: {reply:?}", route.method, presented.name);
            match expected(needs, presented.key.as_ref(), own) {
                Some(status) => assert_eq!(reply.status, status, "{cell}"),
                // Let in; a job that was held or skipped before is in no state for it again.
                None => assert!(
                    [StatusCode::OK, StatusCode::UNPROCESSABLE_ENTITY, StatusCode::CONFLICT]
                        .contains(&reply.status),
                    "{cell}"
                ),
            }
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{cell}");
            match reply.status {
                StatusCode::UNAUTHORIZED => {
                    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
                    denials.push(comparable(&reply));
                }
                StatusCode::NOT_FOUND => absences.push(comparable(&reply)),
                _ => {}
            }
            cells += 1;
        }
        assert_eq!(denials.len(), 6);
        assert!(denials.windows(2).all(|two| two[0] == two[1]), "{denials:?}");
        // What is another project's is answered as what is nowhere.
        if needs.reach == Reach::Named {
            let (nowhere, _) = key(98, &[Scope::Read], Some(own));
            let absent = path_of(&route, &nowhere, NO_JOB).replace("/demo", "/nowhere");
            let admin = all.iter().find(|one| one.name == "admin of service").unwrap();
            let reply = Reply::of(request(&service, route.method, &absent, admin.secret.as_deref())).await;
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{} {absent}", route.method);
            absences.push(comparable(&reply));
            assert!(absences.len() > 1 && absences.windows(2).all(|two| two[0] == two[1]), "{absences:?}");
        }
    }
    assert!(cells >= 17 * 27, "{cells}");
}

/// A request that was passed on for somebody, by a proxy that nobody trusts.
fn from_afar(
    service: &Service,
    route: &RouteEntry,
    path: &str,
    secret: Option<&str>,
) -> reqwest::RequestBuilder {
    request(service, route.method, path, secret).header("x-forwarded-for", "203.0.113.9")
}

#[tokio::test]
async fn a_local_route_answers_whoever_is_near_and_others_with_a_key_of_the_whole_service() {
    let service = Service::start().await;
    let (own, other) = (service.project, service.add_project("other").await);
    let all = presented(&service, own, other).await;
    let needs = Needs { scopes: &[Scope::Admin], reach: Reach::Service };
    for route in routes().into_iter().filter(|route| route.class == Class::Local) {
        let mut denials = Vec::new();
        for presented in &all {
            let secret = presented.secret.as_deref();
            let near = Reply::of(request(&service, route.method, route.path, secret)).await;
            assert_eq!(near.status, StatusCode::OK, "{route:?} with {}", presented.name);
            let far = Reply::of(from_afar(&service, &route, route.path, secret)).await;
            let wanted = expected(needs, presented.key.as_ref(), own).unwrap_or(StatusCode::OK);
            assert_eq!(far.status, wanted, "{route:?} with {} from afar", presented.name);
            assert_eq!(far.header("cache-control"), Some("no-store"));
            if far.status == StatusCode::UNAUTHORIZED {
                denials.push(comparable(&far));
            }
        }
        assert_eq!(denials.len(), 6);
        assert!(denials.windows(2).all(|two| two[0] == two[1]), "{denials:?}");
        let with_key = format!("{}?api_key=1", route.path);
        let reply = Reply::of(from_afar(&service, &route, &with_key, None)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn metrics_are_for_everybody_or_nobody_where_the_settings_say_so() {
    for (metrics, wanted) in
        [(MetricsAccess::Open, StatusCode::OK), (MetricsAccess::Off, StatusCode::NOT_FOUND)]
    {
        let settings = HttpSettings { metrics, ..HttpSettings::default() };
        let service = Service::with(Setup { settings, ..Setup::default() }).await;
        let admin = service.add_key(1, &[Scope::Admin], None).await;
        let route = routes().into_iter().find(|route| route.path == "/metrics").unwrap();
        for secret in [None, Some(admin.as_str())] {
            let far = Reply::of(from_afar(&service, &route, "/metrics", secret)).await;
            let near = service.get("/metrics").await;
            assert_eq!((far.status, near.status), (wanted, wanted), "{metrics:?}");
        }
    }
}

#[tokio::test]
async fn a_public_route_takes_no_notice_of_keys() {
    let service = Service::start().await;
    for route in routes() {
        if route.class != Class::Public || route.method != "GET" || route.path.starts_with("/demo") {
            continue;
        }
        let path = path_of(&route, &key(1, &[], None).0, NO_JOB);
        let without = Reply::of(request(&service, "GET", &path, None)).await;
        let with = Reply::of(request(&service, "GET", &path, Some("lt_nonsense"))).await;
        assert_eq!((without.status, without.bytes), (with.status, with.bytes), "{path}");
    }
}

#[tokio::test]
async fn what_a_key_is_told_it_lacks_does_not_depend_on_what_is_there() {
    let service = Service::start().await;
    let secret = service.add_key(1, &[Scope::Ingest], None).await;
    let ask = async |path: &str| Reply::of(request(&service, "GET", path, Some(&secret))).await;
    let (there, absent) = (ask("/api/projects/demo").await, ask("/api/projects/nowhere").await);
    assert_eq!(there.status, StatusCode::FORBIDDEN);
    assert_eq!(comparable(&there), comparable(&absent));
}

#[tokio::test]
async fn a_revocation_beside_the_service_counts_within_two_seconds() {
    let service = Service::start().await;
    let (key, secret) = key(1, &[Scope::Read], None);
    service.store.create_key(&key).await.unwrap();
    let ask =
        async || Reply::of(request(&service, "GET", "/api/projects", Some(secret.reveal()))).await.status;
    assert_eq!(ask().await, StatusCode::OK);
    service.store.revoke_key(None, key.id, service.store.now()).await.unwrap();
    let counts = async { while ask().await == StatusCode::OK {} };
    tokio::time::timeout(Duration::from_secs(3), counts).await.expect("it counts in time");
}

#[tokio::test]
async fn when_a_key_was_used_is_noted() {
    let service = Service::start().await;
    let secret = service.add_key(1, &[Scope::Read], None).await;
    Reply::of(request(&service, "GET", "/api/projects", Some(&secret))).await;
    let asked_at = std::time::Instant::now();
    // It is written behind the answer.
    while service.store.keys(None, &Page::first(1)).await.unwrap()[0].last_used_at.is_none() {
        assert!(asked_at.elapsed() < Duration::from_secs(5));
        tokio::task::yield_now().await;
    }
}

/// Everything of a project that no other project's key may meet: its id, its slug, its pixels, its keys, its jobs
/// and leads.
async fn marks(service: &Service, project: ProjectId) -> BTreeSet<String> {
    let mut marks = BTreeSet::from([project.to_string()]);
    let found =
        service.store.project(project).await.expect("a memory store answers").expect("the project exists");
    marks.insert(found.slug.to_string());
    for pixel in service.store.pixels(project, &Page::first(100)).await.expect("a memory store answers") {
        marks.insert(pixel.id.to_string());
    }
    for key in service.store.keys(Some(project), &Page::first(100)).await.expect("a memory store answers") {
        marks.extend([key.id.to_string(), key.prefix]);
    }
    let jobs = service.store.jobs(project, &JobFilter::default(), 100).await.expect("a memory store answers");
    marks.extend(jobs.iter().flat_map(|job| [job.id.to_string(), job.lead_id.to_string()]));
    let all = ConversionFilter::default();
    let conversions = service.store.conversions(project, &all, 100).await.expect("a memory store answers");
    marks.extend(conversions.iter().flat_map(|one| [one.id.to_string(), one.visitor_id.to_string()]));
    marks
}

/// What a tenant of the fuzz sends.
#[derive(Clone, Debug)]
struct Probe {
    route: usize,
    bearer: usize,
    /// Which of the known ids stands in the path, and which in the body.
    ids: (usize, usize),
    body: usize,
    /// Which of the known ids a cursor is made of, if any.
    cursor: Option<usize>,
}

fn probe() -> impl Strategy<Value = Probe> {
    (
        0..1_000_usize,
        0..6_usize,
        (0..1_000_usize, 0..1_000_usize),
        0..6_usize,
        prop::option::of(0..1_000_usize),
    )
        .prop_map(|(route, bearer, ids, body, cursor)| Probe { route, bearer, ids, body, cursor })
}

fn body_of(kind: usize, id: &str) -> Value {
    match kind {
        0 => json!({"name": "n", "slug": id}),
        // Of ids only a pixel's can be chosen, so that only those of pixels are tried.
        1 if id.starts_with("pixel-") => json!({"name": "n", "id": id}),
        2 => json!({"name": "n", "scopes": ["read"], "project": id}),
        3 => json!({"name": "n", "settings": {}}),
        4 => json!({"name": "n", "project_id": id, "settings": {"x": id}}),
        _ => json!({"name": "n", "slug": "fuzzed", "settings": {"crm": {"enabled": false}}}),
    }
}

/// A tenant's key meets nothing of the other tenant, whatever it asks; what it sent itself is its own to hear again.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_to_a_tenant_holds_anything_of_another() {
    let service = Service::start().await;
    let own = service.add_project("tenant-a").await;
    let other = service.add_project("tenant-b").await;
    let (mut bearers, mut played) = (Vec::new(), BTreeSet::new());
    for (index, project) in [(1, own), (2, other)] {
        for pixel in ["one", "two"] {
            service.add_pixel_of(project, &format!("pixel-{index}-{pixel}")).await;
        }
        let was = service.store.project(project).await.unwrap().unwrap();
        let becomes = Project { settings: telling(), ..was.clone() };
        assert!(service.store.update_project(&was, &becomes).await.unwrap());
        service.add_job(project, &format!("pixel-{index}-one"), "a@x.example").await;
        for (offset, scope) in [(0, Scope::Admin), (1, Scope::Manage), (2, Scope::Read)] {
            let (key, secret) = key(index * 10 + offset, &[scope], Some(project));
            service.store.create_key(&key).await.unwrap();
            played.insert(key.id.to_string());
            bearers.push((project, secret.reveal().to_owned()));
        }
        service.add_key(index * 10 + 9, &[Scope::Read], Some(project)).await;
    }
    let private: Vec<RouteEntry> =
        routes().into_iter().filter(|route| route.class != Class::Public).collect();
    let runtime = tokio::runtime::Handle::current();
    // So many that enough are let in whatever chance brings: half as many once let in 99.
    let mut runner = TestRunner::new(Config { cases: 2_400, failure_persistence: None, ..Config::default() });
    let outcome = tokio::task::spawn_blocking(move || {
        let seen = std::cell::Cell::new(0_usize);
        let ran = runner.run(&probe(), |probe| {
            runtime.block_on(async {
                let route = private[probe.route % private.len()];
                let (project, secret) = &bearers[probe.bearer % bearers.len()];
                let foreign = marks(&service, if *project == own { other } else { own }).await;
                let known: Vec<String> =
                    foreign.iter().cloned().chain(marks(&service, *project).await).collect();
                let (in_path, in_body) =
                    (&known[probe.ids.0 % known.len()], &known[probe.ids.1 % known.len()]);
                // A tenant that revokes the keys it asks with would end the game.
                if route.method == "DELETE" && played.contains(in_path) {
                    return Ok(());
                }
                let mut path = route.path.replace("{id}", in_path);
                if let Some(cursor) = probe.cursor {
                    let digits = hexadecimal(&known[cursor % known.len()]);
                    path = format!("{path}?limit=1&cursor={digits}");
                }
                let method = Method::from_bytes(route.method.as_bytes()).unwrap();
                let body = body_of(probe.body, in_body);
                let before = everything(&service, if *project == own { other } else { own }).await;
                let mut request = service.request(method.clone(), &path).bearer_auth(secret);
                if [Method::POST, Method::PUT, Method::PATCH].contains(&method) {
                    request = request.json(&body);
                }
                let reply = Reply::of(request).await;
                let text = String::from_utf8_lossy(&reply.bytes).into_owned();
                prop_assert!(reply.status.as_u16() < 500, "{method} {path}: {text}");
                for mark in &foreign {
                    prop_assert!(!text.contains(mark.as_str()), "{method} {path} {body}: {mark} in {text}");
                }
                let after = everything(&service, if *project == own { other } else { own }).await;
                prop_assert_eq!(before, after, "{} {}", method, path);
                seen.set(seen.get() + usize::from(reply.status.is_success()));
                Ok(())
            })
        });
        (ran, seen.get())
    });
    let (ran, seen) = outcome.await.expect("the fuzz runs to its end");
    ran.expect("no answer holds anything of another tenant");
    assert!(seen >= 100, "only {seen} requests were let in");
}

fn hexadecimal(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("writing to a string does not fail");
        digits
    })
}

/// All that is stored of a project, but for when its keys were used.
async fn everything(service: &Service, project: ProjectId) -> String {
    let store = &service.store;
    let keys = store.keys(Some(project), &Page::first(1_000)).await.expect("a memory store answers");
    let keys: Vec<ApiKey> = keys.into_iter().map(|key| ApiKey { last_used_at: None, ..key }).collect();
    let pixels = store.pixels(project, &Page::first(1_000)).await.expect("a memory store answers");
    let jobs = store.jobs(project, &JobFilter::default(), 1_000).await.expect("a memory store answers");
    format!(
        "{:?} {pixels:?} {keys:?} {jobs:?}",
        store.project(project).await.expect("a memory store answers")
    )
}
