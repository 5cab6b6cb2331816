//! The queue, the accounts and the explanations, from the command line beside a running service.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::client::Connection;
use crate::process::{Ended, Home, Service, poll, text};

/// A key that nobody uses.
fn seal_key() -> String {
    "0f".repeat(32)
}

/// A service with the project `acme`, its pixel `site`, and a sandbox CRM that has Ada.
struct World {
    home: Home,
    environment: Vec<(&'static str, String)>,
}

impl World {
    fn new() -> Result<Self> {
        let home = Home::new()?;
        let environment = vec![
            ("LEADTRAIL__STORE__URL", home.sqlite()),
            ("LEADTRAIL__CRM__KIND", "sandbox".to_owned()),
            ("LEADTRAIL__CRM__SANDBOX__FILE", text(&home.path("crm.json"))?.to_owned()),
            ("LEADTRAIL__SYNC__DELAY", "100ms".to_owned()),
            ("LEADTRAIL__SYNC__POLL", "50ms".to_owned()),
        ];
        let world = Self { home, environment };
        world.json(&["project", "create", "--name", "Acme"])?;
        world.json(&["pixel", "create", "--project", "acme", "--name", "Site", "--id", "site"])?;
        let ada = ["--email", "ada@example.com", "--first-name", "Ada", "--last-name", "Lovelace"];
        world.json(&[&["crm", "sandbox-person"][..], &ada].concat())?;
        Ok(world)
    }

