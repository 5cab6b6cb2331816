//! What scripts may hold on to.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::client::{Connection, Reply};
use crate::process::{Home, PATIENCE, Service, poll, text};

/// Within this time, what the command line changes reaches a running service.
const REACHES_WITHIN: Duration = Duration::from_secs(2);

const ANY_PORT: &str = "127.0.0.1:0";

/// An event of a pixel.
fn pageview(pixel: &str) -> String {
    json!({"pixel_id": pixel, "page_url": "https://www.acme.example/?utm_source=letter"}).to_string()
}

fn track(service: &Service, event: &str) -> Result<Reply> {
    Ok(Connection::open(service.address())?.track(event)?)
}

/// A text of an answer.
fn field<'v>(value: &'v Value, name: &str) -> Result<&'v str> {
    value[name].as_str().with_context(|| format!("no text `{name}` in {value}"))
}

/// The keys that a start printed.
fn admin_keys(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("admin key: ")).collect()
}

#[test]
fn a_project_is_created_once_by_its_slug() -> Result<()> {
    let home = Home::new()?;
    let store = home.sqlite();
    let create = ["project", "create", "--name", "Acme", "--slug", "acme", "--store", &store, "--json"];
    let first = home.json(&create)?;
    assert_eq!(field(&first, "slug")?, "acme");
    assert_eq!(home.json(&create)?["id"], first["id"]);
    let made = home.json(&["project", "create", "--name", "Söhne & Co", "--store", &store, "--json"])?;
    assert_eq!(field(&made, "slug")?, "s-hne-co", "a slug is made of the name");
    assert_ne!(made["id"], first["id"]);
    Ok(())
}

#[test]
fn a_pixel_is_created_with_its_snippet_by_id_or_slug_of_its_project() -> Result<()> {
    let home = Home::new()?;
    let store = home.sqlite();
    let project = home.json(&["project", "create", "--name", "Acme", "--store", &store, "--json"])?;
    let create = |project: &str, more: &[&str]| {
        let all =
            [&["pixel", "create", "--project", project, "--name", "Site", "--store", &store, "--json"], more];
        home.json(&all.concat())
    };
    let given = ["--id", "acme-site", "--origin", "www.acme.example", "--origin", "*.acme.example"];
    let named = create("acme", &given)?;
    assert_eq!(named["id"], "acme-site");
    let snippet = field(&named, "snippet")?;
    assert!(
        snippet.contains("data-pixel-id=\"acme-site\"") && snippet.contains("/static/pixel.js"),
        "{snippet}"
    );
    assert_eq!(create(field(&project, "id")?, &given)?["id"], "acme-site");
    let drawn = create("acme", &[])?;
    assert_ne!(field(&drawn, "id")?, field(&create("acme", &[])?, "id")?);
    Ok(())
}

#[test]
fn a_landing_is_classified_without_store_or_settings() -> Result<()> {
    let home = Home::new()?;
    let page = "https://www.acme.example/?gclid=test-1&adgroup=roofs";
    let landing = home.json(&["classify", page, "--referrer", "https://www.google.com/", "--json"])?;
    assert_eq!(
        (&landing["source"], &landing["medium"], &landing["channel"], &landing["rule"]),
        (&json!("google"), &json!("cpc"), &json!("Paid Search"), &json!("click_id"))
    );
    assert_eq!(landing["signals"], json!({"ad_group": "roofs"}));
    assert_eq!(landing["click_ids"][0]["network"], "Google Ads");
    let inside = ["classify", "https://www.acme.example/", "--referrer", "https://shop.other.example/"];
    let text = home.run(&[&inside[..], &["--site", "*.other.example"]].concat())?.stdout;
    assert!(text.contains("one of the pixel's own sites"), "{text}");
    assert!(home.run(&inside)?.stdout.contains("Referral: the medium is one of links"));
    assert_eq!(home.run(&["classify", "/pricing"])?.code, Some(1));
    assert_eq!(home.run(&["classify"])?.code, Some(2));
    Ok(())
}

