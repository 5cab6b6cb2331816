//! What browsers load.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use leadtrail_http::{HttpSettings, pinned_scripts};
use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha384};

use crate::service::{Reply, Service, Setup};

async fn with_demo_site() -> Service {
    Service::with(Setup {
        settings: HttpSettings { demo_site: true, ..HttpSettings::default() },
        ..Setup::default()
    })
    .await
}

#[tokio::test]
async fn the_pixel_script_is_cached_for_an_hour_and_asked_for_by_its_tag() {
    let service = Service::start().await;
    for path in ["/static/pixel.js", "/px.js"] {
        let reply = service.get(path).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("content-type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(reply.header("cache-control"), Some("public, max-age=3600, stale-while-revalidate=86400"));
        assert_eq!(reply.bytes, include_bytes!("../../../../static/built/pixel.js"));
        let tag = reply.header("etag").unwrap();
        for known in [tag, &*format!("\"x\", W/{tag}"), "*"] {
            let again = Reply::of(service.request(Method::GET, path).header("if-none-match", known)).await;
            assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(again.header("etag"), Some(tag));
            assert!(again.bytes.is_empty());
        }
        let other = Reply::of(service.request(Method::GET, path).header("if-none-match", "\"x\"")).await;
        assert_eq!(other.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_script_is_sent_as_small_as_the_client_takes_it() {
    let service = Service::start().await;
    for (path, name) in [
        ("/static/pixel.js", "pixel.js"),
        ("/px.js", "pixel.js"),
        ("/static/px-plus.js", "px-plus.js"),
        ("/px-plus.js", "px-plus.js"),
    ] {
        let mut tags = BTreeSet::new();
        for (offered, word, suffix) in [
            ("gzip, deflate, br, zstd", Some("br"), ".br"),
            ("gzip;q=0.8, *;q=0.1", Some("gzip"), ".gz"),
            ("br;q=0, identity", None, ""),
        ] {
            let request = service.request(Method::GET, path).header("accept-encoding", offered);
            let reply = Reply::of(request).await;
            let built = format!("{}/../../static/built/{name}{suffix}", env!("CARGO_MANIFEST_DIR"));
            assert_eq!(reply.bytes, std::fs::read(built).unwrap(), "{path} {offered}");
            assert_eq!(reply.header("content-encoding"), word, "{path} {offered}");
            assert_eq!(reply.header("vary"), Some("accept-encoding"), "{path} {offered}");
            tags.insert(reply.header("etag").unwrap().to_owned());
        }
        assert_eq!(tags.len(), 3, "{path}: a tag stands for one packing");
    }
}

#[tokio::test]
async fn a_pinned_script_never_changes_and_is_what_its_hash_says() {
    let service = Service::start().await;
    for (script, source) in pinned_scripts().into_iter().zip(["pixel.js", "px-plus.js"]) {
        let reply = service.get(&script.path).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", script.path);
        assert_eq!(reply.header("cache-control"), Some("public, max-age=31536000, immutable"));
        // Without it, a browser checks no hash of another origin's script.
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        let digest = BASE64_STANDARD.encode(Sha384::digest(&reply.bytes));
        assert_eq!(script.integrity, format!("sha384-{digest}"));
        let stem = source.trim_end_matches(".js");
        let other = service.get(&format!("/static/{stem}.0123456789abcdef.js")).await;
        assert_eq!(other.status, StatusCode::NOT_FOUND);
        let written = service.get(&format!("/static/{stem}.src.js")).await;
        let file = format!("{}/../../static/{source}", env!("CARGO_MANIFEST_DIR"));
        assert_eq!((written.status, written.bytes), (StatusCode::OK, std::fs::read(file).unwrap()));
    }
}

#[tokio::test]
async fn nothing_a_client_claims_changes_the_pixel_script() {
    let service = Service::start().await;
    let plain = service.get("/static/pixel.js").await;
    for (name, value) in
        [("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "gopher"), ("host", "evil.example")]
    {
        let reply =
            Reply::of(service.request(Method::GET, "/static/pixel.js?v=evil").header(name, value)).await;
        assert_eq!(
            (reply.bytes, reply.headers.get("etag")),
            (plain.bytes.clone(), plain.headers.get("etag"))
        );
    }
}

#[tokio::test]
async fn a_head_request_tells_the_length_without_the_body() {
    let service = Service::start().await;
    let reply = Reply::of(service.request(Method::HEAD, "/static/pixel.js")).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(reply.bytes.is_empty());
    assert!(reply.header("content-length").is_some_and(|length| length != "0"));
}

#[tokio::test]
async fn the_front_page_says_what_this_is_and_its_version() {
    let service = Service::start().await;
    let reply = service.get("/").await;
    assert_eq!(reply.status, StatusCode::OK);
    let page = String::from_utf8(reply.bytes.clone()).unwrap();
    assert!(page.contains("Leadtrail") && page.contains(env!("CARGO_PKG_VERSION")) && !page.contains("{{"));
    assert!(
        reply
            .header("content-security-policy")
            .is_some_and(|policy| policy.starts_with("default-src 'none'"))
    );
    for path in ["/static/index.css", "/static/favicon.svg"] {
        assert_eq!(service.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn pages_hold_nothing_that_their_policy_forbids() {
    let service = with_demo_site().await;
    for path in ["/", "/docs", "/demo/", "/demo/index.html", "/demo/contact.html", "/demo/thanks.html"] {
        let reply = service.get(path).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        assert!(reply.header("content-security-policy").is_some(), "{path}");
        let page = String::from_utf8(reply.bytes.clone()).unwrap();
        for forbidden in
            ["<style", " style=", " onclick=", "<script>", "src=\"http", "href=\"http://", "//cdn"]
        {
            assert!(!page.contains(forbidden), "{path}: {forbidden}");
        }
        for (reference, _) in
            page.match_indices("=\"/").map(|(at, _)| page[at + 2..].split_once('"').unwrap())
        {
            let status = service.get(reference).await.status;
            assert_eq!(status, StatusCode::OK, "{path} refers to {reference}");
        }
    }
}

#[tokio::test]
async fn the_demo_sites_form_is_answered_with_the_page_of_thanks() {
    let service = with_demo_site().await;
    let form = "first_name=Ada&email=ada%40example.com";
    let reply = Reply::of(service.request(Method::POST, "/demo/thanks.html").body(form)).await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, Some("/demo/thanks.html")));
    let short = service.get("/demo").await;
    assert_eq!((short.status, short.header("location")), (StatusCode::PERMANENT_REDIRECT, Some("/demo/")));
}

#[tokio::test]
async fn the_demo_site_is_served_only_when_asked_for() {
    let service = Service::start().await;
    for path in ["/demo", "/demo/", "/demo/index.html", "/demo/thanks.html"] {
        assert_eq!(service.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}
