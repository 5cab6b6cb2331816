//! The description against the service: nothing is described that does not happen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream;
use leadtrail_domain::key::{KeySecret, Scope};
use leadtrail_domain::ports::{Clock as _, Keys as _, SyncJobs as _};
use leadtrail_http::{Class, HttpSettings, INPUT_BYTES_MAX, Limits, RouteEntry, openapi, routes};
use proptest::prelude::*;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::service::{Reply, Service, Setup, key, pageview, pageview_with, telling};

/// Method, path and status.
type Place = (&'static str, &'static str, u16);

/// A request that brings an answer about.
#[derive(Clone, Default)]
struct Scenario {
    /// With what stands in the path's braces, and the query.
    path: String,
    secret: Option<String>,
    headers: Vec<(&'static str, &'static str)>,
    body: Sent,
    store_is_down: bool,
    /// Sent twice to a service that answers each client once a day.
    is_one_too_many: bool,
}

#[derive(Clone, Default)]
enum Sent {
    #[default]
    Nothing,
    Text(&'static str, String),
    /// A body that begins and does not go on.
    Endless,
}

impl Sent {
    fn json(value: &Value) -> Self {
        Self::Text("application/json", value.to_string())
    }
}

impl Scenario {
    fn at(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    fn by(self, secret: &str) -> Self {
        Self { secret: Some(secret.to_owned()), ..self }
    }

    fn sending(self, body: Sent) -> Self {
        Self { body, ..self }
    }

    fn with(self, name: &'static str, value: &'static str) -> Self {
        Self { headers: vec![(name, value)], ..self }
    }

    fn while_the_store_is_down(self) -> Self {
        Self { store_is_down: true, ..self }
    }

    fn one_too_many(self) -> Self {
        Self { is_one_too_many: true, ..self }
    }

    /// As somebody from elsewhere asks.
    fn seen_from_afar(self) -> Self {
        self.with("x-forwarded-for", "203.0.113.9")
    }

    async fn ask(&self, service: &Service, method: &str) -> Reply {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = service.request(method, &self.path);
        if let Some(secret) = &self.secret {
            request = request.bearer_auth(secret);
        }
        let named = self
            .headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        // They take the place of the fixture's own.
        request = request.headers(named.collect::<HeaderMap>());
        request = match &self.body {
            Sent::Nothing => request,
            Sent::Text(kind, text) => request.header("content-type", *kind).body(text.clone()),
            Sent::Endless => {
                let begun = stream::iter([Ok::<_, std::io::Error>("{")]);
                let body = reqwest::Body::wrap_stream(futures::StreamExt::chain(begun, stream::pending()));
                request.header("content-type", "application/json").body(body)
            }
        };
        service.store.set_unavailable(self.store_is_down);
        let reply = Reply::of(request).await;
        service.store.set_unavailable(false);
        reply
    }
}

/// A service that answers each client once a day, with the key of the scenarios.
async fn strict() -> Service {
    let once: Option<leadtrail_http::Rate> = "1/d".parse().ok();
    let limits = Limits {
        tracking: once,
        reading: once,
        managing: once,
        form_reserve: None,
        failed_authentications: once,
    };
    let settings = HttpSettings { limits, ..HttpSettings::default() };
    let service = Service::with(Setup { settings, ..Setup::default() }).await;
    service.add_key(1, &[Scope::Admin], None).await;
    service
}

/// A service whose every thing is there twice: as what the scenarios only look at, and as what they change.
struct World {
    service: Service,
    strict: Service,
    admin: String,
    weak: String,
    key_id: String,
    /// A sync job that waits, and one that is being worked on.
    job: String,
    worked_on: String,
}

impl World {
    async fn new() -> Self {
        let settings = HttpSettings { body_timeout: Duration::from_millis(300), ..HttpSettings::default() };
        let service = Service::with(Setup { settings, project: telling(), ..Setup::default() }).await;
        let worked_on = service.add_job(service.project, "demo", "a@x.example").await;
        let later = service.store.now().plus(Duration::from_hours(1));
        for due in service.store.due_queues(later).await.expect("a memory store answers") {
            let claimed = service.store.claim(&due.queue, later, Duration::from_hours(1), 1).await;
            assert_eq!(claimed.expect("a memory store answers").len(), 1);
        }
        let job = service.add_job(service.project, "demo", "b@x.example").await;
        let admin = service.add_key(1, &[Scope::Admin], None).await;
        let weak = service.add_key(2, &[Scope::Ingest], None).await;
        let (other, _secret) = key(3, &[Scope::Read], Some(service.project));
        service.store.create_key(&other).await.expect("a memory store takes a key");
        service.add_project("changed").await;
        service.add_pixel("changed").await;
        let strict = strict().await;
        let world = Self {
            service,
            strict,
            admin,
            weak,
            key_id: other.id.to_string(),
            job: job.to_string(),
            worked_on: worked_on.to_string(),
        };
        let listed = json!({"id": "listed", "name": "Listed", "settings": {"origins": ["only.example"]}});
        let made = Scenario::at("/api/projects/demo/pixels").by(&world.admin).sending(Sent::json(&listed));
        assert_eq!(made.ask(&world.service, "POST").await.status, StatusCode::CREATED);
        world
    }

