//! The queue, the accounts and the projects' own connections as their managers meet them.

use leadtrail_domain::id::SyncJobId;
use leadtrail_domain::key::Scope;
use leadtrail_domain::ports::Connections as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::access::NO_JOB;
use crate::service::{Reply, Sealing, Service, Setup, telling};

const CONNECTION: &str = "/api/projects/demo/connection";

/// A service whose project makes sync jobs, and a key bound to the project that opens the queue and managing.
async fn service() -> (Service, String) {
    let service = Service::with(Setup { project: telling(), ..Setup::default() }).await;
    let secret = service.add_key(1, &[Scope::Sync, Scope::Manage], Some(service.project)).await;
    (service, secret)
}

async fn ask(service: &Service, secret: &str, method: Method, path: &str) -> Reply {
    Reply::of(service.request(method, path).bearer_auth(secret)).await
}

async fn got(service: &Service, secret: &str, path: &str) -> Value {
    let reply = ask(service, secret, Method::GET, path).await;
    assert_eq!(reply.status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&reply.bytes));
    reply.json()
}

fn job_path(job: SyncJobId, action: &str) -> String {
    format!("/api/sync/jobs/{job}{action}")
}

#[tokio::test]
async fn jobs_are_listed_newest_first_by_filters_and_pages() {
    let (service, secret) = service().await;
    let mut jobs = Vec::new();
    for email in ["a@x.example", "b@x.example", "c@x.example"] {
        jobs.push(service.add_job(service.project, "demo", email).await.to_string());
    }
    jobs.reverse();
    let ids = |list: &Value| -> Vec<String> {
        let data = list["data"].as_array().expect("a list");
        data.iter().map(|job| job["id"].as_str().expect("an id").to_owned()).collect()
    };
    let all = got(&service, &secret, "/api/sync/jobs").await;
    assert_eq!((ids(&all), &all["next_cursor"]), (jobs.clone(), &Value::Null));
    assert!(!all.to_string().contains("x.example"), "a list names no person: {all}");
    let first = got(&service, &secret, "/api/sync/jobs?limit=2").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = got(&service, &secret, &format!("/api/sync/jobs?limit=2&cursor={cursor}")).await;
    assert_eq!([ids(&first), ids(&rest)].concat(), jobs);
    for (filter, count) in [
        ("status=pending", 3),
        ("status=synced", 0),
        ("email=B%40x.example", 1),
        ("since=2020-01-01T00:00:00Z", 3),
        ("until=2020-01-01T00:00:00Z", 0),
    ] {
        let found = got(&service, &secret, &format!("/api/sync/jobs?{filter}")).await;
        assert_eq!(ids(&found).len(), count, "{filter}");
    }
    let wrong = "/api/sync/jobs?status=lost&email=nobody&since=yesterday&limit=0";
    let reply = ask(&service, &secret, Method::GET, wrong).await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_key_of_all_projects_says_which_and_finds_a_job_without() {
    let (service, _) = service().await;
    let job = service.add_job(service.project, "demo", "a@x.example").await;
    let secret = service.add_key(2, &[Scope::Sync], None).await;
    for path in ["/api/sync/jobs", "/api/crm/verify", "/api/sync/jobs?project=nowhere"] {
        let reply = ask(&service, &secret, Method::GET, path).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        assert_eq!(reply.json()["errors"][0]["field"], "project");
    }
    let listed = got(&service, &secret, "/api/sync/jobs?project=demo").await;
    assert_eq!(listed["data"][0]["id"], job.to_string());
    assert_eq!(got(&service, &secret, &job_path(job, "")).await["status"], "pending");
    let reply = ask(&service, &secret, Method::GET, &job_path(NO_JOB, "")).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_job_is_held_replayed_and_skipped_and_says_who_did_it() {
    let (service, secret) = service().await;
    let job = service.add_job(service.project, "demo", "a@x.example").await;
    for (action, status) in [("hold", "held"), ("replay", "pending"), ("skip", "skipped")] {
        let reply = ask(&service, &secret, Method::POST, &job_path(job, &format!("/{action}"))).await;
        assert_eq!(reply.status, StatusCode::OK, "{action}: {reply:?}");
        let shown = reply.json();
        assert_eq!(shown["status"], status);
        let last = shown["attempts"].as_array().unwrap().last().unwrap().clone();
        let note = last["note"].as_str().unwrap();
        assert!(note.starts_with(&format!("{action} by the API key ")), "{note}");
    }
    let reply = ask(&service, &secret, Method::POST, &job_path(job, "/hold")).await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
    assert_eq!(reply.json()["detail"], "the job is skipped, which hold does not take");
}

#[tokio::test]
async fn a_lead_is_explained_to_the_keys_of_its_project_by_person_or_event() {
    let (service, secret) = service().await;
    service.add_job(service.project, "demo", "a@x.example").await;
    let by_person = got(&service, &secret, "/api/why?email=A%40x.example").await;
    let lead = &by_person["leads"][0];
    assert_eq!((by_person["leads"].as_array().unwrap().len(), &lead["email"]), (1, &json!("a@x.example")));
    assert_eq!((&lead["job"]["status"], lead["models"].as_array().unwrap().len()), (&json!("pending"), 6));
    let event = lead["event_id"].as_str().unwrap();
    let by_event = got(&service, &secret, &format!("/api/why?event_id={event}")).await;
    assert_eq!(
        (&by_event["leads"], &by_event["conversions"][0]["name"]),
        (&by_person["leads"], &json!("Form"))
    );
    let nobody = json!({"leads": [], "conversions": []});
    assert_eq!(got(&service, &secret, "/api/why?email=b%40x.example").await, nobody);
    // An id that the client sent in a form of its own, and the one that we gave to that event.
    let form = json!({"pixel_id": "demo", "event_id": "order-17", "page_url": "https://a.example/", "form_data": {"email": "c@x.example"}});
    let answer = service.post(form.to_string()).await.json();
    for id in ["order-17", answer["event_id"].as_str().unwrap()] {
        let found = got(&service, &secret, &format!("/api/why?event_id={id}")).await;
        assert_eq!(found["leads"][0]["email"], "c@x.example", "{id}");
    }
    let all = service.add_key(2, &[Scope::Sync], None).await;
    assert_eq!(got(&service, &all, "/api/why?project=demo&email=a%40x.example").await, by_person);
    for query in [
        "",
        "?project=demo",
        "?project=demo&email=nobody",
        "?email=a%40x.example",
        "?project=other&email=a%40x.example",
    ] {
        let reply = ask(&service, &all, Method::GET, &format!("/api/why{query}")).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
}

#[tokio::test]
async fn the_health_of_a_queue_is_a_score_with_its_parts() {
    let (service, secret) = service().await;
    service.add_job(service.project, "demo", "a@x.example").await;
    let health = got(&service, &secret, "/api/sync/health").await;
    assert_eq!((&health["ok"], &health["score"]), (&json!(true), &json!(100)));
    assert!(health["parts"].as_array().unwrap().iter().any(|part| part["name"] == "lag"), "{health}");
}

#[tokio::test]
async fn a_connection_is_set_and_used_and_its_token_is_kept_sealed_and_never_told() {
    let (service, secret) = service().await;
    assert_eq!(got(&service, &secret, CONNECTION).await["connection"], Value::Null);
    let unset = got(&service, &secret, "/api/crm/verify").await;
    assert_eq!(unset["ok"], false, "{unset}");
    let input = json!({"kind": "sandbox", "base_url": "https://acme.example/x", "api_token": "canary-token"});
    let put = service.request(Method::PUT, CONNECTION).bearer_auth(&secret).json(&input);
    let reply = Reply::of(put).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let shown = got(&service, &secret, CONNECTION).await;
    assert_eq!((&shown["account"], &shown["connection"]["kind"]), (&json!("own"), &json!("sandbox")));
    assert_eq!(shown["connection"]["host"], "acme.example");
    let verified = got(&service, &secret, "/api/crm/verify").await;
    assert_eq!((&verified["ok"], &verified["crm"]), (&json!(true), &json!("Sandbox")), "{verified}");
    for answer in [reply.json(), shown, verified] {
        assert!(!answer.to_string().contains("canary"), "{answer}");
    }
    let sealed = service.store.connection(service.project).await.unwrap().unwrap().sealed;
    assert!(!sealed.windows(6).any(|window| window == b"canary"));
    let removed = ask(&service, &secret, Method::DELETE, CONNECTION).await;
    assert_eq!((removed.status, &removed.json()["connection"]), (StatusCode::OK, &Value::Null));
    assert_eq!(service.store.connection(service.project).await.unwrap(), None);
}

#[tokio::test]
async fn a_connection_that_cannot_be_opened_or_sealed_is_refused() {
    let whole = json!({"kind": "sandbox", "base_url": "x", "api_token": "test-token"});
    for (sealing, input, field) in [
        (Sealing::Keyed, json!({}), "kind"),
        (Sealing::Keyed, json!({"kind": "other", "base_url": "x", "api_token": "test-token"}), "base_url"),
        (Sealing::Keyed, json!({"kind": "sandbox", "base_url": "x", "api_token": "a b"}), "api_token"),
        (Sealing::Keyless, whole, "connection"),
    ] {
        let service = Service::with(Setup { connections: sealing, ..Setup::default() }).await;
        let secret = service.add_key(1, &[Scope::Manage], None).await;
        let put = service.request(Method::PUT, CONNECTION).bearer_auth(&secret).json(&input);
        let reply = Reply::of(put).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{input}: {reply:?}");
        assert_eq!(reply.json()["errors"][0]["field"], field, "{:?}", reply.json());
        assert_eq!(service.store.connection(service.project).await.unwrap(), None);
    }
}
