//! `cargo xtask api-fuzz`: schemathesis over the OpenAPI description of a server with limits off.
//!
//! Two runs, each with the checks that mean something for it: of valid requests, which must be accepted, and of invalid
//! ones, which must be refused. In both, no answer may be a 5xx or another than is described, and a request without the
//! key must be refused.

mod narrowed;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use self::narrowed::Things;
use crate::server::{self, Leadtrail};
use crate::workspace::Metadata;
use crate::{print, process, provision};

const REQUIREMENTS: &str = include_str!("api_fuzz/requirements.txt");
const HOOKS: &str = include_str!("api_fuzz/kept.py");

/// Changed when it has found all that it finds.
const SEED: &str = "20261123";
/// Requests made at random of each operation, beside those made of the boundaries of its schemas.
const EXAMPLES: &str = "25";
/// How long one run may take, in seconds.
const AT_MOST: &str = "300";
/// The headers of all requests; what comes without a browser's name is dropped as a bot's.
const CONFIG: &str = "[headers]
Authorization = \"Bearer ${LEADTRAIL_FUZZ_KEY}\"
User-Agent = \"${LEADTRAIL_FUZZ_BROWSER}\"
";
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
/// Left out, by operation and route: a project with a made-up connection of its own would have the server ask somebody's
/// CRM, and a check of a made-up page would have it ask somebody's site.
const LEFT_OUT: [(&str, &str); 2] =
    [("setConnection", "PUT /api/projects/{id}/connection"), ("checkPixel", "POST /api/pixels/{id}/check")];
/// How long the server may take to answer what is asked before the run.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// What a run does otherwise than the others.
struct Mode {
    name: &'static str,
    arguments: &'static [&'static str],
}

const VALID: Mode = Mode {
    name: "positive",
    // What is archived is still shown: a DELETE frees nothing. What answers bring about (other ids than the ones put in)
    // counts as invalid here, and is not.
    arguments: &["--exclude-checks", "use_after_free,negative_data_rejection"],
};

