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
    ensure!(why[0]["touches"] == json!([]), "{why}");
    ensure!(service.problems()?.is_empty(), "{}", service.problems()?);
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