#[test]
fn a_key_is_shown_when_it_is_made_and_never_again() -> Result<()> {
    let home = Home::new()?;
    let store = home.sqlite();
    home.json(&["project", "create", "--name", "Acme", "--store", &store, "--json"])?;
    let all = home.json(&["key", "create", "--scope", "admin", "--store", &store, "--json"])?;
    let bound =
        home.json(&["key", "create", "--scope", "admin", "--project", "acme", "--store", &store, "--json"])?;
    let secrets = [field(&all, "key")?, field(&bound, "key")?];
    assert!(secrets.iter().all(|secret| secret.starts_with("lt_") && secret.len() >= 3 + 32), "{secrets:?}");
    assert_ne!(secrets[0], secrets[1]);
    let listed = home.json(&["key", "list", "--store", &store, "--json"])?;
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    assert!(!secrets.iter().any(|secret| listed.to_string().contains(secret)), "{listed}");
    for entry in std::fs::read_dir(home.path(""))? {
        let bytes = std::fs::read(entry?.path())?;
        let holds = |secret: &&str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!secrets.iter().any(holds), "a secret stands in a file");
    }
    Ok(())
}

#[test]
fn the_first_start_shows_an_admin_key_once_and_every_start_where_it_listens() -> Result<()> {
    let home = Home::new()?;
    let store = home.sqlite();
    let serve = ["serve", "--bind", ANY_PORT, "--store", &store];
    let talkative = [("LEADTRAIL__LOG__LEVEL", "trace")];
    let mut first = home.start(&serve, &talkative)?;
    assert_eq!(track(&first, &pageview("none"))?.status, 400);
    assert_eq!(first.terminate()?.0.code(), Some(0));
    let lines = first.lines();
    assert!(!first.log()?.is_empty(), "the log goes to standard error");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let keys = admin_keys(&lines);
    assert!(keys.len() == 1 && keys[0].starts_with("lt_"), "{lines:?}");
    assert_eq!(lines[1], format!("listening on http://{}", first.address()));
    assert!(!first.log()?.contains(keys[0]), "the log has the key");

    let mut second = home.start(&serve, &talkative)?;
    assert_eq!(second.terminate()?.0.code(), Some(0));
    assert_eq!(second.lines(), [format!("listening on http://{}", second.address())]);
    Ok(())
}

#[test]
fn of_two_that_start_at_once_on_an_empty_store_one_shows_the_admin_key() -> Result<()> {
    let home = Home::new()?;
    let other = Home::new()?;
    let store = home.sqlite();
    let serve = ["serve", "--bind", ANY_PORT, "--store", &store];
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| home.start(&serve, &[]));
        let two = other.start(&serve, &[]);
        (one.join(), two)
    });
    let Ok(one) = one else { bail!("a start panicked") };
    let lines = [one?.lines(), two?.lines()].concat();
    assert_eq!(admin_keys(&lines).len(), 1, "{lines:?}");
    Ok(())
}

#[test]
fn what_the_command_line_changes_reaches_a_running_service_within_two_seconds() -> Result<()> {
    let home = Home::new()?;
    let store = home.sqlite();
    let service = home.start(&["serve", "--bind", ANY_PORT, "--store", &store], &[])?;
    home.json(&["project", "create", "--name", "Acme", "--store", &store, "--json"])?;
    assert_eq!(track(&service, &pageview("acme-site"))?.status, 400, "there is no such pixel yet");
    let create =
        ["pixel", "create", "--project", "acme", "--name", "Site", "--id", "acme-site", "--store", &store];
    home.json(&[&create[..], &["--json"]].concat())?;
    reaches(&service, 200)?;
    let archive = ["pixel", "archive", "acme-site", "--store", &store, "--json"];
    home.json(&archive)?;
    reaches(&service, 400)?;
    home.json(&archive)?;
    assert_eq!(track(&service, &pageview("acme-site"))?.status, 400, "archived it stays");
    Ok(())
}

/// Whatever is sent later than the time promised is answered so.
fn reaches(service: &Service, status: u16) -> Result<()> {
    let changed = Instant::now();
    poll("the change", || {
        let sent_after = changed.elapsed();
        let reply = track(service, &pageview("acme-site"))?;
        ensure!(
            reply.status == status || sent_after <= REACHES_WITHIN,
            "{sent_after:?} after the change the answer is {reply:?}"
        );
        Ok((reply.status == status).then_some(()))
    })
}

