//! The description of the interface, as people read it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;

use crate::demo::is_quiet;
use crate::devtools::{Browser, Page};
use crate::process::{Home, PATIENCE, Service};

fn serve(home: &Home) -> Result<Service> {
    home.start(&["serve", "--bind", "127.0.0.1:0", "--store", &home.sqlite()], &[])
}

fn open(page: &mut Page, service: &Service, fragment: &str) -> Result<()> {
    page.goto(&format!("http://{}/docs{fragment}", service.address()))?;
    page.wait_until("document.querySelectorAll('article').length", PATIENCE)
}

/// The texts of what `selector` finds and is to be seen.
fn seen(page: &mut Page, selector: &str) -> Result<BTreeSet<String>> {
    let texts = page.evaluate(&format!(
        "[...document.querySelectorAll('{selector}')].filter(one => one.checkVisibility()).map(one => one.innerText)"
    ))?;
    let texts = texts.as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(texts.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect())
}

#[test]
fn every_operation_is_listed_and_opens_under_a_policy_that_forbids_all_but_its_own() -> Result<()> {
    let home = Home::new()?;
    let service = serve(&home)?;
    let browser = Browser::launch()?;
    let mut page = browser.page()?;
    open(&mut page, &service, "")?;
    let heads = seen(&mut page, "article summary")?;
    let routes = leadtrail_http::routes();
    let described: Vec<_> = routes.iter().filter(|route| !route.path.starts_with("/demo")).collect();
    assert_eq!(heads.len(), described.len());
    for route in &described {
        let head = format!("{} {} ", route.method, route.path);
        assert!(heads.iter().any(|one| one.starts_with(&head)), "{head} in {heads:?}");
    }
    // All that can be opened, as deep as it goes.
    page.evaluate(
        "(async () => { for (;;) {
            const closed = document.querySelectorAll('main details:not([open])');
            if (!closed.length) return;
            await Promise.all([...closed].map(one => new Promise(opened => {
                one.addEventListener('toggle', opened, { once: true });
                one.open = true;
            })));
        } })()",
    )?;
    let text = page.evaluate("document.body.innerText")?.to_string();
    for part in
        ["utm_medium", "retention_days", "Europe/Berlin", "409", "WWW-Authenticate", "curl -X PATCH", "once"]
    {
        assert!(text.contains(part), "{part}");
    }
    for wrong in ["undefined", "[object"] {
        assert!(!text.contains(wrong), "{wrong}");
    }
    is_quiet(&mut page)
}

#[test]
fn a_search_leaves_what_has_its_words_and_a_link_opens_its_operation() -> Result<()> {
    let home = Home::new()?;
    let service = serve(&home)?;
    let browser = Browser::launch()?;
    let mut page = browser.page()?;
    open(&mut page, &service, "")?;
    page.type_into("#search", "revokekey")?;
    assert_eq!(seen(&mut page, "article summary")?.len(), 1);
    assert_eq!(seen(&mut page, "nav li")?, BTreeSet::from(["DELETE Revoke a key".to_owned()]));
    page.type_into("#search", " nonsense")?;
    assert_eq!(seen(&mut page, "article, nav li")?.len(), 0);
    assert_eq!(seen(&mut page, "#state")?, BTreeSet::from(["No operations.".to_owned()]));
    open(&mut page, &service, "#createKey")?;
    page.wait_until("document.querySelector('#createKey dt')?.checkVisibility()", PATIENCE)?;
    assert!(seen(&mut page, "#createKey dt")?.iter().any(|name| name.starts_with("scopes ")));
    is_quiet(&mut page)
}

#[test]
fn the_page_fits_a_phone() -> Result<()> {
    let home = Home::new()?;
    let service = serve(&home)?;
    let browser = Browser::launch()?;
    let mut page = browser.page()?;
    page.resize(360, 740)?;
    open(&mut page, &service, "#changeProject")?;
    page.screenshot(&PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("docs-phone.png"))?;
    assert_eq!(page.evaluate("document.documentElement.scrollWidth")?, 360, "it scrolls sideways");
    is_quiet(&mut page)
}
