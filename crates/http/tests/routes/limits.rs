//! How often a client may ask: over and under every limit, and what is left to those who may.

use std::collections::BTreeMap;

use leadtrail_app::ingest::IngestSettings;
use leadtrail_domain::key::Scope;
use leadtrail_http::{Class, Group, HttpSettings, Limits, Proxies, RouteEntry, routes};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::access::{NO_JOB, comparable, path_of, presented, request};
use crate::service::{Gate, Reply, Service, Setup, key, pageview, pageview_with};

const LIMIT: &str = "ratelimit-limit";
const REMAINING: &str = "ratelimit-remaining";
const RESET: &str = "ratelimit-reset";
const RETRY_AFTER: &str = "retry-after";

/// A service with these limits, behind a proxy on this machine. Rates by the day give nothing back during a test.
async fn limited(limits: Limits) -> Service {
    let proxies = Proxies { trusted: vec!["127.0.0.0/8".parse().expect("a network")], ..Proxies::default() };
    let settings = HttpSettings { limits, proxies, demo_site: true, ..HttpSettings::default() };
    Service::with(Setup { settings, ..Setup::default() }).await
}

async fn tracking(rate: &str) -> Service {
    limited(Limits { tracking: rate.parse().ok(), ..Limits::default() }).await
}

async fn with_reserve(rate: &str, reserve: &str) -> Service {
    limited(Limits { tracking: rate.parse().ok(), form_reserve: reserve.parse().ok(), ..Limits::default() })
        .await
}

/// `body`, sent by the client at `address`.
async fn sent_from(service: &Service, address: &str, body: &Value) -> Reply {
    service.post_with(body.to_string(), &[("x-forwarded-for", address)]).await
}

fn form() -> Value {
    pageview_with(json!({"event_type": "form_submit", "form_data": {"email": "a@x.example"}}))
}

fn number(reply: &Reply, header: &'static str) -> Option<u64> {
    reply.header(header).map(|value| value.parse().expect("a number"))
}

/// How many of a batch were taken, and whether each of the others may come again.
fn taken_of(reply: &Reply) -> (usize, bool) {
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let json = reply.json();
    let results = json["results"].as_array().expect("results are a list");
    let (taken, refused): (Vec<_>, Vec<_>) = results.iter().partition(|one| one["success"] == true);
    let all_later =
        refused.iter().all(|one| one["error"] == "too many requests" && one["retry_after"].is_u64());
    (taken.len(), all_later)
}