#[test]
fn an_archived_project_collects_no_more() -> Result<()> {
    let home = Home::new()?;
    let store = home.sqlite();
    let service = home.start(&["serve", "--bind", ANY_PORT, "--store", &store], &[])?;
    home.json(&["project", "create", "--name", "Acme", "--store", &store, "--json"])?;
    let create =
        ["pixel", "create", "--project", "acme", "--name", "Site", "--id", "acme-site", "--store", &store];
    home.json(&[&create[..], &["--json"]].concat())?;
    reaches(&service, 200)?;
    home.json(&["project", "archive", "acme", "--store", &store, "--json"])?;
    reaches(&service, 400)
}

#[test]
fn a_form_reaches_a_person_who_was_added_beside_the_running_service() -> Result<()> {
    let home = Home::new()?;
    let store = home.sqlite();
    let file = home.path("crm.json");
    let environment = [
        ("LEADTRAIL__CRM__KIND", "sandbox"),
        ("LEADTRAIL__CRM__SANDBOX__FILE", text(&file)?),
        ("LEADTRAIL__SYNC__DELAY", "100ms"),
        ("LEADTRAIL__SYNC__POLL", "50ms"),
    ];
    let service = home.start(&["serve", "--bind", ANY_PORT, "--store", &store], &environment)?;
    home.json(&["project", "create", "--name", "Acme", "--store", &store, "--json"])?;
    home.json(&[
        "pixel",
        "create",
        "--project",
        "acme",
        "--name",
        "Site",
        "--id",
        "acme-site",
        "--store",
        &store,
        "--json",
    ])?;
    let person = ["--email", "Ada@Example.com", "--first-name", "Ada", "--last-name", "Lovelace"];
    let added =
        home.run_with(&[&["crm", "sandbox-person", "--store", &store][..], &person].concat(), &environment)?;
    assert_eq!(added.code, Some(0), "{added:?}");
    let show = ["crm", "sandbox-show", "--email", "ada@example.com", "--store", &store, "--json"];
    let shown = || -> Result<Value> {
        let ended = home.run_with(&show, &environment)?;
        ensure!(ended.code == Some(0), "{ended:?}");
        Ok(serde_json::from_str(&ended.stdout)?)
    };
    let before = shown()?;
    assert_eq!(before["fields"], json!({}));
    assert!(before["id"].is_string() || before["id"].is_number(), "{before}");

    let form = json!({
        "pixel_id": "acme-site",
        "page_url": "https://www.acme.example/contact?utm_source=google&utm_medium=cpc&gclid=test-click&x=1",
        "page_title": "Contact", "event_type": "form_submit", "screen": {"width": 1920, "height": 1080},
        "form_data": {"email": " ADA@example.com", "first_name": "Ada", "last_name": "Lovelace"},
    });
    let reply = track(&service, &form.to_string())?;
    assert_eq!(reply.status, 200, "{reply:?}");
    let after = poll("the CRM's update", || {
        let person = shown()?;
        Ok((person["fields"] != json!({})).then_some(person))
    })?;
    assert_eq!(after["id"], before["id"]);
    let fields = &after["fields"];
    for (name, value) in [
        ("utm_source", "google"),
        ("utm_medium", "cpc"),
        ("gclid", "test-click"),
        ("page_title", "Contact"),
        ("screen_resolution", "1920x1080"),
        ("event_type", "form_submit"),
        ("pixel_id", "acme-site"),
    ] {
        assert_eq!(fields[name], value, "{name} in {fields}");
    }
    for name in ["event_id", "visitor_id", "session_id"] {
        assert_eq!(fields[name], reply.body[name], "{name} in {fields}");
    }
    assert_eq!(fields["first_name"], Value::Null, "what a search goes by is never written");
    Ok(())
}

#[test]
fn the_persons_of_the_sandbox_lie_in_the_working_folder_unless_said_otherwise() -> Result<()> {
    let home = Home::new()?;
    let added = home.json(&[
        "crm",
        "sandbox-person",
        "--email",
        "ada@example.com",
        "--first-name",
        "Ada",
        "--last-name",
        "Lovelace",
        "--json",
    ])?;
    assert!(home.path("sandbox-crm.json").exists());
    assert_eq!(
        home.json(&["crm", "sandbox-show", "--email", "ada@example.com", "--json"])?["id"],
        added["id"]
    );
    Ok(())
}