const INVALID: Mode = Mode {
    name: "negative",
    arguments: &[
        // What tracking takes is lenient by design: a value of a wrong type costs a field and never an event.
        "--exclude-tag",
        "Collecting",
        // Of what is valid, the other run makes acceptable requests.
        "--exclude-checks",
        "use_after_free,positive_data_acceptance",
        "--suppress-health-check",
        "filter_too_much",
    ],
};

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    crate::takes_nothing("api-fuzz", arguments)?;
    let target = Metadata::members_only()?.target()?;
    let schemathesis = provide(&target.join("tools"))?;
    process::run(process::cargo().args(["build", "--locked", "--package", "leadtrail-server"]))?;

    let folder = target.join(format!("api-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let leadtrail =
        Leadtrail { binary: &target.join("debug/leadtrail"), store: "sqlite:fuzz.db", folder: &folder };
    let fuzzed = fuzz(&schemathesis, leadtrail);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    fuzzed
}

fn fuzz(schemathesis: &Path, leadtrail: Leadtrail<'_>) -> Result<()> {
    let folder = leadtrail.folder;
    leadtrail.migrate()?;
    let (project, pixel) = project_with_pixel(leadtrail, "managed")?;
    let (collecting_project, collecting_pixel) = project_with_pixel(leadtrail, "collecting")?;
    let key = leadtrail.json(&["key", "create", "--scope", "admin"])?;
    let other_key = leadtrail.json(&["key", "create", "--scope", "read"])?;
    fs::write(folder.join("kept.py"), HOOKS)?;
    // Not an argument: those are shown when something fails.
    let config = folder.join("schemathesis.toml");
    fs::write(&config, CONFIG)?;

    let mut server = leadtrail.serve()?;
    let things = Things {
        job: sync_job(leadtrail, server.address())?,
        project,
        pixel,
        key: server::text(&other_key, "id")?.to_owned(),
        collecting_pixel,
    };
    let kept =
        [server::text(&key, "id")?, &collecting_project, "collecting", &things.collecting_pixel].join(",");
    let description = described(server.address())?;
    let reachable = narrowed::reachable(&description, &things)?;
    let acceptable = narrowed::acceptable(&reachable, &things)?;
    for (mode, description) in [(&VALID, &acceptable), (&INVALID, &reachable)] {
        let file = folder.join(format!("{}.json", mode.name));
        fs::write(&file, description.to_string())?;
        let report = folder.join(format!("{}-report.json", mode.name));
        let mut command = Command::new("timeout");
        command.arg(AT_MOST).arg(schemathesis).arg("--config-file").arg(&config).arg("run").arg(&file);
        command.args(["--url", &format!("http://{}", server.address()), "--mode", mode.name]);
        command.env("LEADTRAIL_FUZZ_KEY", server::text(&key, "key")?).env("LEADTRAIL_FUZZ_BROWSER", BROWSER);
        command.args(["--seed", SEED, "--max-examples", EXAMPLES, "--checks", "all"]);
        // More than one worker shares the random numbers by chance.
        for (operation, _route) in LEFT_OUT {
            command.args(["--exclude-operation-id", operation]);
        }
        command.args(["--workers", "1", "--continue-on-failure", "--no-color", "--report", "json"]);
        command.arg("--report-json-path").arg(&report).args(mode.arguments);
        command.current_dir(folder).env("LEADTRAIL_FUZZ_KEPT", &kept);
        command.env("SCHEMATHESIS_HOOKS", "kept").env("PYTHONPATH", folder);
        process::run(&mut command).with_context(|| format!("{} requests", mode.name))?;
        let report = fs::read_to_string(&report).context("schemathesis' report")?;
        let report = serde_json::from_str(&report).context("schemathesis' report")?;
        let seen = Seen::of(&report)?;
        print(&format!("api-fuzz: {} {} requests\n", seen.requests, mode.name))?;
        if mode.name == VALID.name {
            seen.all_accepted_some(description)?;
        }
    }
    if server.has_ended()? {
        bail!("the server has ended");
    }
    Ok(())
}

/// A project of this name with a pixel of this id; their ids.
fn project_with_pixel(leadtrail: Leadtrail<'_>, name: &str) -> Result<(String, String)> {
    let project = leadtrail.json(&["project", "create", "--name", name, "--slug", name])?;
    let pixel = leadtrail.json(&["pixel", "create", "--project", name, "--name", name, "--id", name])?;
    Ok((server::text(&project, "id")?.to_owned(), server::text(&pixel, "id")?.to_owned()))
}

/// The description that a server answers.
fn described(server: SocketAddr) -> Result<Value> {
    asked(server, "GET /api/openapi.json", "").context("the server's description")
}

/// A job that the CRM is to be told of; its id.
fn sync_job(leadtrail: Leadtrail<'_>, server: SocketAddr) -> Result<String> {
    let form = r#"{"pixel_id":"managed","page_url":"https://www.example.com/","event_type":"form_submit",
        "form_data":{"email":"somebody@example.com"}}"#;
    asked(server, "POST /api/track", form).context("the form that makes a job")?;
    let jobs = leadtrail.json(&["sync", "list", "--project", "managed"])?;
    Ok(server::text(jobs["data"].get(0).context("the form made no job")?, "id")?.to_owned())
}

/// What a server answers, where that is JSON and a success.
fn asked(server: SocketAddr, request: &str, body: &str) -> Result<Value> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(ANSWERED_WITHIN))?;
    let head = format!("{request} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nUser-Agent: {BROWSER}");
    write!(
        stream,
        "{head}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(serde_json::from_str(body)?),
        _ => bail!("the answer is {}", answer.lines().next().unwrap_or_default()),
    }
}

/// What a run has seen.
struct Seen<'a> {
    requests: u64,
    /// By operation: how many requests were accepted, by phase.
    accepted: &'a serde_json::Map<String, Value>,
}

