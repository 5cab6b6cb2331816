//! What a request tells of its client, and what of that is believed.

use leadtrail_domain::event::Client;
use leadtrail_domain::key::Scope;
use leadtrail_domain::project::{BotMode, IpMode, ProjectSettings};
use leadtrail_http::{AddressHeader, HttpSettings, PlaceHeaders, Proxies};
use reqwest::header::{HeaderMap, HeaderName, USER_AGENT};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::service::{BROWSER, Reply, Service, Setup, pageview};

const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const CUBOT: &str = "Mozilla/5.0 (Linux; Android 10; CUBOT NOTE 20) AppleWebKit/537.36 (KHTML, like Gecko) \
                     Chrome/121.0.0.0 Mobile Safari/537.36";

async fn with_bots(bots: BotMode) -> Service {
    Service::with(Setup {
        project: ProjectSettings { bots, ..ProjectSettings::default() },
        ..Setup::default()
    })
    .await
}

/// A service behind a proxy on this machine, or with none that is trusted.
async fn behind(proxies: Proxies) -> Service {
    let settings = HttpSettings { proxies, ..HttpSettings::default() };
    let project = ProjectSettings { ip: IpMode::Full, ..ProjectSettings::default() };
    Service::with(Setup { settings, project, ..Setup::default() }).await
}

fn on_this_machine(address_header: AddressHeader) -> Proxies {
    Proxies {
        trusted: vec!["127.0.0.0/8".parse().expect("a network")],
        address_header,
        place_headers: PlaceHeaders::Cloudflare,
    }
}

async fn sent_by(service: &Service, agent: &str, body: String) -> Reply {
    let agent = HeaderMap::from_iter([(USER_AGENT, agent.parse().expect("a header's value"))]);
    Reply::of(service.request(Method::POST, "/api/track").body(body).headers(agent)).await
}

async fn only_client(service: &Service) -> Client {
    let mut stored = service.stored().await;
    assert_eq!(stored.len(), 1);
    stored.remove(0).event.client
}

#[tokio::test]
async fn a_bot_is_dropped_and_told_why() {
    let service = with_bots(BotMode::Drop).await;
    for (agent, reason) in
        [(GOOGLEBOT, "bot: Googlebot/"), ("curl/8.14.1", "bot: ^curl"), ("", "bot: no user agent")]
    {
        let reply = sent_by(&service, agent, pageview().to_string()).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{agent}");
        assert_eq!(reply.header("x-leadtrail-dropped"), Some(reason));
    }
    assert_eq!(service.stored().await.len(), 0);
}

#[tokio::test]
async fn a_bot_s_batch_names_the_reason_at_each_event() {
    let service = with_bots(BotMode::Drop).await;
    let body = json!({"batch": [pageview()]}).to_string();
    let reply = sent_by(&service, GOOGLEBOT, body).await;
    assert_eq!(reply.status, StatusCode::OK);
    let wanted = json!([{"success": true, "dropped": "bot", "reason": "Googlebot/"}]);
    assert_eq!(reply.json()["results"], wanted);
}

#[tokio::test]
async fn a_server_with_a_key_for_it_is_no_bot_and_with_another_key_it_is() {
    let service = with_bots(BotMode::Drop).await;
    let own = service.add_key(1, &[Scope::Ingest], Some(service.project)).await;
    let foreign = service.add_key(2, &[Scope::Ingest], Some(service.add_project("other").await)).await;
    let reading = service.add_key(3, &[Scope::Read], None).await;
    for (key, status) in [
        (own, StatusCode::OK),
        (foreign, StatusCode::NO_CONTENT),
        (reading, StatusCode::NO_CONTENT),
        ("lt_nonsense".to_owned(), StatusCode::NO_CONTENT),
    ] {
        let headers = HeaderMap::from_iter([
            (USER_AGENT, "curl/8.14.1".parse().expect("a header's value")),
            (HeaderName::from_static("x-api-key"), key.parse().expect("a header's value")),
        ]);
        let request = service.request(Method::POST, "/api/track").body(pageview().to_string());
        let reply = Reply::of(request.headers(headers)).await;
        assert_eq!(reply.status, status);
    }
    assert_eq!(service.stored().await.len(), 1);
}

