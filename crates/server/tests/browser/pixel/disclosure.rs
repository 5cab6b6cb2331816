//! The pages for whoever decides about the pixel: what leaves the browser and what stays in it, as the tests see it, and
//! how much a visitor loads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::gate::Health;
use super::site::{Kind, Page, Setup};
use super::stage::{Case, Kept, on_sites};
use crate::process::poll;

/// Where the page is kept, from this crate's folder.
const FILE: &str = "../../deploy/pixel/what-leaves-the-browser.md";

const COMMAND: &str = "LEADTRAIL_TEST_WRITE=1 cargo xtask test --without postgres -- -p leadtrail-server --test browser disclosure";

/// A field of an event, an example, and what it is for. A field that is not here fails the test: whoever adds one
/// explains it.
struct Field {
    name: &'static str,
    /// Where the value is another each time; otherwise what was seen is the example.
    example: Option<&'static str>,
    about: &'static str,
}

const FIELDS: &[Field] = &[
    field("pixel_id", Some("px_…"), "Which site's pixel this is; the same for everybody."),
    field(
        "event_id",
        Some("(UUIDv7)"),
        "Drawn for this event, so that it counts once however often it is sent.",
    ),
    field("event_type", None, "What happened."),
    field("timestamp", Some("(milliseconds since 1970)"), "When, by the browser's clock."),
    field(
        "visitor_cookie",
        Some("(UUIDv7)"),
        "Drawn at random at the first visit; links the visits of this browser to this site, and to no other.",
    ),
    field(
        "page_url",
        None,
        "The page's address with its parameters, of which campaign and click ids are read.",
    ),
    field("referrer_url", None, "The address of the page before, as far as the browser tells it."),
    field("page_title", None, "The page's title."),
    field("viewport.width", Some("1280"), "The window's width in CSS pixels."),
    field("viewport.height", Some("720"), "The window's height in CSS pixels."),
    field("screen.width", Some("1920"), "The screen's width in CSS pixels."),
    field("screen.height", Some("1080"), "The screen's height in CSS pixels."),
    field("consent", None, "What the visitor said, where the site asked."),
    field(
        "form_data.email",
        None,
        "The e-mail address that was typed into a form that was sent, or that the site told.",
    ),
    field("form_data.first_name", None, "The first name of that form."),
    field("form_data.last_name", None, "The last name of that form."),
    field("props.plan", None, "What the site itself told about its own event; here `plan`."),
    field("props.value", None, "What the site itself told about its own event; here `value`."),
];

const fn field(name: &'static str, example: Option<&'static str>, about: &'static str) -> Field {
    Field { name, example, about }
}

/// What may be in the browser's storage, and what for.
const KEPT: [(&str, &str); 2] = [
    ("lt_visitor", "The visitor's random id."),
    (
        "lt",
        "A copy of that id, should the cookie be lost; what the visitor answered when the site asked for consent; and \
         events that could not be sent yet, 20 at most, until they are.",
    ),
];

/// What a visitor meets and may ask for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Regime {
    Default,
    ConsentMissing,
    ConsentGranted,
    ConsentDenied,
    Gpc,
}

impl Regime {
    const ALL: [Self; 5] =
        [Self::Default, Self::ConsentMissing, Self::ConsentGranted, Self::ConsentDenied, Self::Gpc];

    fn title(self) -> &'static str {
        match self {
            Self::Default => "As it comes",
            Self::ConsentMissing => "Consent required, and not given yet (`data-consent=\"required\"`)",
            Self::ConsentGranted => "Consent required, and granted",
            Self::ConsentDenied => "Consent required, granted and revoked",
            Self::Gpc => "The browser asks for Global Privacy Control",
        }
    }
}

/// What was seen under one regime.
#[derive(Default)]
struct Seen {
    /// The fields of each kind of event, with an example.
    events: BTreeMap<String, BTreeMap<String, String>>,
    /// The headers of the requests that carried them.
    headers: BTreeSet<String>,
    /// Method and path of all requests.
    requests: BTreeSet<String>,
    /// Where it is, its name, its lifetime.
    kept: BTreeSet<(String, String, String)>,
}

