//! Projects, pixels and keys as their managers meet them.

use leadtrail_domain::key::Scope;
use leadtrail_domain::ports::{Keys as _, Projects as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::service::{Reply, Service};

/// What is asked with one key.
struct Bearer<'s> {
    service: &'s Service,
    secret: String,
}

impl<'s> Bearer<'s> {
    async fn admin(service: &'s Service) -> Self {
        Self { service, secret: service.add_key(1, &[Scope::Admin], None).await }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let request = self.service.request(method, path).bearer_auth(&self.secret);
        Reply::of(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    async fn get(&self, path: &str) -> Value {
        let reply = self.ask(Method::GET, path, None).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        reply.json()
    }

    async fn send(&self, method: Method, path: &str, body: Value, status: StatusCode) -> Value {
        let reply = self.ask(method.clone(), path, Some(body)).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", String::from_utf8_lossy(&reply.bytes));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        reply.json()
    }
}

/// The fields that a problem document names, sorted.
fn named(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().expect("the errors are a list");
    let mut fields: Vec<&str> = errors.iter().map(|one| one["field"].as_str().expect("a name")).collect();
    fields.sort_unstable();
    fields
}

#[tokio::test]
async fn a_project_is_created_once_shown_changed_and_archived() {
    let service = Service::start().await;
    let admin = Bearer::admin(&service).await;
    let input = json!({"name": " Acme\u{7} GmbH ", "settings": {"time_zone": "Europe/Berlin"}});
    let made = admin.send(Method::POST, "/api/projects", input.clone(), StatusCode::CREATED).await;
    assert_eq!((&made["slug"], &made["name"]), (&json!("acme-gmbh"), &json!("Acme GmbH")));
    assert_eq!(made["settings"]["time_zone"], "Europe/Berlin");
    let again = admin.send(Method::POST, "/api/projects", json!({"name": "Acme GmbH"}), StatusCode::OK).await;
    assert_eq!(again, made);

    let by_id = format!("/api/projects/{}", made["id"].as_str().unwrap());
    assert_eq!(admin.get(&by_id).await, made);
    assert_eq!(admin.get("/api/projects/acme-gmbh").await, made);

    let patch = json!({"settings": {"retention_days": 30, "crm": {"enabled": false}}});
    let patched = admin.send(Method::PATCH, &by_id, patch, StatusCode::OK).await;
    assert_eq!(patched["settings"]["retention_days"], 30);
    assert_eq!(patched["settings"]["time_zone"], "Europe/Berlin");
    let back = json!({"settings": {"retention_days": null}, "slug": "acme"});
    let patched = admin.send(Method::PATCH, &by_id, back, StatusCode::OK).await;
    assert_eq!((&patched["settings"]["retention_days"], &patched["slug"]), (&Value::Null, &json!("acme")));

    let models = json!({"settings": {"attribution": {"lookback": "36h"}}});
    let patched = admin.send(Method::PATCH, &by_id, models, StatusCode::OK).await;
    assert_eq!(patched["settings"]["attribution"], json!({"lookback": "1d12h", "half_life": "7d"}));
    let models = json!({"settings": {"attribution": {"lookback": "1h", "half_life": "0s"}}});
    let refused = admin.send(Method::PATCH, &by_id, models, StatusCode::UNPROCESSABLE_ENTITY).await;
    let fields: Vec<&Value> = refused["errors"].as_array().unwrap().iter().map(|one| &one["field"]).collect();
    assert_eq!(fields, ["settings.attribution.lookback", "settings.attribution.half_life"]);

    let whole = json!({"name": "Acme", "slug": "acme", "settings": {"consent": "required"}});
    let put = admin.send(Method::PUT, &by_id, whole, StatusCode::OK).await;
    assert_eq!(
        (&put["settings"]["consent"], &put["settings"]["time_zone"]),
        (&json!("required"), &json!("UTC"))
    );
    assert_eq!(put["created_at"], made["created_at"]);
    assert_eq!(admin.get(&by_id).await, put);

    let archived = admin.ask(Method::DELETE, &by_id, None).await.json();
    assert!(archived["archived_at"].is_string());
    assert_eq!(admin.ask(Method::DELETE, &by_id, None).await.json(), archived);
    assert_eq!(admin.get(&by_id).await, archived);
}

#[tokio::test]
async fn a_pixel_is_created_once_shown_changed_and_archived() {
    let service = Service::start().await;
    let admin = Bearer::admin(&service).await;
    let list = "/api/projects/demo/pixels";
    let input = json!({"id": "site", "name": "Site", "settings": {"origins": ["*.Acme.example"]}});
    let made = admin.send(Method::POST, list, input.clone(), StatusCode::CREATED).await;
    assert_eq!(made["settings"]["origins"], json!(["*.acme.example"]));
    assert_eq!(admin.send(Method::POST, list, input, StatusCode::OK).await, made);
    let path = "/api/projects/pixels/site";
    assert_eq!(admin.get(path).await, made);
    let snippet = admin.get("/api/pixels/site/snippet").await["snippet"].clone();
    assert_eq!(snippet, made["snippet"]);
    let base = format!("http://{}/static/pixel.js", service.address);
    assert!(snippet.as_str().unwrap().contains(&base), "{snippet}");
    let requires_consent = json!({"settings": {"consent": "required"}});
    admin.send(Method::PATCH, "/api/projects/demo", requires_consent, StatusCode::OK).await;
    for (path, place) in [
        ("/api/pixels/site/snippet", "/snippet"),
        ("/api/projects/pixels/site", "/snippet"),
        ("/api/projects/demo/pixels", "/data/0/snippet"),
    ] {
        let shown = admin.get(path).await;
        let snippet = shown.pointer(place).and_then(Value::as_str).expect("a snippet");
        assert!(snippet.contains(r#" data-consent="required""#), "{path}: {snippet}");
    }
    let default = json!({"settings": {"consent": null}});
    admin.send(Method::PATCH, "/api/projects/demo", default, StatusCode::OK).await;

    let change = json!({"name": "Shop", "settings": {"form_fields": [" Phone "]}});
    let patched = admin.send(Method::PATCH, path, change, StatusCode::OK).await;
    assert_eq!(patched["settings"], json!({"origins": ["*.acme.example"], "form_fields": ["phone"]}));
    let put = admin.send(Method::PUT, path, json!({"name": "Shop"}), StatusCode::OK).await;
    assert_eq!(put["settings"], json!({"origins": [], "form_fields": []}));
    let archived = admin.ask(Method::DELETE, path, None).await.json();
    assert!(archived["archived_at"].is_string());
    assert_eq!(admin.ask(Method::DELETE, path, None).await.json(), archived);

    let drawn = admin.send(Method::POST, list, json!({"name": "Drawn"}), StatusCode::CREATED).await;
    assert!(drawn["id"].as_str().unwrap().starts_with("px_"));
}

#[tokio::test]
async fn a_key_opens_until_it_is_revoked_and_its_secret_is_shown_once() {
    let service = Service::start().await;
    let admin = Bearer::admin(&service).await;
    let input = json!({"name": "reports", "scopes": ["read"], "project": "demo", "expires_at": "2999-01-01T00:00:00Z"});
    let made = admin.send(Method::POST, "/api/keys", input, StatusCode::CREATED).await;
    let secret = made["key"].as_str().unwrap().to_owned();
    assert_eq!(made["project_id"], service.project.to_string());
    let reader = Bearer { service: &service, secret: secret.clone() };
    reader.get("/api/projects").await;

    let path = format!("/api/keys/{}", made["id"].as_str().unwrap());
    for reply in [admin.ask(Method::GET, &path, None).await, admin.ask(Method::GET, "/api/keys", None).await]
    {
        let text = String::from_utf8(reply.bytes).unwrap();
        assert!(
            text.contains(&secret[..10]) && !text.contains(&secret[..20]) && !text.contains("hash"),
            "{text}"
        );
    }
    let revoked = admin.ask(Method::DELETE, &path, None).await.json();
    assert!(revoked["revoked_at"].is_string() && revoked["key"].is_null());
    assert_eq!(reader.ask(Method::GET, "/api/projects", None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(admin.ask(Method::DELETE, &path, None).await.json()["revoked_at"], revoked["revoked_at"]);
}

#[tokio::test]
async fn a_key_bound_to_a_project_makes_keys_for_that_project_alone() {
    let service = Service::start().await;
    let other = service.add_project("other").await;
    let own = service.add_key(2, &[Scope::Admin], Some(service.project)).await;
    let bound = Bearer { service: &service, secret: own };
    let scopes = json!({"name": "k", "scopes": ["read"]});
    let made = bound.send(Method::POST, "/api/keys", scopes, StatusCode::CREATED).await;
    assert_eq!(made["project_id"], service.project.to_string());
    let foreign = json!({"name": "k", "scopes": ["read"], "project": other.to_string()});
    let absent = json!({"name": "k", "scopes": ["read"], "project": "nowhere"});
    let mut answers = Vec::new();
    for input in [foreign, json!({"name": "k", "scopes": ["read"], "project": "other"}), absent] {
        let mut answer = bound.send(Method::POST, "/api/keys", input, StatusCode::UNPROCESSABLE_ENTITY).await;
        assert_eq!(named(&answer), ["project"]);
        answer["request_id"] = Value::Null;
        answers.push(answer);
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]), "{answers:?}");

    let slug = json!({"slug": "other"});
    let refused =
        bound.send(Method::PATCH, "/api/projects/demo", slug, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(named(&refused), ["slug"]);
    // Among the service's connections may be other clients'.
    let account = |name: &str| json!({"settings": {"crm": {"account": name}}});
    let others = account("another-client");
    let refused =
        bound.send(Method::PATCH, "/api/projects/demo", others, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(named(&refused), ["settings.crm.account"]);
    bound.send(Method::PATCH, "/api/projects/demo", account("own"), StatusCode::OK).await;
}

#[tokio::test]
async fn every_problem_of_an_input_is_named_and_nothing_is_changed() {
    let service = Service::start().await;
    let admin = Bearer::admin(&service).await;
    let before = admin.get("/api/projects/demo").await;
    let settings =
        json!({"nonsense": 1, "time_zone": "Mars", "crm": {"on_many": "none", "mapping": {"email": {}}}});
    let bad = json!({"name": 7, "slug": "a b", "id": "x", "settings": settings.clone()});
    for (method, path) in [
        (Method::POST, "/api/projects"),
        (Method::PUT, "/api/projects/demo"),
        (Method::PATCH, "/api/projects/demo"),
    ] {
        let answer = admin.send(method, path, bad.clone(), StatusCode::UNPROCESSABLE_ENTITY).await;
        assert_eq!(
            named(&answer),
            [
                "id",
                "name",
                "settings.crm.mapping.email",
                "settings.crm.on_many",
                "settings.nonsense",
                "settings.time_zone",
                "slug"
            ]
        );
        assert_eq!(answer["status"], 422);
    }
    for (bad, fields) in [
        (json!({"name": "", "slug": "pixels"}), vec!["name", "slug"]),
        (json!({"name": "x".repeat(201), "settings": 7}), vec!["name", "settings"]),
        (json!({"name": null, "slug": null}), vec!["name", "slug"]),
        (json!([]), vec!["body"]),
    ] {
        for (method, path) in [(Method::POST, "/api/projects"), (Method::PATCH, "/api/projects/demo")] {
            let answer = admin.send(method, path, bad.clone(), StatusCode::UNPROCESSABLE_ENTITY).await;
            assert_eq!(named(&answer), fields);
        }
    }
    assert_eq!(admin.get("/api/projects/demo").await, before);
    assert_eq!(admin.get("/api/projects").await["data"].as_array().unwrap().len(), 1);

    let pixel = json!({"id": "a b", "settings": {"origins": ["ok.example", "https://x/"], "form_fields": [7], "x": null}});
    let answer =
        admin.send(Method::POST, "/api/projects/demo/pixels", pixel, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(named(&answer), ["id", "name", "settings.form_fields.0", "settings.origins.1", "settings.x"]);
    let key = json!({"scopes": ["read", "root"], "expires_at": "soon", "hash": "x", "project": "nowhere"});
    let answer = admin.send(Method::POST, "/api/keys", key, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(named(&answer), ["expires_at", "hash", "name", "project", "scopes.1"]);
}

#[tokio::test]
async fn what_the_service_decides_cannot_be_posted() {
    let service = Service::start().await;
    let admin = Bearer::admin(&service).await;
    let columns = [
        "archived_at",
        "created_at",
        "hash",
        "id",
        "key_hash",
        "last_used_at",
        "prefix",
        "project_id",
        "revoked_at",
        "settings.id",
        "slug",
    ];
    for path in ["/api/projects/demo", "/api/projects/pixels/demo"] {
        let before = admin.get(path).await;
        for column in columns.into_iter().filter(|column| *column != "slug") {
            for method in [Method::PUT, Method::PATCH] {
                let input = json!({"name": "Demo", "slug": "demo", column: "2999-01-01T00:00:00Z"});
                let answer = admin.send(method, path, input, StatusCode::UNPROCESSABLE_ENTITY).await;
                assert!(named(&answer).contains(&column), "{answer}");
            }
        }
        assert_eq!(admin.get(path).await, before);
    }
    let keys = service.store.keys(None, &leadtrail_domain::ports::Page::first(10)).await.unwrap().len();
    for column in columns {
        let input = json!({"name": "k", "scopes": ["read"], column: "x"});
        admin.send(Method::POST, "/api/keys", input, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    assert_eq!(
        service.store.keys(None, &leadtrail_domain::ports::Page::first(10)).await.unwrap().len(),
        keys
    );
}

#[tokio::test]
async fn a_name_that_is_taken_is_a_conflict() {
    let service = Service::start().await;
    service.add_project("other").await;
    let admin = Bearer::admin(&service).await;
    let slug = json!({"slug": "demo"});
    let answer = admin.send(Method::PATCH, "/api/projects/other", slug, StatusCode::CONFLICT).await;
    assert_eq!(named(&answer), ["slug"]);
    let pixel = json!({"id": "demo", "name": "Mine"});
    let answer = admin.send(Method::POST, "/api/projects/other/pixels", pixel, StatusCode::CONFLICT).await;
    assert_eq!(named(&answer), ["id"]);
}

#[tokio::test]
async fn lists_are_read_a_page_at_a_time_without_gap_or_repetition() {
    let service = Service::start().await;
    let admin = Bearer::admin(&service).await;
    for index in 2..=7 {
        service.add_project(&format!("p{index}")).await;
        service.add_pixel(&format!("x{index}")).await;
        service.add_key(index, &[Scope::Read], None).await;
    }
    for (path, count) in [("/api/projects", 7), ("/api/projects/demo/pixels", 8), ("/api/keys", 7)] {
        let whole = admin.get(path).await;
        assert_eq!(whole["data"].as_array().unwrap().len(), count);
        assert_eq!(whole["next_cursor"], Value::Null);
        let mut all = Vec::new();
        let mut next = format!("{path}?limit=3");
        loop {
            let page = admin.get(&next).await;
            all.extend(page["data"].as_array().unwrap().clone());
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            next = format!("{path}?limit=3&cursor={cursor}");
        }
        assert_eq!(Value::Array(all), whole["data"]);
        for bad in ["limit=0", "limit=101", "limit=x", "cursor=zz", "cursor="] {
            let reply = admin.ask(Method::GET, &format!("{path}?{bad}"), None).await;
            assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
        }
    }
}

#[tokio::test]
async fn bodies_that_are_no_input_are_refused_by_what_is_wrong_with_them() {
    let service = Service::start().await;
    let admin = Bearer::admin(&service).await;
    let sized = |bytes: usize| {
        let empty = json!({"name": ""}).to_string().len();
        json!({"name": "x".repeat(bytes - empty)}).to_string()
    };
    let json_type = Some("application/json");
    for (body, content_type, status) in [
        ("{}".to_owned(), None, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("{}".to_owned(), Some("text/plain"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (String::new(), json_type, StatusCode::BAD_REQUEST),
        ("{".to_owned(), json_type, StatusCode::BAD_REQUEST),
        ("[".repeat(8_000), json_type, StatusCode::BAD_REQUEST),
        (r#"{"name":"a","name":"b"}"#.to_owned(), json_type, StatusCode::BAD_REQUEST),
        (r#"{"name":"\ud800"}"#.to_owned(), json_type, StatusCode::BAD_REQUEST),
        (sized(64 * 1_024), json_type, StatusCode::UNPROCESSABLE_ENTITY),
        (sized(64 * 1_024 + 1), json_type, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let start = body.chars().take(30).collect::<String>();
        let mut request =
            service.request(Method::POST, "/api/projects").bearer_auth(&admin.secret).body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let reply = Reply::of(request).await;
        assert_eq!(reply.status, status, "{start} {reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn a_key_in_the_address_is_refused_even_if_it_stands_in_the_header_too() {
    let service = Service::start().await;
    let admin = Bearer::admin(&service).await;
    for path in ["/api/projects?api_key=x".to_owned(), format!("/api/keys?x={}", admin.secret)] {
        let reply = admin.ask(Method::GET, &path, None).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(reply.json()["detail"].as_str().unwrap().contains("Authorization"));
        assert!(!String::from_utf8(reply.bytes).unwrap().contains(&admin.secret));
    }
    let by_header = service.request(Method::GET, "/api/projects").header("x-api-key", &admin.secret);
    assert_eq!(Reply::of(by_header).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_503_and_lets_nobody_in() {
    let service = Service::start().await;
    let admin = Bearer::admin(&service).await;
    service.store.set_unavailable(true);
    let reply = admin.ask(Method::GET, "/api/projects", None).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reply.header("retry-after").is_some());
    service.store.set_unavailable(false);
    assert!(service.store.project(service.project).await.unwrap().is_some());
}

#[tokio::test]
async fn changes_of_one_project_at_the_same_moment_all_survive() {
    let service = Service::start().await;
    let admin = Bearer::admin(&service).await;
    let patches = [
        json!({"settings": {"retention_days": 30}}),
        json!({"settings": {"time_zone": "Europe/Berlin"}}),
        json!({"settings": {"consent": "required"}}),
        json!({"settings": {"gpc": "honour"}}),
        json!({"settings": {"ip": "none"}}),
        json!({"settings": {"bots": "mark"}}),
        json!({"settings": {"split_sessions_on_campaign": true}}),
        json!({"settings": {"ignore_referrers": ["pay.example"]}}),
        json!({"settings": {"conversions": {"Thanks": {"page": "/thanks"}}}}),
        json!({"settings": {"crm": {"enabled": false}}}),
        json!({"settings": {"crm": {"touch": "session"}}}),
        json!({"settings": {"crm": {"visited_pages_max": 7}}}),
        json!({"name": "Renamed"}),
    ];
    let changes = patches
        .iter()
        .map(|patch| admin.send(Method::PATCH, "/api/projects/demo", patch.clone(), StatusCode::OK));
    futures::future::join_all(changes).await;
    let mut expected = admin.get("/api/projects/demo").await;
    let found = expected.clone();
    for patch in &patches {
        merge(&mut expected, patch);
    }
    assert_eq!(found, expected);
}

/// JSON merge patch (RFC 7396), of what has no nulls.
fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

#[tokio::test]
async fn a_page_is_checked_for_a_pixel_of_the_keys_view() {
    let service = Service::start().await;
    let admin = Bearer::admin(&service).await;
    let ask = |url: Value| json!({"url": url});
    let path = "/api/pixels/demo/check";
    let page = ask(json!("https://www.example.com/landing"));
    let checked = admin.send(Method::POST, path, page.clone(), StatusCode::OK).await;
    assert_eq!((&checked["pixel_id"], &checked["ok"]), (&json!("demo"), &json!(false)));
    let found = |name: &str| {
        let checks = checked["checks"].as_array().expect("a list of checks");
        checks.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no check of {name}")).clone()
    };
    assert_eq!(found("tag")["verdict"], "ok");
    assert_eq!(found("query")["verdict"], "ok");
    assert_eq!(found("script")["verdict"], "fail");
    assert_eq!(found("events")["verdict"], "warn");
    for wrong in [json!(null), json!(""), json!("no url"), json!("https://elsewhere.example/"), json!(7)] {
        let problem = admin.send(Method::POST, path, ask(wrong), StatusCode::UNPROCESSABLE_ENTITY).await;
        assert_eq!(named(&problem), ["url"]);
    }
    let missing = admin.send(Method::POST, path, json!({}), StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(named(&missing), ["url"]);
    admin.send(Method::POST, "/api/pixels/nobody/check", page.clone(), StatusCode::NOT_FOUND).await;
    let other = service.add_project("other").await;
    let stranger =
        Bearer { service: &service, secret: service.add_key(2, &[Scope::Manage], Some(other)).await };
    stranger.send(Method::POST, path, page.clone(), StatusCode::NOT_FOUND).await;
    let reader = Bearer { service: &service, secret: service.add_key(3, &[Scope::Read], None).await };
    reader.send(Method::POST, path, page, StatusCode::FORBIDDEN).await;
}