    /// What a route names, there.
    fn there(&self, path: &str, id: &str) -> String {
        let id = match path {
            path if path.starts_with("/api/keys") => &self.key_id,
            path if path.starts_with("/api/sync/jobs") => &self.job,
            _ => id,
        };
        path.replace("{id}", id)
    }

    /// Every described answer with a request that brings it about.
    fn scenarios(&self) -> BTreeMap<Place, Scenario> {
        let mut all = BTreeMap::new();
        self.of_classes(&mut all);
        of_collecting(&mut all);
        self.of_sync(&mut all);
        self.of_managing(&mut all);
        of_pages(&mut all);
        all
    }

    /// Those that follow from a route's class.
    fn of_classes(&self, all: &mut BTreeMap<Place, Scenario>) {
        for route in routes() {
            let mut add = |status: u16, scenario: Scenario| {
                all.insert((route.method, route.path, status), scenario);
            };
            let there = Scenario::at(&self.there(route.path, "demo"));
            let needs = match route.class {
                Class::Public => continue,
                Class::Local => {
                    let afar = there.seen_from_afar();
                    add(200, Scenario::at(route.path));
                    add(400, Scenario { path: format!("{}?api_key=x", route.path), ..afar.clone() });
                    add(401, afar.clone());
                    add(403, afar.clone().by(&self.weak));
                    add(429, afar.clone().one_too_many());
                    // One that is known is remembered for a moment.
                    let unknown = KeySecret::new([250; 32]);
                    add(503, afar.by(unknown.reveal()).while_the_store_is_down());
                    continue;
                }
                Class::Key(needs) => needs,
            };
            add(400, Scenario::at(&format!("{}?api_key=x", there.path)).by(&self.admin));
            add(401, there.clone());
            add(403, there.clone().by(&self.weak));
            add(429, there.clone().by(&self.admin).one_too_many());
            if needs.reach == leadtrail_http::Reach::Named {
                let has_uuid =
                    ["/api/keys", "/api/sync/jobs"].iter().any(|start| route.path.starts_with(start));
                let nowhere = if has_uuid { "00000000-0000-7000-8000-000000000000" } else { "nowhere" };
                add(404, Scenario::at(&route.path.replace("{id}", nowhere)).by(&self.admin));
            }
            if takes_a_body(&route) {
                let there = there.by(&self.admin);
                let large = json!({"name": "x".repeat(INPUT_BYTES_MAX)});
                add(408, there.clone().sending(Sent::Endless));
                add(413, there.clone().sending(Sent::json(&large)));
                add(415, there.clone().sending(Sent::Text("text/plain", "{}".to_owned())));
                add(422, there.sending(Sent::json(&json!({"no such field": 1}))));
            }
        }
    }