/// What the forms have that is nobody's business, and must not be in any request.
const WITHHELD: [&str; 6] =
    ["+441234567", "Analytical", "Hello", "account-1", "4111111111111111", "not-a-password"];

const FORM: &str = "<form id=contact action=/thanks method=post>
    <input name=first_name value=Ada> <input name=last_name value=Lovelace> <input name=email value=ada@example.com>
    <input name=phone value=+441234567> <input name=company value=Analytical> <textarea name=message>Hello</textarea>
    <input type=hidden name=account value=account-1> <input name=card value=4111111111111111> <button>Send</button></form>";

const LOGIN: &str = "<form action=/thanks method=post><input name=email value=ada@example.com>
    <input type=password name=password value=not-a-password> <button>Log in</button></form>";

const PAGES: &[Page] = &[Page::new("/form", FORM), Page::new("/login", LOGIN)];

#[test]
fn what_leaves_the_browser_is_what_the_page_says() -> Result<()> {
    let seen: Mutex<BTreeMap<Regime, Seen>> = Mutex::default();
    let note = |regime: Regime, case: &mut Case<'_>, from: usize| -> Result<()> {
        let noted = look(case, from)?;
        seen.lock().unwrap_or_else(PoisonError::into_inner).insert(regime, noted);
        Ok(())
    };
    let site = [Kind::Static];
    on_sites(&site, Setup { pages: PAGES, ..Setup::default() }, |case| {
        visit(case)?;
        case.fence()?;
        note(Regime::Default, case, 0)
    })?;
    let asks = Setup { pages: PAGES, tag: "data-consent=\"required\"", ..Setup::default() };
    on_sites(&site, asks, |case| {
        case.open("/?utm_source=news&gclid=click-1")?;
        case.settle()?;
        note(Regime::ConsentMissing, case, 0)?;
        let from = case.gate.requests().len();
        case.run("leadtrail('consent', 'granted')")?;
        visit(case)?;
        case.fence()?;
        note(Regime::ConsentGranted, case, from)?;
        let from = case.gate.requests().len();
        case.run("leadtrail('consent', 'denied')")?;
        visit(case)?;
        note(Regime::ConsentDenied, case, from)
    })?;
    on_sites(&site, super::table::GPC_VISITOR.with_pages(PAGES), |case| {
        visit(case)?;
        case.fence()?;
        note(Regime::Gpc, case, 0)
    })?;
    let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    is_committed(&page(&seen)?)
}

/// Does once whatever makes an event. Ends on a page without a form.
fn visit(case: &mut Case<'_>) -> Result<()> {
    case.open("/?utm_source=news&gclid=click-1")?;
    case.run("leadtrail('event', 'signup', { plan: 'pro', value: 9 })")?;
    case.run("leadtrail('identify', 'ada@example.com')")?;
    for form in ["/login", "/form"] {
        case.load(form)?;
        case.settle()?;
        case.page.click("form button")?;
        case.is_shown("/thanks")?;
        case.settle()?;
    }
    Ok(())
}

/// What passed the gate since the `from`th request, and what the browser keeps.
fn look(case: &mut Case<'_>, from: usize) -> Result<Seen> {
    poll("quiet", || Ok(case.gate.is_idle().then_some(())))?;
    let mut seen = Seen::default();
    for request in case.gate.requests().into_iter().skip(from) {
        seen.requests.insert(format!("{} {}", request.method, request.path()));
        if request.method != "POST" {
            continue;
        }
        let withheld = WITHHELD.iter().find(|value| request.body.contains(**value));
        ensure!(withheld.is_none(), "{withheld:?} leaves the browser: {}", request.body);
        seen.headers.extend(request.headers.iter().map(|(name, _value)| name.clone()));
        let body: Value = serde_json::from_str(&request.body).with_context(|| request.body.clone())?;
        let events = body["batch"].as_array().cloned().unwrap_or_else(|| vec![body]);
        for event in events {
            let kind = event["event_type"].as_str().context("an event without a type")?;
            if kind.starts_with("fence ") {
                continue;
            }
            let mut fields = BTreeMap::new();
            flatten("", &event, &mut fields);
            let known = seen.events.entry(kind.to_owned()).or_default();
            for (name, value) in fields {
                known.entry(name).or_insert_with(|| value.replace(&case.base, "https://www.example.com"));
            }
        }
    }
    // What waits for a tracker that cannot be reached is kept, too.
    case.gate.set(Health::HangsUp);
    case.run("leadtrail('event', 'fence that waits')")?;
    case.settle()?;
    let now = case.page.evaluate("Date.now() / 1000")?.as_f64().context("no time")?;
    seen.kept = places(&case.kept()?, now)?;
    case.gate.set(Health::Well);
    Ok(seen)
}

fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let name = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| flatten(&name(key), value, into)),
        Value::String(text) => drop(into.insert(path.to_owned(), text.clone())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            into.insert(path.to_owned(), value.to_string());
        }
    }
}

fn places(kept: &Kept, now: f64) -> Result<BTreeSet<(String, String, String)>> {
    let mut places = BTreeSet::new();
    for cookie in &kept.cookies {
        let name = cookie["name"].as_str().unwrap_or_default().to_owned();
        let days = (cookie["expires"].as_f64().unwrap_or_default() - now) / 86_400.0;
        let lifetime =
            if days > 0.0 { format!("{days:.0} days") } else { "until the browser is closed".to_owned() };
        places.insert(("cookie".to_owned(), name, lifetime));
    }
    let mut add = |place: &str, names: &[String], lifetime: &str| {
        let of = |name: &String| (place.to_owned(), name.clone(), lifetime.to_owned());
        places.extend(names.iter().map(of));
    };
    add("localStorage", &kept.local_storage, "until it is deleted");
    add("sessionStorage", &kept.session_storage, "until the tab is closed");
    ensure!(kept.others.is_empty(), "{kept:?}");
    Ok(places)
}

fn page(seen: &BTreeMap<Regime, Seen>) -> Result<String> {
    let mut page = format!("{HEAD}\n## Each field\n\n| field | example | what it is |\n|---|---|---|\n");
    let mut examples: BTreeMap<&str, &str> = BTreeMap::new();
    // A page view by an advertisement is the best example of what they share.
    let views = seen.values().filter_map(|seen| seen.events.get("pageview"));
    for (name, example) in views.chain(seen.values().flat_map(|seen| seen.events.values())).flatten() {
        ensure!(FIELDS.iter().any(|field| field.name == name), "`{name}` is not explained in FIELDS");
        examples.entry(name).or_insert(example);
    }
    for Field { name, example, about } in FIELDS {
        let seen = examples.get(name).with_context(|| format!("`{name}` does not leave the browser"))?;
        writeln!(page, "| `{name}` | `{}` | {about} |", example.unwrap_or(seen))?;
    }
    for regime in Regime::ALL {
        let seen = seen.get(&regime).with_context(|| format!("{regime:?} was not seen"))?;
        write!(page, "\n## {}\n\n", regime.title())?;
        section(&mut page, seen)?;
    }
    page.push_str(TAIL);
    Ok(page)
}

/// Of a visit without a form.
const UNTIL_CONSENT: &str = "No event leaves the browser, but for a form that is sent meanwhile: that goes as after a denial, below.\n";