#[test]
fn exit_codes_tell_done_from_a_problem_from_bad_usage() -> Result<()> {
    let home = Home::new()?;
    let store = home.sqlite();
    for (code, arguments) in [
        (0, &["migrate"][..]),
        (0, &["project", "list"]),
        (0, &["--version"]),
        (1, &["project", "show", "nobody"]),
        (1, &["pixel", "create", "--project", "nobody", "--name", "x"]),
        (1, &["pixel", "archive", "nobody"]),
        (1, &["project", "create", "--name", "Reserved", "--slug", "pixels"]),
        (1, &["crm", "sandbox-show", "--email", "nobody@example.com"]),
        (1, &["--config", "absent.toml", "project", "list"]),
        (2, &[]),
        (2, &["nonsense"]),
        (2, &["project", "create"]),
        (2, &["key", "create", "--scope", "everything"]),
        (2, &["crm", "sandbox-person", "--email", "no address"]),
        (2, &["serve", "--bind", "somewhere"]),
    ] {
        let all = [arguments, &["--store", &store]].concat();
        let ended = home.run(if arguments.is_empty() { arguments } else { &all })?;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stderr.is_empty(), code == 0, "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout.is_empty(), code != 0, "{arguments:?}: {ended:?}");
    }
    Ok(())
}

#[test]
fn a_pixel_of_another_project_is_not_taken_over() -> Result<()> {
    let home = Home::new()?;
    let store = home.sqlite();
    for name in ["one", "two"] {
        home.json(&["project", "create", "--name", name, "--store", &store, "--json"])?;
    }
    let create = |project: &str| {
        home.run(&[
            "pixel",
            "create",
            "--project",
            project,
            "--name",
            "Site",
            "--id",
            "site",
            "--store",
            &store,
        ])
    };
    assert_eq!(create("one")?.code, Some(0));
    let refused = create("two")?;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("site"), "{refused:?}");
    Ok(())
}

#[test]
fn migrations_are_shown_checked_and_applied() -> Result<()> {
    let home = Home::new()?;
    let store = home.sqlite();
    let migrate = |how: &[&str]| home.run(&[&["migrate", "--store", &store, "--json"][..], how].concat());
    let names = |ended: &crate::process::Ended, key: &str| -> Result<usize> {
        let value: Value = serde_json::from_str(&ended.stdout)?;
        value[key].as_array().map(Vec::len).with_context(|| value.to_string())
    };
    let plan = migrate(&["--plan"])?;
    assert_eq!(plan.code, Some(0));
    let pending = names(&plan, "pending")?;
    assert!(pending > 0);
    assert_eq!(migrate(&["--check"])?.code, Some(1));
    let applied = migrate(&[])?;
    assert_eq!((applied.code, names(&applied, "applied")?), (Some(0), pending));
    assert_eq!(migrate(&["--check"])?.code, Some(0));
    assert_eq!(names(&migrate(&[])?, "applied")?, 0);
    Ok(())
}

#[test]
fn an_unmigrated_store_is_used_only_where_migrating_at_start_was_not_turned_off() -> Result<()> {
    let home = Home::new()?;
    let store = home.sqlite();
    let off = [("LEADTRAIL__STORE__MIGRATE_ON_START", "false")];
    let refused = home.run_with(&["serve", "--bind", ANY_PORT, "--store", &store], &off)?;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("leadtrail migrate"), "{refused:?}");
    assert_eq!(home.run(&["migrate", "--store", &store])?.code, Some(0));
    home.start(&["serve", "--bind", ANY_PORT, "--store", &store], &off)?;
    Ok(())
}