    /// In the order in which they are asked a job is held, replayed and skipped.
    fn of_sync(&self, all: &mut BTreeMap<Place, Scenario>) {
        let mut add = |method, path, status, at: String| {
            all.insert((method, path, status), Scenario::at(&at).by(&self.admin));
        };
        let (jobs, job) = ("/api/sync/jobs", "/api/sync/jobs/{id}");
        add("GET", jobs, 200, format!("{jobs}?project=demo&status=pending&email=a%40x.example"));
        add("GET", jobs, 422, format!("{jobs}?project=demo&status=nonsense"));
        add("GET", job, 200, self.there(job, ""));
        for path in ["/api/sync/jobs/{id}/hold", "/api/sync/jobs/{id}/skip"] {
            add("POST", path, 200, self.there(path, ""));
            // What is held or skipped already is in no state for it.
            add("POST", path, 409, self.there(path, ""));
        }
        let replay = "/api/sync/jobs/{id}/replay";
        add("POST", replay, 200, self.there(replay, ""));
        add("POST", replay, 409, replay.replace("{id}", &self.worked_on));
        for path in ["/api/sync/health", "/api/crm/verify"] {
            add("GET", path, 200, format!("{path}?project=demo"));
            add("GET", path, 422, format!("{path}?project=nowhere"));
        }
        let hygiene = "/api/analytics/debug/utm-analysis";
        add("GET", hygiene, 200, format!("{hygiene}?project=demo&days=7"));
        add("GET", hygiene, 422, format!("{hygiene}?project=demo&days=0"));
        let conversions = "/api/conversions";
        add("GET", conversions, 200, format!("{conversions}?project=demo&name=Form"));
        add("GET", conversions, 422, format!("{conversions}?project=demo&since=yesterday"));
        let why = "/api/why";
        add("GET", why, 200, format!("{why}?project=demo&email=a%40x.example"));
        add("GET", why, 422, format!("{why}?project=demo"));
        let connection = "/api/projects/{id}/connection";
        add("GET", connection, 200, self.there(connection, "demo"));
        add("DELETE", connection, 200, self.there(connection, "changed"));
        let set = json!({"kind": "sandbox", "base_url": "acme", "api_token": "not-a-real-token"});
        let put = Scenario::at(&self.there(connection, "changed")).by(&self.admin).sending(Sent::json(&set));
        all.insert(("PUT", connection, 200), put);
    }

