//! `leadtrail doctor`, on machines that are well and on others.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process::{Ended, Home, text};

/// Nobody listens there.
const NOBODY: &str = "127.0.0.1:1";

/// A folder with a store that has a project.
fn home() -> Result<Home> {
    let home = Home::new()?;
    home.json(&["project", "create", "--name", "Acme", "--store", &home.sqlite(), "--json"])?;
    Ok(home)
}

/// What was found, by name; of several of a name the last.
fn found(ended: &Ended) -> Result<BTreeMap<String, (String, String)>> {
    let answer: Value = serde_json::from_str(&ended.stdout).with_context(|| format!("{ended:?}"))?;
    let ok = answer["ok"].as_bool().context("no word on the whole")?;
    assert_eq!(ended.code, Some(i32::from(!ok)), "{ended:?}");
    let checks = answer["checks"].as_array().context("no list of checks")?;
    let part = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    for check in checks {
        assert_eq!(part(check, "verdict") == "ok", check["mend"].is_null(), "{check}");
    }
    Ok(checks
        .iter()
        .map(|check| (part(check, "name"), (part(check, "verdict"), part(check, "found"))))
        .collect())
}

fn verdict(ended: &Ended, name: &str) -> Result<String> {
    Ok(found(ended)?.get(name).with_context(|| format!("no `{name}` in {ended:?}"))?.0.clone())
}

#[test]
fn a_good_machine_is_told_so_in_a_line_each() -> Result<()> {
    let home = home()?;
    let bind = [("LEADTRAIL__HTTP__BIND", NOBODY)];
    let ended = home.run_with(&["doctor", "--store", &home.sqlite()], &bind)?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for line in ended.stdout.lines() {
        assert!(line.starts_with("ok    ") || line.starts_with("warn  ") && line.contains("  → "), "{line}");
    }
    let ended = home.run_with(&["doctor", "--json", "--store", &home.sqlite()], &bind)?;
    let verdicts: BTreeMap<String, String> =
        found(&ended)?.into_iter().map(|(name, (verdict, _))| (name, verdict)).collect();
    let wanted = [
        ("clock", "ok"),
        ("crm", "ok"),
        ("disk", "ok"),
        ("durability", "ok"),
        ("geo", "ok"),
        ("pixel", "warn"),
        ("proxy", "ok"),
        ("schema", "ok"),
        ("settings", "ok"),
        ("store", "ok"),
    ];
    let wanted = wanted.map(|(name, verdict)| (name.to_owned(), verdict.to_owned()));
    assert_eq!(verdicts, BTreeMap::from(wanted));
    assert_eq!(home.run(&["doctor", "--frobnicate"])?.code, Some(2));
    Ok(())
}

#[test]
fn each_thing_that_is_wrong_is_named_with_its_mend() -> Result<()> {
    let home = home()?;
    let store = home.sqlite();
    std::fs::write(home.path("geo.mmdb"), "no database")?;
    let geo = home.path("geo.mmdb");
    let absent = home.path("nowhere").join("store.db");
    let absent = format!("sqlite:{}", text(&absent)?);
    let crm = [
        ("LEADTRAIL__CRM__KIND", "pipedrive"),
        ("LEADTRAIL__CRM__PIPEDRIVE__API_TOKEN", "not-a-real-token"),
        ("LEADTRAIL__CRM__PIPEDRIVE__BASE_URL", "http://127.0.0.1:1/api/v2"),
    ];
    let doctor = |store: &str, environment: &[(&str, &str)]| {
        let ended = home.run_with(&["doctor", "--json", "--store", store], environment)?;
        assert!(!ended.stdout.contains("not-a-real"), "{ended:?}");
        assert!(!ended.stderr.contains("not-a-real"), "{ended:?}");
        anyhow::Ok(ended)
    };
    for (name, store, environment) in [
        ("store", absent.as_str(), &[][..]),
        ("store", "postgres://u:not-a-real-password@127.0.0.1:1/d", &[]),
        ("store", "postgres://u:not-a-real password@127.0.0.1:1/d", &[]),
        ("settings", &store, &[("LEADTRAIL__SYNC__DELAY", "soon")]),
        ("geo", &store, &[("LEADTRAIL__GEO__FILE", text(&geo)?)]),
        ("geo", &store, &[("LEADTRAIL__GEO__FILE", "nowhere.mmdb")]),
        ("crm", &store, &crm),
        ("proxy", &store, &[("LEADTRAIL__HTTP__PUBLIC_URL", "https://127.0.0.1:1/")]),
        ("pixel", &store, &[("LEADTRAIL__HTTP__PUBLIC_URL", "https://127.0.0.1:1/")]),
    ] {
        let ended = doctor(store, environment)?;
        assert_eq!(verdict(&ended, name)?, "fail", "{name} {environment:?}: {ended:?}");
    }
    let new = format!("sqlite:{}", text(&home.path("new.db"))?);
    assert_eq!(verdict(&doctor(&new, &[])?, "store")?, "warn");
    assert!(!home.path("new.db").exists(), "a look makes no store");
    Ok(())
}

#[test]
fn a_mapping_is_held_against_the_fields_of_the_crm() -> Result<()> {
    let home = home()?;
    let store = home.sqlite();
    let sandbox = [("LEADTRAIL__CRM__KIND", "sandbox")];
    let doctor = || home.run_with(&["doctor", "--json", "--store", &store], &sandbox);
    let well = doctor()?;
    assert_eq!(
        (verdict(&well, "crm")?.as_str(), verdict(&well, "mapping")?.as_str()),
        ("ok", "ok"),
        "{well:?}"
    );
    let mapping = r#"crm.mapping={"utm_source":{"field":"no such field"}}"#;
    home.json(&["project", "update", "acme", "--set", mapping, "--store", &store, "--json"])?;
    let ended = doctor()?;
    assert_eq!(verdict(&ended, "mapping")?, "fail", "{ended:?}");
    assert!(found(&ended)?["mapping"].1.contains("utm_source"), "{ended:?}");
    Ok(())
}

#[test]
fn a_running_service_is_found() -> Result<()> {
    let home = home()?;
    let store = home.sqlite();
    let service = home.start(&["serve", "--bind", "127.0.0.1:0", "--store", &store], &[])?;
    let bind = service.address().to_string();
    let ended =
        home.run_with(&["doctor", "--json", "--store", &store], &[("LEADTRAIL__HTTP__BIND", bind.as_str())])?;
    assert_eq!(verdict(&ended, "pixel")?, "ok", "{ended:?}");
    Ok(())
}