    fn start(&self) -> Result<Service> {
        self.home.start(&["serve", "--bind", "127.0.0.1:0"], &self.environment())
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        self.environment.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    fn run(&self, arguments: &[&str]) -> Result<Ended> {
        self.home.run_with(arguments, &self.environment())
    }

    /// What a command that succeeds prints for people.
    fn said(&self, arguments: &[&str]) -> Result<String> {
        let ended = self.run(arguments)?;
        ensure!(ended.code == Some(0), "{arguments:?}: {ended:?}");
        Ok(ended.stdout)
    }

    /// What a command answers with `--json`, and its exit code.
    fn answer(&self, arguments: &[&str]) -> Result<(Option<i32>, Value)> {
        let ended = self.run(&[arguments, &["--json"]].concat())?;
        let value =
            serde_json::from_str(&ended.stdout).with_context(|| format!("{arguments:?}: {ended:?}"))?;
        Ok((ended.code, value))
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let (code, value) = self.answer(arguments)?;
        ensure!(code == Some(0), "{arguments:?}: {value}");
        Ok(value)
    }

    /// Waits until a project's job stands so.
    fn job(&self, status: &str) -> Result<Value> {
        poll(status, || {
            let listed = self.json(&["sync", "list", "--project", "acme", "--status", status])?;
            Ok(listed["data"].get(0).cloned())
        })
    }

    fn set_mapping(&self, file: &str) -> Result<Ended> {
        std::fs::write(self.home.path("mapping.toml"), file)?;
        self.run(&["crm", "mapping", "set", "--project", "acme", "mapping.toml"])
    }
}

fn form(service: &Service, email: &str) -> Result<Value> {
    let event = json!({
        "pixel_id": "site",
        "page_url": "https://www.acme.example/contact?utm_source=google&utm_medium=cpc&gclid=test-click",
        "event_type": "form_submit",
        "form_data": {"email": email, "first_name": "Ada", "last_name": "Lovelace"},
    });
    let reply = Connection::open(service.address())?.track(&event.to_string())?;
    ensure!(reply.status == 200, "{reply:?}");
    Ok(reply.body)
}

#[test]
fn what_the_crm_was_told_is_listed_shown_and_explained() -> Result<()> {
    let world = World::new()?;
    let service = world.start()?;
    let sent = form(&service, "ada@example.com")?;
    let job = world.job("synced")?;
    let id = job["id"].as_str().context("an id")?;

    let listed = world.said(&["sync", "list", "--project", "acme", "--email", "ada@example.com"])?;
    for part in [id, "synced", "ada@example.com", "person 1"] {
        assert!(listed.contains(part), "{part} in {listed}");
    }
    let nobody = world.said(&["sync", "list", "--project", "acme", "--email", "b@example.com"])?;
    assert_eq!(nobody, "no such jobs in acme\n");

    let shown = world.json(&["sync", "show", id, "--project", "acme"])?;
    let writes = shown["writes"].as_array().context("writes")?;
    let source = writes.iter().find(|write| write["key"] == "utm_source").context("utm_source")?;
    assert_eq!((&source["before"], &source["after"]), (&Value::Null, &json!("google")));
    assert_eq!(shown["attempts"][0]["steps"][0]["asked"], "search by e-mail");
    assert!(!shown.to_string().contains("ada@example.com"), "what is recorded names nobody: {shown}");

    for subject in ["ada@example.com", sent["event_id"].as_str().context("an event id")?] {
        let explained = world.json(&["why", subject, "--project", "acme"])?;
        let why = &explained["leads"];
        assert_eq!(why[0]["touches"][0]["source"], "google", "{why}");
        assert_eq!(why[0]["chosen"], why[0]["touches"][0]["event_id"]);
        assert_eq!(why[0]["job"]["status"], "synced");
        let text = world.said(&["why", subject, "--project", "acme"])?;
        for part in ["first_non_direct", "google / cpc", "gclid", "chosen", "→ google"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
    assert_eq!(world.run(&["why", "b@example.com", "--project", "acme"])?.code, Some(1));
    assert_eq!(world.said(&["sync", "health"])?.lines().next(), Some("score 100 of 100, well"));
    Ok(())
}

#[test]
fn a_preview_says_what_would_be_written_and_writes_nothing() -> Result<()> {
    let world = World::new()?;
    world.json(&["project", "update", "acme", "--set", "crm.enabled=false"])?;
    let service = world.start()?;
    form(&service, "ada@example.com")?;
    form(&service, "grace@example.com")?;
    let preview_of = |email: &str| world.answer(&["crm", "test-email", email, "--project", "acme"]);
    let (code, off) = preview_of("ada@example.com")?;
    assert_eq!((code, &off["outcome"]), (Some(1), &json!("nothing")), "{off}");
    assert!(off["why"].as_str().is_some_and(|why| why.contains("CRM is off")), "{off}");

    world.json(&["project", "update", "acme", "--set", "crm.enabled=true"])?;
    let (code, preview) = preview_of("ada@example.com")?;
    assert_eq!((code, &preview["outcome"]), (Some(0), &json!("synced")), "{preview}");
    let fields = preview["persons"][0]["fields"].as_array().context("fields")?;
    let source = fields.iter().find(|field| field["field"] == "utm_source").context("utm_source")?;
    assert_eq!(
        (&source["policy"], &source["after"], &source["ruling"]),
        (&json!("once"), &json!("google"), &json!("write"))
    );
    let text = world.said(&["crm", "test-email", "ada@example.com", "--project", "acme"])?;
    assert!(text.ends_with("nothing was written\n"), "{text}");
    let person = world.json(&["crm", "sandbox-show", "--email", "ada@example.com"])?;
    assert_eq!(person["fields"], json!({}));

    // The form has Ada's name, so that she is found by it; the name of nobody finds nobody.
    assert_eq!(preview_of("grace@example.com")?.1["persons"][0]["person"], "1");
    assert_eq!(preview_of("nobody@example.com")?.1["outcome"], "not_found");
    Ok(())
}

#[test]
fn jobs_are_held_replayed_and_skipped_one_by_one_and_by_filter() -> Result<()> {
    let world = World::new()?;
    let service = world.start()?;
    form(&service, "ada@example.com")?;
    let id = world.job("synced")?["id"].as_str().context("an id")?.to_owned();
    let on_one = |action: &str| world.answer(&["sync", action, &id, "--project", "acme"]);
    assert_eq!(
        on_one("hold")?,
        (Some(1), json!({"id": id, "action": "hold", "done": false, "status": "synced"}))
    );
    assert_eq!(on_one("replay")?.0, Some(0));
    poll("the replay", || {
        let shown = world.json(&["sync", "show", &id, "--project", "acme"])?;
        let attempts = shown["attempts"].as_array().map(Vec::len);
        Ok((shown["status"] == "synced" && attempts == Some(3)).then_some(()))
    })?;

    // A CRM that is out of reach leaves jobs pending.
    let told = world.said(&["crm", "sandbox-script", "--outage", "transient"])?;
    assert!(told.contains("out of reach"), "{told}");
    form(&service, "bob@example.com")?;
    form(&service, "eve@example.com")?;
    let by_filter = |action: &str, more: &[&str]| {
        world.answer(&[&["sync", action, "--project", "acme", "--since", "1h"][..], more].concat())
    };
    let counted = |action: &str, count: u32| json!({"action": action, "count": count, "done": false});
    assert_eq!(by_filter("hold", &["--status", "pending"])?, (Some(1), counted("hold", 2)));
    let asked = world.run(&["sync", "hold", "--project", "acme"])?;
    assert_eq!(asked.stdout, "2 jobs of acme to hold; do it with --yes\n");
    assert_eq!(by_filter("hold", &["--status", "pending", "--yes"])?.1["count"], 2);
    assert_eq!(by_filter("skip", &["--email", "bob@example.com", "--yes"])?.1["count"], 1);
    assert_eq!(by_filter("replay", &["--status", "held"])?, (Some(1), counted("replay", 1)));
    world.said(&["crm", "sandbox-script"])?;
    assert_eq!(by_filter("replay", &["--status", "held", "--yes"])?.0, Some(0));
    // Nobody has Eve's address: she is found by the name in the form, which is Ada's.
    let total = |status: &str| -> Result<Value> {
        Ok(world.json(&["sync", "list", "--project", "acme", "--status", status])?["total"].clone())
    };
    poll("the second", || Ok((total("synced")? == 2).then_some(())))?;
    assert_eq!((total("held")?, total("skipped")?), (json!(0), json!(1)));
    Ok(())
}

#[test]
fn a_mapping_is_checked_by_line_and_by_the_account_and_what_it_lacks_is_made() -> Result<()> {
    let world = World::new()?;
    let refused = world.set_mapping("utm_source = \"Lead source\"\nemail = \"x\"\nutm_source = \"y\"\n")?;
    assert_eq!(refused.code, Some(1));
    for line in ["mapping.toml:2: `email` is not one of our fields", "mapping.toml:3: duplicate"] {
        assert!(refused.stderr.contains(line), "{refused:?}");
    }
    let set = world.set_mapping("utm_source = \"Lead source\"\nip_address = { policy = \"never\" }\n")?;
    assert_eq!(set.code, Some(0), "{set:?}");
    let shown = world.said(&["crm", "mapping", "show", "--project", "acme"])?;
    let source = shown.lines().find(|line| line.starts_with("utm_source ")).context("a line")?;
    for part in ["Lead source", "once", "mapping", "the CRM has no field"] {
        assert!(source.contains(part), "{source}");
    }

    let (code, verified) = world.answer(&["crm", "verify", "--project", "acme"])?;
    assert_eq!((code, &verified["ok"]), (Some(1), &json!(false)), "{verified}");
    let service = world.start()?;
    form(&service, "ada@example.com")?;
    let waiting = world.job("pending")?;
    let id = waiting["id"].as_str().context("an id")?;

    let (code, dry) = world.answer(&["crm", "provision", "--project", "acme"])?;
    assert_eq!((code, &dry["result"]["fields"][0]["name"]), (Some(0), &json!("Lead source")), "{dry}");
    assert_eq!(dry["result"]["fields"][0]["key"], Value::Null);
    assert_eq!(world.run(&["crm", "verify", "--project", "acme"])?.code, Some(1), "nothing was made");
    let made = world.json(&["crm", "provision", "--project", "acme", "--yes"])?;
    let key = made["result"]["fields"][0]["key"].as_str().context("a key")?.to_owned();
    assert!(world.said(&["crm", "verify", "--project", "acme"])?.ends_with("ok: leads are told\n"));

    // What waited for the mapping is told by a replay.
    assert_eq!(world.run(&["sync", "replay", id, "--project", "acme"])?.code, Some(0));
    world.job("synced")?;
    let person = world.json(&["crm", "sandbox-show", "--email", "ada@example.com"])?;
    assert_eq!(person["fields"][&key], "google", "{person}");
    Ok(())
}

#[test]
fn a_queue_that_fails_is_told_by_the_exit_code_of_its_health() -> Result<()> {
    let world = World::new()?;
    let health = |threshold: &str| world.answer(&["sync", "health", "--threshold", threshold]);
    assert_eq!(health("100")?.0, Some(0));
    let service = world.start()?;
    form(&service, "ada@example.com")?;
    // Held and then skipped it is neither right nor wrong; never found it is not right.
    world.job("synced")?;
    world.json(&["crm", "sandbox-person", "--email", "twin@example.com"])?;
    world.json(&["crm", "sandbox-person", "--email", "twin@example.com"])?;
    form(&service, "twin@example.com")?;
    world.job("ambiguous")?;
    let (code, judged) = health("100")?;
    assert_eq!((code, &judged["ok"]), (Some(1), &json!(false)), "{judged}");
    assert_eq!(health("80")?.0, Some(0));
    Ok(())
}

#[test]
fn a_projects_own_connection_is_kept_sealed_and_shown_to_nobody() -> Result<()> {
    const SECRET: &str = "canary-token";
    let mut world = World::new()?;
    std::fs::write(world.home.path("token.txt"), SECRET)?;
    let set =
        ["crm", "connection", "set", "--project", "acme", "--company", "acme", "--token-file", "token.txt"];
    let refused = world.run(&set)?;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("crm.connection_key"), "{refused:?}");
    world.environment.push(("LEADTRAIL__CRM__CONNECTION_KEY", seal_key()));
    let elsewhere = [&set[..6], &["https://evil.example/api/v2", "--token-file", "token.txt"]].concat();
    assert_eq!(world.run(&elsewhere)?.code, Some(1), "a connection leads to Pipedrive and nowhere else");

    let done = world.run(&set)?;
    assert_eq!(done.code, Some(0), "{done:?}");
    let shown = world.json(&["crm", "connection", "show", "--project", "acme"])?;
    assert_eq!((&shown["account"], &shown["connection"]["kind"]), (&json!("own"), &json!("pipedrive")));
    std::fs::remove_file(world.home.path("token.txt"))?;
    for entry in std::fs::read_dir(world.home.path(""))? {
        let bytes = std::fs::read(entry?.path())?;
        assert!(
            !bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()),
            "a file has the token"
        );
    }
    assert!(!format!("{done:?} {shown}").contains("canary"));

    // Without the key, or with another one, it is there and of no use.
    world.environment.retain(|(name, _)| *name != "LEADTRAIL__CRM__CONNECTION_KEY");
    let (code, verified) = world.answer(&["crm", "verify", "--project", "acme"])?;
    assert_eq!((code, &verified["ok"]), (Some(1), &json!(false)), "{verified}");
    assert_eq!(world.json(&["crm", "connection", "remove", "--project", "acme"])?["removed"], true);
    let gone = world.json(&["crm", "connection", "show", "--project", "acme"])?;
    assert_eq!(gone["connection"], Value::Null);
    Ok(())
}