    fn of_managing(&self, all: &mut BTreeMap<Place, Scenario>) {
        for path in ["/api/projects", "/api/projects/{id}/pixels", "/api/keys"] {
            let list = self.there(path, "demo");
            all.insert(("GET", path, 200), Scenario::at(&list).by(&self.admin));
            all.insert(("GET", path, 422), Scenario::at(&format!("{list}?limit=0")).by(&self.admin));
        }
        let (project, pixel) = ("/api/projects/{id}", "/api/projects/pixels/{id}");
        let pixels = "/api/projects/{id}/pixels";
        for (place, id, body) in [
            (("POST", "/api/projects", 200), "", json!({"name": "Demo", "slug": "demo"})),
            (("POST", "/api/projects", 201), "", json!({"name": "New"})),
            (("PUT", project, 200), "changed", json!({"name": "Put", "slug": "changed"})),
            (("PUT", project, 409), "changed", json!({"name": "Put", "slug": "demo"})),
            (("PATCH", project, 200), "changed", json!({"settings": {"retention_days": 30.0, "crm": null}})),
            (("PATCH", project, 409), "changed", json!({"slug": "demo"})),
            (("POST", pixels, 200), "demo", json!({"name": "Demo", "id": "demo"})),
            (("POST", pixels, 201), "demo", json!({"name": "New", "settings": {"form_fields": ["phone"]}})),
            (("POST", pixels, 409), "changed", json!({"name": "Mine", "id": "demo"})),
            (("POST", "/api/pixels/{id}/check", 200), "demo", json!({"url": "https://www.example.com/"})),
            (("PUT", pixel, 200), "changed", json!({"name": "Put"})),
            (("PATCH", pixel, 200), "changed", json!({"settings": {"origins": ["*.example.com"]}})),
            (
                ("POST", "/api/keys", 201),
                "",
                json!({"name": "k", "scopes": ["read", "sync"], "project": "demo"}),
            ),
        ] {
            let scenario = Scenario::at(&self.there(place.1, id)).by(&self.admin);
            all.insert(place, scenario.sending(Sent::json(&body)));
        }
        for (method, path) in [
            ("GET", project),
            ("GET", pixel),
            ("GET", "/api/pixels/{id}/snippet"),
            ("GET", "/api/keys/{id}"),
            ("DELETE", project),
            ("DELETE", pixel),
            ("DELETE", "/api/keys/{id}"),
        ] {
            let scenario = Scenario::at(&self.there(path, "changed")).by(&self.admin);
            all.insert((method, path, 200), scenario);
        }
        // What is done while the store answers cannot be done while it does not.
        let done: Vec<(Place, Scenario)> = all
            .iter()
            .filter(|((_method, path, status), scenario)| {
                *status < 300 && scenario.secret.is_some() && !path.starts_with("/api/track")
            })
            .map(|(place, scenario)| (*place, scenario.clone()))
            .collect();
        for ((method, path, _status), scenario) in done {
            all.insert((method, path, 503), scenario.while_the_store_is_down());
        }
    }
}

fn takes_a_body(route: &RouteEntry) -> bool {
    let operation = &openapi()["paths"][route.path][route.method.to_lowercase()];
    operation["requestBody"].is_object()
}

/// Those of what the pixel sends.
fn of_collecting(all: &mut BTreeMap<Place, Scenario>) {
    for path in ["/api/track", "/api/track/track"] {
        let mut add = |method, status: u16, scenario| all.insert((method, path, status), scenario);
        let event = Scenario::at(path).sending(Sent::json(&pageview()));
        let large = "x".repeat(leadtrail_http::EVENT_BYTES_MAX);
        add("POST", 200, event.clone());
        add("POST", 204, event.clone().with("user-agent", "Googlebot/2.1 (+http://www.google.com/bot.html)"));
        add("POST", 400, Scenario::at(path).sending(Sent::json(&json!({}))));
        add("POST", 403, event.clone().sending(Sent::json(&pageview_with(json!({"pixel_id": "listed"})))));
        add("POST", 408, Scenario::at(path).sending(Sent::Endless));
        add("POST", 413, event.clone().sending(Sent::json(&pageview_with(json!({"page_title": large})))));
        add("POST", 415, event.clone().sending(Sent::Text("application/xml", String::new())));
        add("POST", 429, event.clone().one_too_many());
        add("POST", 503, event.while_the_store_is_down());
        add("OPTIONS", 204, Scenario::at(path).with("origin", "https://www.example.com"));
    }
    let gif = "/api/track/pixel.gif";
    let query = "?pixel_id=demo&page_url=https%3A%2F%2Fwww.example.com%2F";
    all.insert(("GET", gif, 200), Scenario::at(&format!("{gif}{query}")));
}

/// Those of what browsers load and monitors ask.
fn of_pages(all: &mut BTreeMap<Place, Scenario>) {
    for (path, at) in [
        ("/", "/"),
        ("/docs", "/docs"),
        ("/px.js", "/px.js"),
        ("/px-plus.js", "/px-plus.js"),
        ("/static/px-plus.js", "/static/px-plus.js"),
        ("/static/pixel.{hash}.js", "/static/pixel.src.js"),
        ("/static/px-plus.{hash}.js", "/static/px-plus.src.js"),
        ("/api/openapi.json", "/api/openapi.json"),
        ("/static/pixel.js", "/static/pixel.js"),
        ("/static/{name}", "/static/index.css"),
        ("/static/docs/{name}", "/static/docs/docs.js"),
    ] {
        all.insert(("GET", path, 200), Scenario::at(at));
        if path != "/" {
            all.insert(("GET", path, 304), Scenario::at(at).with("if-none-match", "*"));
        }
        if path.contains('{') {
            let nothing = path.replace("{name}", "nothing").replace("{hash}", "0123456789abcdef");
            all.insert(("GET", path, 404), Scenario::at(&nothing));
        }
    }
    all.insert(("GET", "/health/live", 200), Scenario::at("/health/live"));
    for path in ["/health", "/health/ready"] {
        all.insert(("GET", path, 200), Scenario::at(path));
        all.insert(("GET", path, 503), Scenario::at(path).while_the_store_is_down());
    }
}

/// Every described answer by its place.
fn answers(description: &Value) -> BTreeMap<(String, String, u16), &Value> {
    let mut all = BTreeMap::new();
    for (path, item) in description["paths"].as_object().expect("paths are an object") {
        for (method, operation) in item.as_object().expect("a path is an object") {
            for (status, answer) in operation["responses"].as_object().expect("answers are an object") {
                let status = status.parse().expect("a status is a number");
                all.insert((method.to_uppercase(), path.clone(), status), answer);
            }
        }
    }
    all
}

/// A schema with all that it may refer to.
fn whole(schema: &Value, description: &Value) -> Value {
    json!({"allOf": [schema], "components": description["components"]})
}

/// What of a reply is not as it is described.
fn differences(reply: &Reply, answer: &Value, description: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (name, header) in answer["headers"].as_object().expect("headers are an object") {
        let reference = header["$ref"].as_str().expect("headers are referred to");
        let header = description.pointer(&reference[1..]).expect("the header is described");
        let sent = reply.headers.get(name).map(|value| value.to_str().expect("an ASCII header"));
        let Some(sent) = sent else {
            found.push(format!("no {name}"));
            continue;
        };
        // Digits may be a number or a text: one request id in two thousand has no letters.
        let read = [Some(Value::from(sent)), sent.parse::<u64>().ok().map(Value::from)];
        if !read.iter().flatten().any(|value| jsonschema::is_valid(&header["schema"], value)) {
            found.push(format!("{name}: {sent}"));
        }
    }
    let content_type = reply.header("content-type").map(|kind| kind.split(';').next().unwrap_or_default());
    match (answer["content"].as_object(), content_type) {
        (None, None) if reply.bytes.is_empty() => {}
        (Some(content), Some(kind)) if content.contains_key(kind) => {
            if let Some(schema) = content[kind].get("schema") {
                let validator = jsonschema::draft202012::options()
                    .should_validate_formats(true)
                    .build(&whole(schema, description))
                    .expect("the schema is one");
                let body = reply.json();
                found.extend(
                    validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())),
                );
            }
        }
        (described, sent) => found.push(format!("{sent:?} instead of {described:?}")),
    }
    found
}

