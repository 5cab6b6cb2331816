use std::collections::BTreeMap;

use futures::executor::block_on;
use leadtrail_domain::id::ProjectId;
use leadtrail_domain::project::{ConsentMode, Pixel, PixelSettings, Project, ProjectSettings};
use leadtrail_store_memory::MemoryStore;

use super::*;

const SERVICE: &str = "https://track.example";
const PAGE: &str = "https://www.acme.example/landing";
const TAG: &str =
    r#"<script src="https://track.example/static/pixel.js" data-pixel-id="acme" async></script>"#;

/// A web of a few pages, by their addresses without query.
#[derive(Default)]
struct FewPages {
    answers: BTreeMap<String, Fetched>,
    /// From, to, and whether the query goes along.
    redirects: BTreeMap<String, (String, bool)>,
}

#[async_trait]
impl Web for FewPages {
    async fn get(&self, url: &Url) -> Result<Fetched, WebError> {
        if url.host_str() == Some("inside.example") {
            return Err(WebError::NotAllowed("it is not public".to_owned()));
        }
        let mut place = url.clone();
        place.set_query(None);
        if let Some((to, keeps)) = self.redirects.get(place.as_str()) {
            let query = url.query().filter(|_| *keeps).map(|query| format!("?{query}")).unwrap_or_default();
            return Ok(fetched(302, &[("location", &format!("{to}{query}"))], ""));
        }
        let failed = || WebError::Failed("nobody is there".to_owned());
        self.answers.get(place.as_str()).cloned().ok_or_else(failed)
    }
}

fn fetched(status: u16, headers: &[(&str, &str)], body: &str) -> Fetched {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Fetched { status, headers, body: body.as_bytes().to_vec() }
}

fn page(head: &str) -> Fetched {
    fetched(
        200,
        &[("content-type", "text/html; charset=utf-8")],
        &format!("<!doctype html><head>{head}</head><p>x"),
    )
}

/// The answer of the page with these headers beside.
fn with(answer: Fetched, name: &str, value: &str) -> Fetched {
    let mut answer = answer;
    answer.headers.push((name.to_owned(), value.to_owned()));
    answer
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A store with the pixels `acme` (of any site), `listed` (of shop.example) and `archived`.
fn store(consent: ConsentMode) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    let created_at = at("2026-01-01T00:00:00Z");
    let project = Project {
        id: ProjectId::new(created_at, [1; 16]),
        slug: "acme".parse().unwrap(),
        name: "Acme".to_owned(),
        settings: ProjectSettings { consent, ..ProjectSettings::default() },
        created_at,
        archived_at: None,
    };
    block_on(store.create_project(&project)).unwrap();
    for (id, origins, archived_at) in [
        ("acme", vec![], None),
        ("listed", vec!["shop.example".parse().unwrap()], None),
        ("archived", vec![], Some(created_at)),
    ] {
        let settings = PixelSettings { origins, ..PixelSettings::default() };
        let (id, project_id) = (id.parse().unwrap(), project.id);
        let pixel = Pixel { id, project_id, name: "Site".to_owned(), settings, created_at, archived_at };
        block_on(store.create_pixel(&pixel)).unwrap();
    }
    store
}

async fn look(web: FewPages, pixel: Option<&str>, consent: ConsentMode) -> Result<Checked, CheckError> {
    let store = store(consent);
    let checks = PixelChecks::new(Arc::new(web), store.clone(), store);
    let (url, service) = (PAGE.parse().unwrap(), SERVICE.parse().unwrap());
    let pixel = pixel.map(|id| id.parse().unwrap());
    checks
        .check(Subject { url: &url, pixel: pixel.as_ref(), service: &service }, at("2026-11-23T12:00:00Z"))
        .await
}

fn web(answer: Fetched) -> FewPages {
    FewPages { answers: [(PAGE.to_owned(), answer)].into(), ..FewPages::default() }
}

/// What is wrong with a page: the names of what does not work, and of what somebody should look at in brackets.
async fn wrong(answer: Fetched, pixel: Option<&str>) -> Vec<String> {
    told(&look(web(answer), pixel, ConsentMode::NotRequired).await.unwrap())
}

