//! Attribution decided anew beside a running service.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::client::Connection;
use crate::process::{Ended, Home, Service};

/// A service with the project `acme` and its pixel `site`.
fn start(home: &Home) -> Result<Service> {
    let store = home.sqlite();
    home.json(&["project", "create", "--name", "Acme", "--store", &store, "--json"])?;
    let pixel = ["pixel", "create", "--project", "acme", "--name", "Site", "--id", "site"];
    home.json(&[&pixel[..], &["--store", &store, "--json"]].concat())?;
    home.start(&["serve", "--bind", "127.0.0.1:0", "--store", &store], &[])
}

const PORTAL: &str = "https://portal.example/apps";

/// Somebody comes from there and sends a form.
fn visit(service: &Service, number: u32, referrer: &str) -> Result<()> {
    let event = |page: &str, form: Value| {
        json!({
            "pixel_id": "site",
            "page_url": format!("https://www.acme.example/{page}"),
            "referrer_url": referrer,
            "visitor_cookie": format!("visitor-{number}"),
            "form_data": form,
        })
    };
    let form = json!({"email": format!("p{number}@x.example"), "first_name": "Jane"});
    for event in [event("", Value::Null), event("contact", form)] {
        let reply = Connection::open(service.address())?.track(&event.to_string())?;
        ensure!(reply.status == 200, "{reply:?}");
    }
    Ok(())
}

fn reattribute(home: &Home, more: &[&str]) -> Result<Ended> {
    let store = home.sqlite();
    home.run(&[&["reattribute", "--project", "acme", "--store", &store], more].concat())
}

#[test]
fn what_follows_from_a_new_setting_is_shown_first_and_then_done_while_the_service_runs() -> Result<()> {
    let home = Home::new()?;
    let service = start(&home)?;
    for number in 0..3 {
        visit(&service, number, PORTAL)?;
    }
    let unchanged = reattribute(&home, &["--dry-run"])?;
    ensure!(unchanged.code == Some(0), "{unchanged:?}");

    let store = home.sqlite();
    let set = "ignore_referrers=[\"portal.example\"]";
    home.json(&["project", "update", "acme", "--set", set, "--store", &store, "--json"])?;
    let dry = reattribute(&home, &["--dry-run"])?;
    ensure!(dry.code == Some(1), "{dry:?}");
    ensure!(dry.stdout.contains("- ") && dry.stdout.contains("portal.example / referral"), "{dry:?}");
    ensure!(dry.stdout.contains("3 leads: would change 3"), "{dry:?}");
    let again = reattribute(&home, &["--dry-run"])?;
    ensure!(again.code == Some(1), "a dry run changes nothing: {again:?}");

    let done = reattribute(&home, &["--json"])?;
    let report: Value = serde_json::from_str(&done.stdout).with_context(|| format!("{done:?}"))?;
    ensure!(
        done.code == Some(0) && report["leads_changed"] == 3 && report["touches_removed"] == 3,
        "{report}"
    );
    let unchanged = reattribute(&home, &["--dry-run", "--json"])?;
    ensure!(unchanged.code == Some(0), "{unchanged:?}");
    // Of visitors it knows by heart the service learns what was decided meanwhile.
    visit(&service, 1, "")?;
    let why = home.json(&["why", "p1@x.example", "--project", "acme", "--store", &store, "--json"])?;
    ensure!(why["leads"][0]["touches"] == json!([]), "{why}");
    ensure!(service.problems()?.is_empty(), "{}", service.problems()?);
    Ok(())
}