impl<'a> Seen<'a> {
    /// # Errors
    /// The report has another shape than expected, or most requests were refused for their key.
    fn of(report: &'a Value) -> Result<Self> {
        let requests = report["test_cases"]["generated"].as_u64().context("no count of requests")?;
        let accepted = report["valid_rates"].as_object().context("no counts of accepted requests")?;
        let unauthenticated = report["warnings"]["missing_auth"].as_array().context("no warnings")?;
        if !unauthenticated.is_empty() {
            bail!("the key opened nothing: {unauthenticated:?}");
        }
        Ok(Self { requests, accepted })
    }

    /// A run that is refused everywhere finds nothing, and proves nothing.
    fn all_accepted_some(&self, description: &Value) -> Result<()> {
        let mut vacuous = Vec::new();
        for (path, item) in description["paths"].as_object().context("no paths")? {
            for (method, operation) in item.as_object().context("a path without operations")? {
                let name = format!("{} {path}", method.to_uppercase());
                let phases = self.accepted.get(&name).and_then(Value::as_object);
                let accepted: u64 = phases
                    .into_iter()
                    .flatten()
                    .filter_map(|(_phase, counts)| counts["accepted"].as_u64())
                    .sum();
                let wanted = if operation.get("requestBody").is_some() { 3 } else { 1 };
                if accepted < wanted && !LEFT_OUT.iter().any(|(_operation, route)| name == *route) {
                    vacuous.push(format!("{name} accepted {accepted}"));
                }
            }
        }
        if vacuous.is_empty() { Ok(()) } else { bail!("too few valid requests: {}", vacuous.join(", ")) }
    }
}

/// Our schemathesis, installed the first time.
fn provide(tools: &Path) -> Result<PathBuf> {
    let version = REQUIREMENTS.lines().find_map(|line| line.strip_prefix("schemathesis=="));
    let version = version.context("requirements.txt names no schemathesis")?;
    let folder = tools.join(format!("schemathesis-{version}"));
    let (program, complete) = (folder.join("bin/schemathesis"), folder.join("requirements.txt"));
    let is_ours = fs::read_to_string(&complete).is_ok_and(|text| text == REQUIREMENTS)
        && provision::version_of(&program).is_ok_and(|text| text.contains(version));
    if is_ours {
        return Ok(program);
    }
    let python = provision::python()?;
    eprintln!("xtask: installing schemathesis {version} under {}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    process::run(Command::new(python).args(["-m", "venv"]).arg(&folder))?;
    let listed = folder.join("listed.txt");
    fs::write(&listed, REQUIREMENTS)?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(&listed);
    process::run(&mut pip).context("schemathesis comes from PyPI, which must be reachable the first time")?;
    // Written last: what was interrupted is installed again.
    fs::rename(listed, complete)?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_operation_that_accepts_nothing_fails_the_run() {
        let description = json!({"paths": {"/a": {"get": {}, "post": {"requestBody": {}}}}});
        let report = |get: u64, post: u64| {
            json!({
                "test_cases": {"generated": 30},
                "warnings": {"missing_auth": []},
                "valid_rates": {
                    "GET /a": {"coverage": {"accepted": get}},
                    "POST /a": {"coverage": {"accepted": 2}, "fuzzing": {"accepted": post}},
                },
            })
        };
        let of = |get, post| Seen::of(&report(get, post)).unwrap().all_accepted_some(&description);
        assert!(of(1, 3).is_ok());
        assert!(of(0, 3).unwrap_err().to_string().contains("GET /a"));
        assert!(of(1, 0).unwrap_err().to_string().contains("POST /a accepted 2"));
        assert!(Seen::of(&json!({})).is_err());
        let mut refused = report(1, 3);
        refused["warnings"]["missing_auth"] = json!(["GET /a"]);
        assert!(Seen::of(&refused).is_err());
    }

    #[test]
    fn every_requirement_is_pinned() {
        for line in REQUIREMENTS.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.contains("=="), "{line}");
        }
    }
}