#[tokio::test]
async fn every_described_answer_occurs_as_it_is_described_and_no_other() {
    let world = World::new().await;
    let description = openapi();
    let answers = answers(&description);
    let scenarios = world.scenarios();
    let named = |(method, path, status): &Place| ((*method).to_owned(), (*path).to_owned(), *status);
    let brought_about: BTreeSet<_> = scenarios.keys().map(named).collect();
    let described: BTreeSet<_> = answers.keys().cloned().collect();
    let alone: Vec<_> = described.symmetric_difference(&brought_about).collect();
    assert!(alone.is_empty(), "described without a scenario, or the other way round: {alone:?}");
    for (place, scenario) in &scenarios {
        let reply = if scenario.is_one_too_many {
            scenario.ask(&world.strict, place.0).await;
            scenario.ask(&world.strict, place.0).await
        } else {
            scenario.ask(&world.service, place.0).await
        };
        assert_eq!(reply.status.as_u16(), place.2, "{place:?}: {reply:?}");
        let differences = differences(&reply, answers[&named(place)], &description);
        assert!(differences.is_empty(), "{place:?}: {differences:#?} in {reply:?}");
    }
}

#[test]
fn every_route_is_described_with_its_class_and_no_other_is() {
    let description = openapi();
    let (mut described, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert((method.to_uppercase(), path.clone()));
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
            let braces: Vec<&str> =
                path.split('{').skip(1).filter_map(|part| part.split('}').next()).collect();
            let empty = Vec::new();
            let in_path = operation["parameters"].as_array().unwrap_or(&empty).iter();
            let in_path = in_path.filter(|one| one["in"] == "path").map(|one| one["name"].as_str().unwrap());
            assert_eq!(in_path.collect::<Vec<_>>(), braces, "{method} {path}");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
        }
    }
    let mut existing = BTreeSet::new();
    for route in routes().into_iter().filter(|route| !route.path.starts_with("/demo")) {
        existing.insert((route.method.to_owned(), route.path.to_owned()));
        let operation = &description["paths"][route.path][route.method.to_lowercase()];
        match route.class {
            Class::Public => assert_eq!(operation["security"], json!([]), "{route:?}"),
            Class::Local => assert_eq!(operation["security"][0], json!({}), "{route:?}"),
            Class::Key(needs) => {
                let scopes: Vec<&str> = needs.scopes.iter().map(|scope| scope.as_str()).collect();
                assert_eq!(operation["x-leadtrail-scopes"], json!(scopes), "{route:?}");
                assert_eq!(operation["security"], json!([{"bearer": []}, {"header": []}]), "{route:?}");
            }
        }
    }
    assert_eq!(described, existing);
}