#[test]
fn what_counts_as_a_conversion_is_set_counted_afterwards_and_explained() -> Result<()> {
    let home = Home::new()?;
    let service = start(&home)?;
    visit(&service, 1, "https://news.example/")?;
    let store = home.sqlite();
    let set =
        r#"conversions={"Contact": {"page": "/contact"}, "Enquiry": {"event": "form_submit", "value": 30}}"#;
    home.json(&["project", "update", "acme", "--set", set, "--store", &store, "--json"])?;
    let dry = reattribute(&home, &["--dry-run"])?;
    ensure!(dry.code == Some(1) && dry.stdout.contains("conversion Enquiry of"), "{dry:?}");
    ensure!(dry.stdout.contains("conversions: would change 1 (1 added, 0 removed, 0 changed)"), "{dry:?}");
    let done = reattribute(&home, &["--json"])?;
    let report: Value = serde_json::from_str(&done.stdout).with_context(|| format!("{done:?}"))?;
    ensure!(report["conversions_added"] == 1, "{report}");
    let event = report["details"][0]["conversions"][0]["event_id"].as_str().context("an event")?;
    let why = home.json(&["why", event, "--project", "acme", "--store", &store, "--json"])?;
    ensure!(why["leads"][0]["event_id"] == event && why["conversions"][0]["value"] == 30.0, "{why}");
    ensure!(why["conversions"][0]["touches"]["first"]["source"] == "news.example", "{why}");
    let text = home.run(&["why", event, "--project", "acme", "--store", &store])?;
    for part in ["conversion  Enquiry", "last_non_direct", "news.example / referral", "100 % 1. news.example"]
    {
        ensure!(text.stdout.contains(part), "{part} in {}", text.stdout);
    }
    Ok(())
}

#[test]
fn what_is_wrong_with_tags_is_said_with_what_to_do() -> Result<()> {
    let home = Home::new()?;
    let service = start(&home)?;
    let hygiene = |more: &[&str]| {
        let store = home.sqlite();
        home.run(&[&["hygiene", "--project", "acme", "--store", &store], more].concat())
    };
    let nothing = hygiene(&[])?;
    ensure!(
        nothing.code == Some(0) && nothing.stdout.starts_with("nothing wrong in 0 events"),
        "{nothing:?}"
    );
    for query in ["utm_source=News&mail=jane%40x.example", "utm_source=news&utm_medium=email"] {
        let page_url = format!("https://www.acme.example/?{query}");
        let event = json!({"pixel_id": "site", "page_url": page_url, "visitor_cookie": "visitor-1"});
        let reply = Connection::open(service.address())?.track(&event.to_string())?;
        ensure!(reply.status == 200, "{reply:?}");
    }
    let found = hygiene(&["--pixel", "site", "--days", "1"])?;
    ensure!(found.code == Some(1), "{found:?}");
    for part in
        ["utm_source: News, news", "utm_source without utm_medium: 1", "mail on https://www.acme.example/"]
    {
        ensure!(found.stdout.contains(part), "{part} in {}", found.stdout);
    }
    ensure!(!found.stdout.contains("jane"), "{}", found.stdout);
    let json = hygiene(&["--json"])?;
    let report: Value = serde_json::from_str(&json.stdout).with_context(|| format!("{json:?}"))?;
    ensure!(report["events"] == 2 && report["complete"] == true, "{report}");
    ensure!(hygiene(&["--days", "0"])?.code == Some(2));
    let unknown = hygiene(&["--pixel", "other"])?;
    ensure!(unknown.code == Some(1) && unknown.stderr.contains("no pixel `other`"), "{unknown:?}");
    Ok(())
}

#[test]
fn a_position_or_a_project_that_there_is_not_is_named() -> Result<()> {
    let home = Home::new()?;
    let service = start(&home)?;
    let wrong = reattribute(&home, &["--from", "visitor:7"])?;
    ensure!(wrong.code == Some(2) && wrong.stderr.contains("not a position"), "{wrong:?}");
    let store = home.sqlite();
    let unknown = home.run(&["reattribute", "--project", "nobody", "--store", &store])?;
    ensure!(unknown.code == Some(1) && unknown.stderr.contains("nobody"), "{unknown:?}");
    drop(service);
    Ok(())
}