#[test]
fn settings_are_shown_with_their_sources_and_without_their_secrets() -> Result<()> {
    let home = Home::new()?;
    std::fs::write(home.path("leadtrail.toml"), "[sync]\ndelay = \"9m\"\npoll = \"3s\"\n")?;
    let environment = [
        ("LEADTRAIL__SYNC__POLL", "1s"),
        ("LEADTRAIL__CRM__KIND", "pipedrive"),
        ("LEADTRAIL__CRM__PIPEDRIVE__API_TOKEN", "canary-token"),
    ];
    for store in [
        "postgres://user:canary-password@db.example/leadtrail",
        "postgres://user@db.example/leadtrail?sslmode=require&password=canary-password",
        "postgres://user@db.example/leadtrail?sslpassword=canary-password",
    ] {
        for format in [&[][..], &["--json"]] {
            let arguments =
                [&["check-config", "--config", "leadtrail.toml", "--store", store][..], format].concat();
            let ended = home.run_with(&arguments, &environment)?;
            assert_eq!(ended.code, Some(0), "{ended:?}");
            assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
            for part in ["db.example", "9m", "leadtrail.toml", "1s", "LEADTRAIL__SYNC__POLL"] {
                assert!(ended.stdout.contains(part), "{part} in {ended:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn settings_that_cannot_be_meant_are_refused_all_at_once_without_their_secrets() -> Result<()> {
    let home = Home::new()?;
    let environment = [
        ("LEADTRAIL__SYNC__DELAY", "soon"),
        ("LEADTRAIL__SINC__DELAY", "1s"),
        ("LEADTRAIL__STORE__URL", "host=db.example password=canary-password"),
    ];
    for arguments in [&["check-config"][..], &["serve"], &["project", "list"]] {
        let ended = home.run_with(arguments, &environment)?;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        for part in ["sync.delay", "sinc.delay", "store.url"] {
            assert!(said.contains(part), "{part} in {ended:?}");
        }
        assert!(!said.contains("canary"), "{ended:?}");
    }
    Ok(())
}

#[test]
fn every_command_has_help_with_an_example() -> Result<()> {
    let home = Home::new()?;
    let mut waiting = vec![Vec::new()];
    let mut seen = BTreeSet::new();
    while let Some(path) = waiting.pop() {
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = home.run(&arguments)?;
        assert_eq!(help.code, Some(0), "{help:?}");
        assert!(
            help.stdout.contains(": leadtrail ") || help.stdout.contains(":     leadtrail "),
            "{}",
            help.stdout
        );
        let commands = help.stdout.lines().skip_while(|line| *line != "Commands:").skip(1);
        for line in commands.take_while(|line| !line.is_empty()) {
            // Where a description goes on, the line is indented further.
            let name = line.strip_prefix("  ").filter(|line| !line.starts_with(' '));
            if let Some(name) = name.and_then(|line| line.split(' ').next()).filter(|name| *name != "help") {
                waiting.push([path.as_slice(), &[name.to_owned()]].concat());
            }
        }
        seen.insert(path.join(" "));
    }
    for command in
        ["serve", "demo", "migrate", "project create", "pixel snippet", "key create", "crm sandbox-show"]
    {
        assert!(seen.contains(command), "{command} in {seen:?}");
    }
    Ok(())
}

#[test]
fn a_service_in_memory_collects_and_says_that_it_is_ready() -> Result<()> {
    let home = Home::new()?;
    let mut service = home.start(&["serve", "--bind", ANY_PORT, "--store", "memory:"], &[])?;
    assert_eq!(admin_keys(&service.lines()).len(), 1);
    let mut connection = Connection::open(service.address())?;
    for path in ["/health/live", "/health/ready", "/health", "/"] {
        assert_eq!(connection.get(path)?.status, 200, "{path}");
    }
    assert_eq!(connection.track(&pageview("none"))?.status, 400);
    let (status, took) = service.terminate()?;
    assert_eq!(status.code(), Some(0));
    assert!(took < PATIENCE, "an idle connection does not hold it up");
    Ok(())
}

#[test]
fn a_service_holds_its_clients_to_the_limits_it_is_given() -> Result<()> {
    let home = Home::new()?;
    let limits =
        [("LEADTRAIL__LIMITS__TRACKING", "2/d"), ("LEADTRAIL__LIMITS__FAILED_AUTHENTICATIONS", "1/d")];
    let service = home.start(&["serve", "--bind", ANY_PORT, "--store", "memory:"], &limits)?;
    let mut connection = Connection::open(service.address())?;
    for status in [400, 400, 429] {
        assert_eq!(connection.track(&pageview("none"))?.status, status);
    }
    for status in [401, 429] {
        assert_eq!(connection.get("/api/projects")?.status, status);
    }
    assert_eq!(connection.get("/health")?.status, 200);
    Ok(())
}

#[test]
fn a_port_that_is_taken_is_a_problem_and_not_a_hang() -> Result<()> {
    let home = Home::new()?;
    let service = home.start(&["serve", "--bind", ANY_PORT, "--store", "memory:"], &[])?;
    let taken = service.address().to_string();
    let ended = home.run(&["serve", "--bind", &taken, "--store", "memory:"])?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&taken), "{ended:?}");
    Ok(())
}