fn section(page: &mut String, seen: &Seen) -> Result<()> {
    if seen.events.is_empty() {
        page.push_str(UNTIL_CONSENT);
    } else {
        let in_all = |field: &&Field| seen.events.values().all(|fields| fields.contains_key(field.name));
        write!(page, "Every event has {}.\n\n", names(FIELDS.iter().filter(in_all)))?;
        page.push_str("| event | has also |\n|---|---|\n");
        for (kind, fields) in &seen.events {
            let own = FIELDS.iter().filter(|field| fields.contains_key(field.name) && !in_all(field));
            let kind = if kind == "signup" {
                "the site's own, here `signup`".to_owned()
            } else {
                format!("`{kind}`")
            };
            let own = names(own);
            writeln!(page, "| {kind} | {} |", if own.is_empty() { "nothing" } else { &own })?;
        }
        let headers: Vec<String> = seen.headers.iter().map(|name| format!("`{name}`")).collect();
        write!(page, "\nHeaders that the browser adds: {}.\n", headers.join(", "))?;
    }
    let requests: Vec<String> = seen.requests.iter().map(|request| format!("`{request}`")).collect();
    write!(
        page,
        "\nRequests: {}.\n\n",
        if requests.is_empty() { "none".to_owned() } else { requests.join(", ") }
    )?;
    if seen.kept.is_empty() {
        page.push_str("Nothing is kept in the browser.\n");
        return Ok(());
    }
    page.push_str("| kept in the browser | where | for how long | what it is |\n|---|---|---|---|\n");
    for (place, name, lifetime) in &seen.kept {
        let about = KEPT.iter().find(|(known, _about)| known == name);
        let (_name, about) = about.with_context(|| format!("`{name}` is not explained in KEPT"))?;
        writeln!(page, "| `{name}` | {place} | {lifetime} | {about} |")?;
    }
    Ok(())
}

fn names<'a>(fields: impl Iterator<Item = &'a Field>) -> String {
    fields.map(|field| format!("`{}`", field.name)).collect::<Vec<_>>().join(", ")
}

const HEAD: &str = "# What leaves the browser, exactly

For whoever answers for a site's privacy. This page is written by a test that visits a site in a real Chromium and notes
every request of the pixel and everything that the browser then keeps; the test fails as soon as this page is not what it
sees. In the visit somebody comes by an advertisement, the site names an event (`signup`) and tells who the visitor is
(`identify`), and a form with a name, an e-mail address, a telephone number, a company, a message, a hidden field and a
card number is sent.

Requests go to the tracker's host and to nobody else. Beside what is listed, a tracker learns the address that a request
comes from, as every web server does. Over HTTPS browsers add headers of their own (`Sec-Fetch-…`, `Sec-CH-UA…`).
";

const TAIL: &str = "
## What never leaves the browser

Of a form: passwords, hidden fields, what looks like a payment card, and every field but those listed above that the site
did not name itself (`data-fields`). Of the page: its text, clicks, key strokes, the position of the pointer.
";

fn is_committed(page: &str) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if may_write() {
        return std::fs::write(&file, page).with_context(|| file.display().to_string());
    }
    let committed = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    if committed == page {
        return Ok(());
    }
    let seen = Path::new(env!("CARGO_TARGET_TMPDIR")).join("what-leaves-the-browser.md");
    std::fs::write(&seen, page)?;
    bail!("{} is not what leaves the browser, which is {}; {COMMAND}", file.display(), seen.display())
}

#[expect(clippy::disallowed_methods, reason = "whether to renew a page is for whoever runs the tests to say")]
fn may_write() -> bool {
    std::env::var_os("LEADTRAIL_TEST_WRITE").is_some_and(|value| !value.is_empty())
}

#[test]
fn the_table_of_sizes_has_our_scripts_as_they_are_built() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = std::fs::read_to_string(root.join("deploy/pixel/sizes.md"))?;
    for name in ["pixel.js", "px-plus.js"] {
        let size = |suffix: &str| -> Result<String> {
            let file = root.join("static/built").join(format!("{name}{suffix}"));
            let bytes = file.metadata().with_context(|| file.display().to_string())?.len();
            ensure!((1_000..1_000_000).contains(&bytes), "{name}{suffix}: {bytes}");
            Ok(format!("{},{:03}", bytes / 1_000, bytes % 1_000))
        };
        let row = table.lines().find(|line| line.starts_with(&format!("| Leadtrail, `{name}`")));
        let row = row.with_context(|| format!("no row for {name}"))?;
        let sizes = format!(" | {} | {} | {} |", size("")?, size(".gz")?, size(".br")?);
        ensure!(row.ends_with(&sizes), "{row}\nshould end with{sizes}");
    }
    Ok(())
}