fn told(checked: &Checked) -> Vec<String> {
    let named = checked.checks.iter().filter_map(|finding| match finding.verdict {
        Verdict::Ok => None,
        Verdict::Warn => Some(format!("({})", finding.name)),
        Verdict::Fail => Some(finding.name.to_owned()),
    });
    // Nobody has been there yet, in these tests.
    named.filter(|name| name != "(events)").collect()
}

#[tokio::test]
async fn the_tag_is_found_however_it_is_written_and_only_where_a_browser_runs_it() {
    let src = "https://track.example/static/pixel.js";
    for (head, expected) in [
        (TAG.to_owned(), vec![]),
        (format!("<SCRIPT ASYNC DATA-PIXEL-ID='acme' SRC='{src}'></SCRIPT>"), vec![]),
        (format!("<script\n defer data-pixel-id=acme src={src} ></script>"), vec![]),
        (r#"<script data-pixel-id="&#97;cme" src="//track.example/px.js"></script>"#.to_owned(), vec![]),
        (
            r#"<base href="https://track.example/x/"><script src="/static/pixel.js" data-pixel-id="acme"></script>"#.to_owned(),
            vec![],
        ),
        (format!("<title></head><script></title>{TAG}"), vec![]),
        (format!("<!-- {TAG} -->"), vec!["tag"]),
        (format!("<noscript>{TAG}</noscript>"), vec!["tag"]),
        (format!("<template>{TAG}</template>"), vec!["tag"]),
        (format!("<title>{TAG}</title>"), vec!["tag"]),
        (format!("<textarea>{TAG}</textarea>"), vec!["tag"]),
        (String::new(), vec!["tag"]),
        (r#"<script src="https://other.example/pixel.js"></script>"#.to_owned(), vec!["tag"]),
        (
            format!("<script>document.write('{}')</script>", TAG.replace("</script>", "<\\/script>")),
            vec!["(tag)"],
        ),
        ("<script>j.src='https://www.googletagmanager.com/gtm.js?id='+i</script>".to_owned(), vec!["(tag)"]),
        (format!("{TAG}{TAG}"), vec!["(tags)"]),
        (format!(r#"<script src="{src}"></script>"#), vec!["tag"]),
        (TAG.replace("acme", "a b"), vec!["tag"]),
        (TAG.replace("acme", ""), vec!["tag"]),
        (TAG.replace("acme", "nobody"), vec!["pixel"]),
        (TAG.replace("acme", "archived"), vec!["pixel"]),
        (TAG.replace("acme", "listed"), vec!["origin"]),
        (TAG.replace("https://track", "http://track"), vec!["tag", "script", "endpoint"]),
        (TAG.replace("async", r#"type="module""#), vec![]),
        (TAG.replace("async", r#"type="text/plain""#), vec!["(tag)"]),
        (TAG.replace("async", "nomodule"), vec!["tag"]),
        (TAG.replace("async", r#"integrity="sha384-x""#), vec!["(tag)"]),
        (TAG.replace("async", r#"data-consent="required""#), vec!["(consent)"]),
        (TAG.replace("async", r#"data-endpoint="https://track.example/nowhere""#), vec!["endpoint"]),
    ] {
        assert_eq!(wrong(page(&head), None).await, expected, "{head}");
    }
}

#[tokio::test]
async fn a_named_pixel_is_the_one_that_must_be_there() {
    assert_eq!(wrong(page(TAG), Some("acme")).await, Vec::<String>::new());
    assert_eq!(wrong(page(TAG), Some("listed")).await, ["tag", "origin"]);
    let both = format!("{}{TAG}", TAG.replace("acme", "listed"));
    assert_eq!(
        wrong(page(&both), Some("acme")).await,
        ["tag", "(tags)"],
        "the first one is the one that works"
    );
}

#[tokio::test]
async fn a_policy_that_blocks_script_or_events_is_told_with_what_to_add() {
    let nonce = TAG.replace("async", r#"nonce="abc" async"#);
    for (head, policy, expected) in [
        (TAG, "default-src 'self'", vec!["csp", "csp"]),
        (TAG, "script-src 'self' https://track.example", vec![]),
        (TAG, "script-src https://track.example; connect-src 'self'", vec!["csp"]),
        (TAG, "script-src 'nonce-abc' 'strict-dynamic'", vec!["csp"]),
        (&nonce, "script-src 'nonce-abc' 'strict-dynamic'; connect-src https://track.example", vec![]),
        (&nonce, "script-src 'nonce-other'", vec!["csp"]),
        (TAG, "script-src *, script-src 'none'", vec!["csp"]),
    ] {
        let answer = with(page(head), "content-security-policy", policy);
        assert_eq!(wrong(answer, None).await, expected, "{policy}");
    }
    let only_reported = with(page(TAG), "content-security-policy-report-only", "default-src 'none'");
    assert_eq!(wrong(only_reported, None).await, Vec::<String>::new());
    let meta = r#"<meta http-equiv="content-security-policy" content="script-src 'self'">"#;
    assert_eq!(wrong(page(&format!("{meta}{TAG}")), None).await, ["csp"]);
    assert_eq!(
        wrong(page(&format!("{TAG}{meta}")), None).await,
        Vec::<String>::new(),
        "it comes too late for the tag"
    );
    let checked = look(
        web(with(page(TAG), "content-security-policy", "default-src 'self'")),
        None,
        ConsentMode::NotRequired,
    );
    let checked = checked.await.unwrap();
    let mends: Vec<_> = checked.checks.iter().filter_map(|one| one.mend.as_deref()).collect();
    assert_eq!(
        mends[..2],
        ["add https://track.example to script-src", "add https://track.example to connect-src"]
    );
    assert!(!checked.ok);
}

#[tokio::test]
async fn a_redirect_that_strips_the_query_is_named() {
    for (keeps, expected) in [(true, vec![]), (false, vec!["query"])] {
        let mut web = web(page(TAG));
        web.answers.insert("https://acme.example/b".to_owned(), page(TAG));
        web.redirects.insert(PAGE.to_owned(), ("https://acme.example/a".to_owned(), true));
        web.redirects.insert("https://acme.example/a".to_owned(), ("/b".to_owned(), keeps));
        let checked = look(web, None, ConsentMode::NotRequired).await.unwrap();
        assert_eq!(told(&checked), expected);
        assert_eq!(checked.reached.as_deref(), Some("https://acme.example/b"));
        if !keeps {
            let found = &checked.checks[1].found;
            assert_eq!(
                found,
                "the redirect from https://acme.example/a to https://acme.example/b strips utm_source and gclid"
            );
        }
    }
    let mut round = web(page(TAG));
    round.redirects.insert(PAGE.to_owned(), (PAGE.to_owned(), true));
    assert_eq!(told(&look(round, None, ConsentMode::NotRequired).await.unwrap()), ["page"]);
}

#[tokio::test]
async fn what_is_no_page_is_told() {
    for answer in [
        fetched(404, &[("content-type", "text/html")], TAG),
        fetched(200, &[("content-type", "application/pdf")], TAG),
        fetched(302, &[], ""),
    ] {
        assert_eq!(wrong(answer, None).await, ["page"]);
    }
    assert_eq!(told(&look(FewPages::default(), None, ConsentMode::NotRequired).await.unwrap()), ["page"]);
    let mut inside = FewPages::default();
    inside.redirects.insert(PAGE.to_owned(), ("https://inside.example/".to_owned(), true));
    assert_eq!(told(&look(inside, Some("acme"), ConsentMode::NotRequired).await.unwrap()), ["page"]);
}

#[tokio::test]
async fn a_page_that_may_not_be_asked_for_is_no_finding() {
    let store = store(ConsentMode::NotRequired);
    let checks = PixelChecks::new(Arc::new(FewPages::default()), store.clone(), store);
    let (url, service) = ("https://inside.example/".parse().unwrap(), SERVICE.parse().unwrap());
    let refused = checks.check(Subject { url: &url, pixel: None, service: &service }, Timestamp::EPOCH).await;
    assert!(matches!(refused, Err(CheckError::Url(why)) if why == "it is not public"));
}

#[tokio::test]
async fn a_tag_of_the_sites_own_host_is_followed_to_the_service() {
    let tag = r#"<script src="/px/pixel.js" data-endpoint="/px/track" data-pixel-id="acme" async></script>"#;
    let script = || fetched(200, &[("content-type", "text/javascript")], "window.leadtrail=1");
    let taken = || fetched(405, &[("allow", "POST, OPTIONS")], "");
    let place = |path: &str| format!("https://www.acme.example{path}");
    for (of_script, of_endpoint, expected) in [
        (Some(script()), Some(taken()), vec![]),
        (Some(fetched(404, &[], "")), Some(taken()), vec!["script"]),
        (Some(page("a single-page app")), Some(page("a single-page app")), vec!["script", "endpoint"]),
        (Some(script()), Some(fetched(403, &[], "")), vec!["endpoint"]),
        (None, None, vec!["script", "endpoint"]),
    ] {
        let mut web = web(page(tag));
        web.answers.extend(of_script.map(|answer| (place("/px/pixel.js"), answer)));
        web.answers.extend(of_endpoint.map(|answer| (place("/px/track"), answer)));
        assert_eq!(told(&look(web, None, ConsentMode::NotRequired).await.unwrap()), expected);
    }
    let mut elsewhere = web(page(&TAG.replace("track.example", "t.other.example")));
    elsewhere.answers.insert("https://t.other.example/static/pixel.js".to_owned(), script());
    elsewhere.answers.insert("https://t.other.example/api/track".to_owned(), taken());
    assert_eq!(told(&look(elsewhere, None, ConsentMode::NotRequired).await.unwrap()), ["(script)"]);
}

#[tokio::test]
async fn a_tag_that_does_not_say_that_the_project_requires_consent_is_told() {
    let checked = look(web(page(TAG)), None, ConsentMode::Required).await.unwrap();
    assert_eq!(told(&checked), ["(consent)"]);
    assert!(checked.ok);
    let asking = TAG.replace("async", r#"data-consent="required" async"#);
    assert_eq!(
        told(&look(web(page(&asking)), None, ConsentMode::Required).await.unwrap()),
        Vec::<String>::new()
    );
}

#[test]
fn events_are_looked_for_within_a_day() {
    let now = at("2026-11-23T12:00:00Z");
    for (last, verdict) in [
        (None, Verdict::Warn),
        (Some("2026-11-22T11:59:59Z"), Verdict::Warn),
        (Some("2026-11-22T12:00:00Z"), Verdict::Ok),
        (Some("2026-11-23T12:05:00Z"), Verdict::Ok),
    ] {
        assert_eq!(judge::events(last.map(at), now).verdict, verdict, "{last:?}");
    }
}

/// A web that answers only when it is told to.
struct Slow(Semaphore);

#[async_trait]
impl Web for Slow {
    async fn get(&self, _url: &Url) -> Result<Fetched, WebError> {
        let _turn = self.0.acquire().await;
        Err(WebError::Failed("closed".to_owned()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_ends_in_time_and_only_so_many_run_at_once() {
    let store = store(ConsentMode::NotRequired);
    let checks = PixelChecks::new(Arc::new(Slow(Semaphore::new(0))), store.clone(), store);
    let (url, service) = (PAGE.parse().unwrap(), SERVICE.parse().unwrap());
    let subject = Subject { url: &url, pixel: None, service: &service };
    let begun = Instant::now();
    let all =
        futures::future::join_all((0..=CHECKS_AT_ONCE).map(|_| checks.check(subject, Timestamp::EPOCH)))
            .await;
    assert_eq!(begun.elapsed(), CHECK_MAX);
    assert_eq!(all.iter().filter(|one| matches!(one, Err(CheckError::Busy))).count(), 1);
    assert!(all.iter().flatten().all(|checked| told(checked) == ["page"]));
}