#[tokio::test]
async fn a_bot_is_kept_with_its_reason_where_the_project_marks_it() {
    let service = with_bots(BotMode::Mark).await;
    assert_eq!(sent_by(&service, GOOGLEBOT, pageview().to_string()).await.status, StatusCode::OK);
    assert_eq!(only_client(&service).await.bot.as_deref(), Some("Googlebot/"));
}

#[tokio::test]
async fn a_bot_is_kept_where_the_project_allows_it() {
    let service = with_bots(BotMode::Allow).await;
    assert_eq!(sent_by(&service, GOOGLEBOT, pageview().to_string()).await.status, StatusCode::OK);
    assert_eq!(service.stored().await.len(), 1);
}

#[tokio::test]
async fn a_phone_called_cubot_is_kept_with_browser_system_and_device() {
    let service = with_bots(BotMode::Drop).await;
    assert_eq!(sent_by(&service, CUBOT, pageview().to_string()).await.status, StatusCode::OK);
    let client = only_client(&service).await;
    assert_eq!(client.bot, None);
    assert_eq!(client.browser.as_deref(), Some("Chrome"));
    assert_eq!(client.operating_system.as_deref(), Some("Android"));
    assert_eq!(client.device_type.as_deref(), Some("mobile"));
}

#[tokio::test]
async fn the_client_is_whom_a_trusted_proxy_names_and_nobody_else() {
    let forged = [
        ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
        ("forwarded", "for=198.51.100.7;proto=https"),
        ("cf-connecting-ip", "192.0.2.33"),
    ];
    for (proxies, wanted) in [
        (Proxies::default(), "127.0.0.1"),
        (Proxies { trusted: vec!["10.0.0.0/8".parse().unwrap()], ..Proxies::default() }, "127.0.0.1"),
        (on_this_machine(AddressHeader::XForwardedFor), "203.0.113.9"),
        (on_this_machine(AddressHeader::Forwarded), "198.51.100.7"),
        (on_this_machine(AddressHeader::CfConnectingIp), "192.0.2.33"),
    ] {
        let service = behind(proxies.clone()).await;
        assert_eq!(service.post_with(pageview().to_string(), &forged).await.status, StatusCode::OK);
        let ip = only_client(&service).await.ip.map(|ip| ip.to_string());
        assert_eq!(ip.as_deref(), Some(wanted), "{proxies:?}");
    }
}

#[tokio::test]
async fn place_and_scheme_are_taken_from_a_trusted_proxy_and_from_nobody_else() {
    let told = [
        ("host", "track.example.com"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("cf-ipcountry", "CH"),
        ("cf-ipcity", "Zürich"),
    ];
    for (proxies, is_believed) in
        [(on_this_machine(AddressHeader::XForwardedFor), true), (Proxies::default(), false)]
    {
        let service = behind(proxies).await;
        let reply = service.post_with(pageview().to_string(), &told).await;
        let cookie = reply.header("set-cookie").expect("the page's own site sets a cookie");
        assert_eq!(cookie.ends_with("; Secure"), is_believed, "{cookie}");
        let client = only_client(&service).await;
        let place = is_believed.then_some(("CH", "Zürich"));
        assert_eq!(client.country.as_deref().zip(client.city.as_deref()), place);
    }
}

#[tokio::test]
async fn an_ordinary_browser_is_known() {
    let service = Service::start().await;
    assert_eq!(service.track(&pageview()).await.status, StatusCode::OK);
    let client = only_client(&service).await;
    assert_eq!(client.user_agent.as_deref(), Some(BROWSER));
    assert_eq!(client.browser.as_deref(), Some("Firefox"));
    assert_eq!(client.operating_system.as_deref(), Some("Linux"));
    assert_eq!(client.device_type.as_deref(), Some("desktop"));
}