#[test]
fn what_sends_events_or_needs_a_key_is_limited_and_nothing_else() {
    for RouteEntry { method, path, class, group } in routes() {
        let expected = match class {
            Class::Key(_) if method == "GET" => Some(Group::Reading),
            Class::Key(_) => Some(Group::Managing),
            Class::Public if path.starts_with("/api/track") && method != "OPTIONS" => Some(Group::Tracking),
            Class::Public | Class::Local => None,
        };
        assert_eq!(group, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn every_limited_route_answers_429_beyond_its_limit_and_no_sooner() {
    let service = limited(Limits {
        tracking: "2/d".parse().ok(),
        reading: "3/d".parse().ok(),
        managing: "4/d".parse().ok(),
        ..Limits::default()
    })
    .await;
    let (key_of_own, _) = key(99, &[Scope::Read], Some(service.project));
    let mut byte = 0;
    for route in routes() {
        // Each route is met by a client of its own.
        byte += 1;
        let secret = service.add_key(byte, &[Scope::Admin], None).await;
        let address = format!("203.0.113.{byte}");
        let path = path_of(&route, &key_of_own, NO_JOB);
        let ask = async || {
            let secret = matches!(route.class, Class::Key(_)).then_some(&*secret);
            Reply::of(request(&service, route.method, &path, secret).header("x-forwarded-for", &address))
                .await
        };
        let limit = match route.group {
            Some(Group::Tracking) => 2,
            Some(Group::Reading) => 3,
            Some(Group::Managing) => 4,
            None => {
                for _ in 0..6 {
                    let reply = ask().await;
                    assert_ne!(reply.status, StatusCode::TOO_MANY_REQUESTS, "{route:?}");
                    assert_eq!(reply.header(LIMIT), None, "{route:?}");
                }
                continue;
            }
        };
        for used in 1..=limit {
            let reply = ask().await;
            assert_ne!(reply.status, StatusCode::TOO_MANY_REQUESTS, "{route:?}");
            assert_eq!(number(&reply, LIMIT), Some(limit), "{route:?}: {reply:?}");
            assert_eq!(number(&reply, REMAINING), Some(limit - used), "{route:?}");
            assert!(number(&reply, RESET).is_some_and(|reset| reset > 0), "{route:?}");
            assert_eq!(reply.header(RETRY_AFTER), None, "{route:?}");
        }
        let reply = ask().await;
        assert_eq!((number(&reply, LIMIT), number(&reply, REMAINING)), (Some(limit), Some(0)), "{route:?}");
        if route.path == "/api/track/pixel.gif" {
            assert_eq!((reply.status, reply.bytes.len()), (StatusCode::OK, 43));
            assert_eq!(reply.header("x-leadtrail-dropped"), Some("limit"));
            continue;
        }
        assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS, "{route:?}");
        let retry_after = number(&reply, RETRY_AFTER).expect("it says when to come back");
        assert!((1..=86_400 / limit).contains(&retry_after), "{route:?}: {retry_after}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{route:?}");
        let body = reply.json();
        if route.group == Some(Group::Tracking) {
            assert_eq!((&body["success"], &body["retry_after"]), (&json!(false), &json!(retry_after)));
        } else {
            assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{route:?}");
            assert_eq!(body["type"], "urn:leadtrail:problem:too-many-requests", "{route:?}");
        }
    }
}

#[tokio::test]
async fn a_batch_costs_its_length_and_is_taken_as_far_as_it_goes() {
    let service = tracking("5/d").await;
    let send = async |count: usize| service.track(&json!({"batch": vec![pageview(); count]})).await;
    let reply = send(3).await;
    assert_eq!((taken_of(&reply), number(&reply, REMAINING)), ((3, true), Some(2)));
    let reply = send(4).await;
    assert_eq!((taken_of(&reply), number(&reply, REMAINING)), ((2, true), Some(0)));
    let reply = send(2).await;
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(number(&reply, RETRY_AFTER).is_some());
    assert_eq!(service.stored().await.len(), 5);
}

#[tokio::test]
async fn a_batch_larger_than_may_come_at_once_gets_through_in_parts() {
    let service = tracking("30/s").await;
    let mut left: Vec<Value> =
        (0..70).map(|id| pageview_with(json!({"event_id": format!("e{id}")}))).collect();
    while !left.is_empty() {
        let reply = service.track(&json!({"batch": left})).await;
        if reply.status == StatusCode::OK {
            let json = reply.json();
            let mut results = json["results"].as_array().unwrap().iter();
            left.retain(|_| results.next().is_some_and(|one| one["success"] == false));
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(service.stored().await.len(), 70);
}

#[tokio::test]
async fn what_is_no_event_costs_as_much_as_one() {
    let service = tracking("1/d").await;
    let bodies = [
        "{".to_owned(),
        "7".to_owned(),
        r#"{"batch":[]}"#.to_owned(),
        r#"{"batch":[7]}"#.to_owned(),
        r#"{"pixel_id":"nobody","page_url":"https://a.example/"}"#.to_owned(),
        "x".repeat(2_000_000),
    ];
    for (index, body) in bodies.into_iter().enumerate() {
        let address = format!("203.0.113.{index}");
        let from = [("x-forwarded-for", &*address)];
        let first = service.post_with(body.clone(), &from).await;
        assert_ne!(first.status, StatusCode::TOO_MANY_REQUESTS, "{index}");
        assert_eq!(number(&first, REMAINING), Some(0), "{index}");
        assert_eq!(service.post_with(body, &from).await.status, StatusCode::TOO_MANY_REQUESTS, "{index}");
    }
}

#[tokio::test]
async fn a_form_beyond_the_limit_draws_on_the_reserve_and_a_page_view_does_not() {
    let service = with_reserve("1/d", "2/d").await;
    let ok = StatusCode::OK;
    let late = StatusCode::TOO_MANY_REQUESTS;
    assert_eq!(service.track(&pageview()).await.status, ok);
    assert_eq!(service.track(&pageview()).await.status, late);
    assert_eq!(service.track(&form()).await.status, ok);
    assert_eq!(service.track(&pageview()).await.status, late);
    // Fields without a type are a submission too.
    let untyped = pageview_with(json!({"form_data": "{\"email\":\"b@x.example\"}"}));
    let mixed = service.track(&json!({"batch": [pageview(), untyped, pageview(), form()]})).await;
    assert_eq!(taken_of(&mixed), (1, true));
    assert_eq!(service.track(&form()).await.status, late);
    // Another client has a reserve of its own.
    let batch = json!({"batch": [pageview(), form(), form(), form()]});
    assert_eq!(taken_of(&sent_from(&service, "203.0.113.1", &batch).await), (3, true));
}

#[tokio::test]
async fn forms_draw_on_the_limit_first() {
    let service = with_reserve("2/d", "1/d").await;
    for (event, status) in [
        (form(), StatusCode::OK),
        (form(), StatusCode::OK),
        (pageview(), StatusCode::TOO_MANY_REQUESTS),
        (form(), StatusCode::OK),
        (form(), StatusCode::TOO_MANY_REQUESTS),
    ] {
        assert_eq!(service.track(&event).await.status, status);
    }
}

#[tokio::test]
async fn a_preflight_costs_nothing() {
    let service = tracking("1/d").await;
    for _ in 0..5 {
        let request =
            service.request(Method::OPTIONS, "/api/track").header("origin", "https://www.example.com");
        assert_eq!(Reply::of(request).await.status, StatusCode::NO_CONTENT);
    }
    let reply = service.post_with(pageview().to_string(), &[("origin", "https://www.example.com")]).await;
    assert_eq!(reply.status, StatusCode::OK);
    let exposed = reply.header("access-control-expose-headers").unwrap().to_lowercase();
    for header in [LIMIT, REMAINING, RESET, RETRY_AFTER] {
        assert!(exposed.contains(header), "{header} in {exposed}");
    }
}

#[tokio::test]
async fn a_gif_beyond_the_limit_is_an_image_and_no_event() {
    let service = tracking("1/d").await;
    let ask = async || service.get("/api/track/pixel.gif?pixel_id=demo&page_url=https://a.example/").await;
    assert_eq!(ask().await.header("x-leadtrail-dropped"), None);
    let reply = ask().await;
    assert_eq!((reply.status, reply.bytes.len()), (StatusCode::OK, 43));
    assert_eq!(reply.header("x-leadtrail-dropped"), Some("limit"));
    assert_eq!(service.stored().await.len(), 1);
}

#[tokio::test]
async fn a_server_sends_as_much_as_it_likes_for_its_own_project() {
    let service = tracking("1/d").await;
    let other = service.add_project("other").await;
    for (byte, scopes, project, is_free) in [
        (1, Scope::Ingest, Some(service.project), true),
        (2, Scope::Ingest, None, true),
        (3, Scope::Ingest, Some(other), false),
        (4, Scope::Read, Some(service.project), false),
    ] {
        let secret = service.add_key(byte, &[scopes], project).await;
        let address = format!("203.0.113.{byte}");
        let headers = [("x-api-key", &*secret), ("x-forwarded-for", &*address)];
        let send = async |body: Value| service.post_with(body.to_string(), &headers).await;
        let batch = taken_of(&send(json!({"batch": vec![pageview(); 20]})).await);
        assert_eq!(batch, (if is_free { 20 } else { 1 }, true), "{byte}");
        let reply = send(pageview()).await;
        let expected = if is_free { StatusCode::OK } else { StatusCode::TOO_MANY_REQUESTS };
        assert_eq!((reply.status, reply.header(LIMIT).is_none()), (expected, is_free), "{byte}");
        let nowhere = send(pageview_with(json!({"pixel_id": "nobody"}))).await;
        assert_eq!(nowhere.status == StatusCode::TOO_MANY_REQUESTS, !is_free, "{byte}");
    }
}

#[tokio::test]
async fn a_client_is_its_ipv4_address_or_its_ipv6_network_whoever_it_says_it_is() {
    let service = tracking("1/d").await;
    for (address, is_new) in [
        ("198.51.100.1", true),
        ("198.51.100.2", true),
        ("::ffff:198.51.100.1", false),
        ("2001:db8:0:1::1", true),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", false),
        ("[2001:db8:0:1::7]:4711", false),
        ("2001:db8:0:2::1", true),
        // Only the last one is the proxy's word.
        ("192.0.2.77, 198.51.100.2", false),
    ] {
        let reply = sent_from(&service, address, &pageview()).await;
        assert_eq!(reply.status == StatusCode::OK, is_new, "{address}");
    }

    let settings = HttpSettings {
        limits: Limits { tracking: "1/d".parse().ok(), ..Limits::default() },
        ..HttpSettings::default()
    };
    let direct = Service::with(Setup { settings, ..Setup::default() }).await;
    for (forged, status) in
        [("198.51.100.1", StatusCode::OK), ("198.51.100.2", StatusCode::TOO_MANY_REQUESTS)]
    {
        assert_eq!(sent_from(&direct, forged, &pageview()).await.status, status);
    }
}

#[tokio::test]
async fn keys_behind_one_address_do_not_share_what_they_may() {
    let service = limited(Limits { reading: "2/d".parse().ok(), ..Limits::default() }).await;
    let ask = async |secret: Option<&str>| {
        Reply::of(request(&service, "GET", "/api/projects", secret)).await.status
    };
    for byte in 1..4 {
        let secret = service.add_key(byte, &[Scope::Read], None).await;
        let statuses = [ask(Some(&secret)).await, ask(Some(&secret)).await, ask(Some(&secret)).await];
        assert_eq!(statuses, [StatusCode::OK, StatusCode::OK, StatusCode::TOO_MANY_REQUESTS]);
    }
    // Whoever has none is known by the address, and has used nothing of it yet.
    let statuses = [ask(None).await, ask(Some("lt_nonsense")).await, ask(None).await];
    assert_eq!(statuses, [StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS]);
}

#[tokio::test]
async fn ten_thousand_wrong_keys_are_answered_429_and_lock_no_good_key_out() {
    const TRIES: usize = 10_000;
    let limits = Limits { failed_authentications: "30/d".parse().ok(), ..Limits::default() };
    let service = limited(limits).await;
    let secret = service.add_key(1, &[Scope::Read], None).await;

    let (mut answers, mut requests) =
        TcpStream::connect(service.address).await.expect("the service listens").into_split();
    let sending = tokio::spawn(async move {
        for guess in 0..TRIES {
            let close = if guess + 1 == TRIES { "Connection: close\r\n" } else { "" };
            let head = format!(
                "GET /api/projects HTTP/1.1\r\nHost: a.example\r\n{close}X-Api-Key: lt_{guess:064x}\r\n\r\n"
            );
            requests.write_all(head.as_bytes()).await.expect("the service reads");
        }
        requests
    });
    let mut said = String::new();
    answers.read_to_string(&mut said).await.expect("the service answers them all");
    drop(sending.await.expect("all are sent"));
    let mut statuses = BTreeMap::new();
    // A body ends where the next answer begins.
    for answer in said.split("HTTP/1.1 ").skip(1) {
        *statuses.entry(answer[..3].to_owned()).or_insert(0) += 1;
    }
    assert_eq!(statuses, BTreeMap::from([("401".to_owned(), 30), ("429".to_owned(), TRIES - 30)]));

    for _ in 0..100 {
        let reply = Reply::of(request(&service, "GET", "/api/projects", Some(&secret))).await;
        assert_eq!(reply.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn beyond_the_limit_of_failures_every_wrong_key_is_answered_alike() {
    let service = limited(Limits { failed_authentications: "1/d".parse().ok(), ..Limits::default() }).await;
    let other = service.add_project("other").await;
    let all = presented(&service, service.project, other).await;
    let ask = async |secret: Option<&str>| Reply::of(request(&service, "GET", "/api/keys", secret)).await;
    assert_eq!(ask(None).await.status, StatusCode::UNAUTHORIZED);
    let mut denials = Vec::new();
    for presented in &all {
        let reply = ask(presented.secret.as_deref()).await;
        if presented.key.is_none() {
            assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS, "{}", presented.name);
            assert_eq!((reply.header(LIMIT), reply.header(REMAINING)), (Some("1"), Some("0")));
            let (status, mut headers, body) = comparable(&reply);
            // Time goes by between them.
            headers.retain(|header| !header.starts_with("retry-after") && !header.starts_with(RESET));
            denials.push((status, headers, body));
        } else {
            assert_ne!(reply.status, StatusCode::TOO_MANY_REQUESTS, "{}", presented.name);
        }
    }
    assert_eq!(denials.len(), 6);
    assert!(denials.windows(2).all(|two| two[0] == two[1]), "{denials:?}");
}

#[tokio::test]
async fn a_wrong_key_beside_an_event_counts_as_a_failure_and_the_event_is_taken() {
    let service = limited(Limits { failed_authentications: "1/d".parse().ok(), ..Limits::default() }).await;
    for _ in 0..3 {
        let reply = service.post_with(pageview().to_string(), &[("x-api-key", "lt_nonsense")]).await;
        assert_eq!((reply.status, reply.header(LIMIT)), (StatusCode::OK, None));
    }
    let reply = Reply::of(request(&service, "GET", "/api/projects", None)).await;
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn under_overload_page_views_are_put_off_and_forms_are_taken() {
    let gate = Gate::closed();
    let ingest = IngestSettings { shards: 1, queue_max: 2, group_max: 1 };
    let service = Service::with(Setup { ingest, gate: Some(gate.clone()), ..Setup::default() }).await;
    let first = pageview();
    let committing = service.track(&first);
    tokio::pin!(committing);
    tokio::select! {
        reply = &mut committing => panic!("answered before the commit: {reply:?}"),
        () = gate.reached() => {}
    }
    // Of two page views one is queued; the other place of the queue is not for them. Of two that are worth more one
    // takes it.
    let identify = pageview_with(json!({"event_type": "identify"}));
    let mut queued = Vec::new();
    for event in [&first, &identify] {
        let (turned_away, other) =
            futures::future::select(Box::pin(service.track(event)), Box::pin(service.track(event)))
                .await
                .factor_first();
        assert_eq!(turned_away.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(turned_away.header(RETRY_AFTER), Some("1"));
        queued.push(other);
    }
    let gif = service.get("/api/track/pixel.gif?pixel_id=demo&page_url=https://a.example/").await;
    assert_eq!(gif.header("x-leadtrail-dropped"), Some("shed"));
    let form = form();
    let mut forms = futures::future::join_all((0..10).map(|_| service.track(&form)));
    tokio::select! {
        replies = &mut forms => panic!("answered while there is no room: {replies:?}"),
        reply = service.get("/health/live") => assert_eq!(reply.status, StatusCode::OK),
    }
    gate.open();
    assert!(forms.await.iter().all(|reply| reply.status == StatusCode::OK));
    assert_eq!(committing.await.status, StatusCode::OK);
    for reply in futures::future::join_all(queued).await {
        assert_eq!(reply.status, StatusCode::OK);
    }
    assert_eq!(service.stored().await.len(), 13);
}