#[test]
fn every_schema_is_one_and_every_reference_leads_somewhere() {
    let description = openapi();
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (name, schema) in description["components"]["schemas"].as_object().unwrap() {
        let whole = whole(schema, &description);
        assert!(jsonschema::draft202012::meta::is_valid(schema), "{name}");
        assert!(jsonschema::draft202012::new(&whole).is_ok(), "{name}");
    }
    references_lead_somewhere(&description, &description);
}

fn references_lead_somewhere(value: &Value, description: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                assert!(description.pointer(&reference[1..]).is_some(), "{reference}");
            }
            fields.values().for_each(|field| references_lead_somewhere(field, description));
        }
        Value::Array(items) => items.iter().for_each(|item| references_lead_somewhere(item, description)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What a body's schema says of an input.
fn takes(name: &str, input: &Value) -> bool {
    let description = openapi();
    let schema = &description["components"]["schemas"][name];
    jsonschema::draft202012::new(&whole(schema, &description)).expect("the schema is one").is_valid(input)
}

#[test]
fn a_schema_takes_what_the_service_takes_and_refuses_what_it_refuses() {
    for (name, input, taken) in [
        ("NewProject", json!({"name": "Acme"}), true),
        ("NewProject", json!({"name": "日本"}), false),
        ("NewProject", json!({"name": "日本", "slug": "japan"}), true),
        ("NewProject", json!({"slug": "acme"}), false),
        ("NewProject", json!({"name": " \u{7}", "slug": "acme"}), false),
        ("NewProject", json!({"name": "x".repeat(201)}), false),
        ("NewProject", json!({"name": "Acme", "slug": "pixels"}), false),
        ("NewProject", json!({"name": "Acme", "nonsense": 1}), false),
        ("NewProject", json!({"name": "Acme", "settings": null}), true),
        ("ProjectReplacement", json!({"name": "Acme"}), false),
        ("ProjectChange", json!({}), true),
        ("ProjectChange", json!({"name": null}), false),
        (
            "ProjectChange",
            json!({"settings": {"crm": null, "retention_days": null, "time_zone": null}}),
            true,
        ),
        ("ProjectChange", json!({"settings": {"retention_days": 0}}), false),
        ("ProjectChange", json!({"settings": {"conversions": {"A": {"event": "x", "value": 1.5}}}}), true),
        ("ProjectChange", json!({"settings": {"conversions": {"A": {"page": "a.example/*"}}}}), true),
        ("ProjectChange", json!({"settings": {"conversions": {"A": {"event": "pageview"}}}}), false),
        ("ProjectChange", json!({"settings": {"conversions": {"A": {"value": 1}}}}), false),
        ("ProjectChange", json!({"settings": {"conversions": {"A": {"page": "thanks"}}}}), false),
        ("ProjectChange", json!({"settings": {"conversions": {" A": {"page": "/"}}}}), false),
        ("ProjectChange", json!({"settings": {"time_zone": "Mars"}}), false),
        ("ProjectChange", json!({"settings": {"sync_delay": "1h30m"}}), true),
        ("ProjectChange", json!({"settings": {"sync_delay": "soon"}}), false),
        (
            "ProjectChange",
            json!({"settings": {"attribution": {"lookback": "90d", "half_life": "12h"}}}),
            true,
        ),
        (
            "ProjectChange",
            json!({"settings": {"attribution": {"lookback": "3653d", "half_life": null}}}),
            true,
        ),
        ("ProjectChange", json!({"settings": {"attribution": {"lookback": "0d"}}}), false),
        ("ProjectChange", json!({"settings": {"attribution": {"half_life": "0s"}}}), false),
        ("ProjectChange", json!({"settings": {"attribution": {"window": "1d"}}}), false),
        (
            "ProjectChange",
            json!({"settings": {"crm": {"mapping": {"utm_source": {"field": "Source"}}}}}),
            true,
        ),
        ("ProjectChange", json!({"settings": {"crm": {"mapping": {"utm_source": null}}}}), true),
        ("ProjectChange", json!({"settings": {"crm": {"mapping": {"email": {}}}}}), false),
        ("ProjectChange", json!({"settings": {"crm": {"mapping": {"utm_source": {"field": " x"}}}}}), false),
        ("ProjectChange", json!({"settings": {"ignore_referrers": ["bücher.example", "[::1]"]}}), true),
        ("ProjectChange", json!({"settings": {"ignore_referrers": ["https://a.example"]}}), false),
        ("PixelChange", json!({"settings": {"origins": ["*.a.example", "localhost"]}}), true),
        ("PixelChange", json!({"settings": {"origins": ["a.example/x"]}}), false),
        ("PixelChange", json!({"settings": {"form_fields": ["phone\u{0}"]}}), false),
        ("NewKey", json!({"name": "k", "scopes": []}), false),
        (
            "NewKey",
            json!({"name": "k", "scopes": ["read", "read"], "project": null, "expires_at": null}),
            true,
        ),
        ("NewKey", json!({"name": "k", "scopes": ["root"]}), false),
        ("Message", json!({"pixel_id": "p", "page_url": "https://a.example/", "anything": [1]}), true),
        ("Message", json!({"batch": [{"pixel_id": "p", "page_url": "https://a.example/"}]}), true),
        ("Message", json!({}), false),
    ] {
        assert_eq!(takes(name, &input), taken, "{name}: {input}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_length_of_time_that_the_schema_allows_is_read(text in length_of_time()) {
        prop_assert!(text.len() < 2 || text.parse::<leadtrail_domain::time::Span>().is_ok(), "{}", text);
    }
}

fn length_of_time() -> impl Strategy<Value = String> {
    let description = openapi();
    let pattern = description["components"]["schemas"]["Span"]["pattern"].as_str().expect("a pattern");
    proptest::string::string_regex(pattern.trim_matches(['^', '$'])).expect("a pattern that proptest reads")
}

#[tokio::test]
async fn the_description_is_asked_for_by_its_tag_and_the_page_that_shows_it_forbids_all_but_its_own() {
    let service = Service::start().await;
    let reply = service.get("/api/openapi.json").await;
    assert_eq!(reply.json(), openapi());
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
    let tag = reply.header("etag").unwrap();
    let again =
        Reply::of(service.request(Method::GET, "/api/openapi.json").header("if-none-match", tag)).await;
    assert_eq!((again.status, again.bytes.len()), (StatusCode::NOT_MODIFIED, 0));
    let page = service.get("/docs").await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
}
