//! `leadtrail doctor`: whether everything is as it should be.

mod mapping;

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use leadtrail_app::accounts::{Accounts, Connected};
use leadtrail_app::finding::{Finding, Verdict};
use leadtrail_domain::crm::CrmField;
use leadtrail_domain::ports::{Crm, CrmError, Durability, Page};
use leadtrail_domain::project::{Account, Project};
use leadtrail_domain::time::Timestamp;
use leadtrail_enrich::GeoFile;
use leadtrail_outbound::{Destination, Outbound, OutboundSettings, Request};
use serde_json::json;

use super::{PAGE, crm};
use crate::output::{self, Format};
use crate::settings::{Http, Layers, Settings, Store, StoreUrl};
use crate::telemetry;
use crate::wiring::{self, Stores};

/// By how much the clocks of this machine and of the database may differ.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(5);
/// No clock is right that stands before the year of this build: 2026-01-01, since 1970.
const YEAR_OF_BUILD: Duration = Duration::from_hours(490_896);
/// Below this a disk is nearly full.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// Below this it is full for what a store writes in a moment.
const FREE_BYTES_NEEDED: u64 = 64 << 20;
/// Addresses change hands: a database of places older than this is wrong about many.
const GEO_AGE_MAX: Duration = Duration::from_hours(24 * 90);
/// The fields of the connections that answered.
type Known = BTreeMap<Account, Vec<CrmField>>;

/// How long a store may take to answer a question.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

/// Looks at everything and says how it stands. Exit code 1 where something is wrong.
pub(super) async fn run(layers: &Layers, json: bool) -> anyhow::Result<ExitCode> {
    let findings = match Settings::from_layers(layers) {
        Ok(settings) => {
            telemetry::start(&settings.log);
            examine(&settings).await
        }
        Err(errors) => errors
            .lines()
            .map(|problem| Finding::fail("settings", problem, "`leadtrail check-config` shows them all"))
            .collect(),
    };
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    output::result(Format::of(json), &json!({ "ok": !failed, "checks": findings }), || {
        findings.iter().map(Finding::line).collect::<Vec<_>>().join("\n")
    })?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn examine(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("settings", "they are valid")];
    let (found, stores) = store(&settings.store).await;
    findings.extend(found);
    findings.push(clock(stores.as_ref()));
    findings.extend(disk(&settings.store.url));
    findings.push(geo(settings.geo_file.as_deref()));
    findings.extend(crm_and_mapping(settings, stores.as_ref()).await);
    findings.push(proxies(&settings.http));
    findings.push(pixel(&settings.http).await);
    findings
}

/// An error with its causes, in a line. Whoever makes errors keeps secrets out of them.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    one_line(&causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
}

/// What libraries say may have several.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The store, and what there is to be said of it.
async fn store(settings: &Store) -> (Vec<Finding>, Option<Stores>) {
    const MEND: &str = "see that store.url (--store) is right and the store runs";
    if let Some(missing) = file_of(&settings.url).filter(|file| !file.exists()) {
        let folder = folder_of(&missing);
        let finding = if folder.is_dir() {
            let found = format!("there is no {} yet", missing.display());
            Finding::warn("store", found, "the first start makes it, as does `leadtrail migrate`")
        } else {
            let found = format!("there is no folder {}", folder.display());
            Finding::fail("store", found, "make it, or set store.url (--store) to another place")
        };
        return (vec![finding], None);
    }
    let opened = match wiring::open(settings).await {
        Ok(stores) => asked(stores.maintenance.ping()).await.map(|()| stores),
        Err(error) => Err(one_line(&format!("{error:#}"))),
    };
    let stores = match opened {
        Ok(stores) => stores,
        Err(problem) => return (vec![Finding::fail("store", problem, MEND)], None),
    };
    let mut findings = vec![Finding::ok("store", "it answers")];
    let up_to_date = match tokio::time::timeout(STORE_TIMEOUT, stores.schema.pending()).await {
        Ok(Ok(pending)) if pending.is_empty() => Ok(()),
        Ok(Ok(pending)) => {
            Err((format!("{} migrations are to be applied", pending.len()), "`leadtrail migrate`"))
        }
        Ok(Err(error)) => Err((one_line(&format!("{error:#}")), MEND)),
        Err(_elapsed) => Err(("the store does not answer in time".to_owned(), MEND)),
    };
    let is_usable = up_to_date.is_ok();
    findings.push(match up_to_date {
        Ok(()) => Finding::ok("schema", "it is up to date"),
        Err((problem, mend)) => Finding::fail("schema", problem, mend),
    });
    findings.push(match asked(stores.maintenance.durability()).await {
        Ok(Durability::Full) => Finding::ok("durability", "what was acknowledged survives a crash"),
        Ok(Durability::Relaxed(reasons)) => {
            let found = format!("acknowledged events may be lost in a crash: {}", reasons.join(", "));
            if settings.allow_relaxed_durability {
                Finding::warn("durability", found, "mend that, and leave store.allow_relaxed_durability out")
            } else {
                Finding::fail("durability", found, "mend that; the service does not start on such a store")
            }
        }
        Ok(Durability::None) => {
            Finding::warn("durability", "the store keeps nothing", "set store.url to a file or a PostgreSQL")
        }
        Err(problem) => Finding::fail("durability", problem, MEND),
    });
    (findings, is_usable.then_some(stores))
}

async fn asked<T, E: Error + 'static>(question: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(STORE_TIMEOUT, question).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(chain(&error)),
        Err(_elapsed) => Err(format!("no answer within {} s", STORE_TIMEOUT.as_secs())),
    }
}

/// The file of a store that is one.
fn file_of(url: &StoreUrl) -> Option<PathBuf> {
    match url {
        StoreUrl::Sqlite(url) => {
            let path = url.strip_prefix("sqlite:").unwrap_or(url);
            Some(PathBuf::from(path.strip_prefix("//").unwrap_or(path)))
        }
        StoreUrl::Memory | StoreUrl::Postgres(_) => None,
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn clock(stores: Option<&Stores>) -> Finding {
    judge_clock(crm::wall_clock(), stores.map(|stores| stores.clock.now()))
}

fn judge_clock(machine: Timestamp, store: Option<Timestamp>) -> Finding {
    const MEND: &str = "set it, and let it be kept by NTP";
    if machine < Timestamp::EPOCH.plus(YEAR_OF_BUILD) {
        return Finding::fail("clock", format!("this machine's clock says {machine}"), MEND);
    }
    let apart = store.map(|store| machine.since(store).max(store.since(machine)));
    match apart {
        Some(apart) if apart > CLOCKS_APART_MAX => {
            let found = format!("this machine's clock and the store's are {} s apart", apart.as_secs());
            Finding::fail("clock", found, "let both be kept by NTP; the store's is the one that counts")
        }
        Some(_) => {
            let found = format!("within {} s of the store's", CLOCKS_APART_MAX.as_secs());
            Finding::ok("clock", found)
        }
        None => Finding::ok("clock", format!("{machine}, and no store to compare it with")),
    }
}

fn disk(url: &StoreUrl) -> Option<Finding> {
    let file = file_of(url)?;
    let folder = folder_of(&file);
    Some(match rustix::fs::statvfs(folder) {
        Ok(stat) => judge_disk(folder, stat.f_bavail.saturating_mul(stat.f_frsize)),
        Err(error) => {
            let found = format!("{} cannot be looked at: {error}", folder.display());
            Finding::fail("disk", found, "see that the folder of store.url exists and may be entered")
        }
    })
}

fn judge_disk(folder: &Path, free: u64) -> Finding {
    let found = format!("{free} bytes ({} MiB) are free at {}", free >> 20, folder.display());
    match free {
        ..FREE_BYTES_NEEDED => {
            Finding::fail("disk", found, "make room: nothing can be stored on a full disk")
        }
        FREE_BYTES_NEEDED..FREE_BYTES_MIN => Finding::warn("disk", found, "make room before it is full"),
        FREE_BYTES_MIN.. => Finding::ok("disk", found),
    }
}

fn geo(file: Option<&Path>) -> Finding {
    const MEND: &str = "set geo.file to a database in MaxMind's format, or leave it empty";
    let Some(path) = file else {
        return Finding::ok(
            "geo",
            "no database is set (geo.file); places are known from trusted headers alone",
        );
    };
    match GeoFile::new(path.to_owned()).build() {
        Ok(build) => {
            let age = crm::wall_clock().since(build.at);
            let found = format!("{} of {}, {} days old", build.kind, build.at, age.as_secs() / 86_400);
            if age > GEO_AGE_MAX {
                Finding::warn("geo", found, "replace the file with a newer one; no restart is needed")
            } else {
                Finding::ok("geo", found)
            }
        }
        Err(error) => Finding::fail("geo", format!("{}: {}", path.display(), chain(&error)), MEND),
    }
}

async fn crm_and_mapping(settings: &Settings, stores: Option<&Stores>) -> Vec<Finding> {
    if settings.crms.is_empty() && settings.connection_key.is_none() {
        return vec![Finding::ok("crm", "none is set (crm.kind); leads are told to nobody")];
    }
    let accounts = match stores {
        Some(stores) => wiring::accounts(settings, stores),
        None => wiring::accounts_of_service(settings),
    };
    let accounts = match accounts {
        Ok(accounts) => accounts,
        Err(error) => {
            return vec![Finding::fail("crm", one_line(&format!("{error:#}")), "see the settings crm.*")];
        }
    };
    let mut findings = Vec::new();
    let mut known = Known::new();
    for connected in accounts.open() {
        findings.push(ask(&connected, &mut known).await);
    }
    let Some(stores) = stores else { return findings };
    match projects(stores).await {
        Ok(projects) => {
            for project in projects.iter().filter(|one| one.archived_at.is_none() && one.settings.crm.enabled)
            {
                findings.extend(judge_project(project, &accounts, &mut known).await);
            }
        }
        Err(problem) => findings.push(Finding::fail("mapping", problem, "see that the store is well")),
    }
    findings
}

/// The look-up that every attempt to tell the CRM makes, too.
async fn fields_of(crm: &Arc<dyn Crm>) -> Result<Vec<CrmField>, (String, &'static str)> {
    crm.list_fields().await.map_err(|error| {
        let mend = match error {
            CrmError::Auth(_) => "set crm.pipedrive.api_token to the token of a user who may edit persons",
            CrmError::RateLimited { .. } => "try again later",
            CrmError::Transient(_) | CrmError::NotFound | CrmError::Permanent { .. } => {
                "see that crm.pipedrive.base_url is the account's and reachable from here"
            }
        };
        (error.to_string(), mend)
    })
}

async fn projects(stores: &Stores) -> Result<Vec<Project>, String> {
    let mut page = Page::first(PAGE);
    let mut all = Vec::new();
    loop {
        let projects = asked(stores.projects.projects(&page)).await?;
        page.after = projects.last().map(|project| project.id);
        let whole = u32::try_from(projects.len()).is_ok_and(|count| count == PAGE);
        all.extend(projects);
        if !whole {
            return Ok(all);
        }
    }
}

/// Asks a connection for its fields, and says how that went.
async fn ask(connected: &Connected, known: &mut Known) -> Finding {
    let account = &connected.account;
    match fields_of(&connected.crm).await {
        Ok(fields) => {
            let found = format!("{account}: the credentials are taken, {} fields", fields.len());
            known.insert(account.clone(), fields);
            Finding::ok("crm", found)
        }
        Err((problem, mend)) => Finding::fail("crm", format!("{account}: {problem}"), mend),
    }
}

async fn judge_project(project: &Project, accounts: &Accounts, known: &mut Known) -> Vec<Finding> {
    let (slug, settings) = (&project.slug, &project.settings.crm);
    let account = Account::of(project.id, &settings.account);
    let mut findings = Vec::new();
    match accounts.connected(&account).await {
        Ok(Some(connected)) if matches!(account, Account::Own(_)) => {
            findings.push(ask(&connected, known).await);
        }
        // It was asked already.
        Ok(Some(_)) => {}
        Ok(None) => {
            let found = format!("{slug}: there is no CRM connection named {}", settings.account);
            let mend = "set the project's crm.account, or crm.enabled=false";
            return vec![Finding::fail("mapping", found, mend)];
        }
        Err(error) => {
            let mend = "set it again: `leadtrail crm connection set`";
            return vec![Finding::fail("crm", format!("{slug}: {}", chain(&error)), mend)];
        }
    }
    findings.extend(known.get(&account).map(|fields| mapping::judge(slug, settings, fields)));
    findings
}

fn proxies(http: &Http) -> Finding {
    if http.overlooks_a_proxy() {
        let found = "http.public_url is https, so a proxy is in front, and none is trusted: all visitors have one address";
        return Finding::fail("proxy", found, "list the proxy's address or network in http.trusted_proxies");
    }
    let networks = http.proxies.trusted.len();
    Finding::ok(
        "proxy",
        match networks {
            0 => "none is trusted: an address is that of the connection".to_owned(),
            networks => format!("{networks} networks are trusted"),
        },
    )
}

async fn pixel(http: &Http) -> Finding {
    const SCRIPT: [&str; 2] = ["static", "pixel.js"];
    let base =
        http.public_url.as_ref().map_or_else(|| format!("http://{}", near(http.bind)), ToString::to_string);
    let target = match Destination::of_operator(&base) {
        Ok(target) => target.below(SCRIPT),
        Err(error) => {
            return Finding::warn(
                "pixel",
                format!("{base} is not asked: {error}"),
                "give http.public_url as https://…",
            );
        }
    };
    let answer = Outbound::new(&OutboundSettings::default()).send(Request::get(target)).await;
    let problem = match answer {
        Ok(answer) if answer.status == 200 && is_script(answer.header("content-type")) => {
            return Finding::ok("pixel", format!("{base} serves the script"));
        }
        Ok(answer) => format!("{base} answers {} in the script's place", answer.status),
        Err(error) => chain(&error),
    };
    if http.public_url.is_some() {
        Finding::fail(
            "pixel",
            problem,
            "see that http.public_url leads here, through DNS, proxy and certificate",
        )
    } else {
        Finding::warn("pixel", format!("{problem}: the service does not run here"), "`leadtrail serve`")
    }
}

fn is_script(content_type: Option<&str>) -> bool {
    content_type.is_some_and(|content_type| content_type.contains("javascript"))
}

/// Where a service that listens at `bind` is reached from this machine.
fn near(bind: SocketAddr) -> SocketAddr {
    let ip = if bind.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { bind.ip() };
    SocketAddr::new(ip, bind.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_clock_is_wrong_before_this_build_and_far_from_the_stores() {
        let now = YEAR_OF_BUILD.as_secs() + 1_000_000;
        for (machine, store, verdict) in [
            (now, None, Verdict::Ok),
            (now, Some(now), Verdict::Ok),
            (now, Some(now + 5), Verdict::Ok),
            (now, Some(now + 6), Verdict::Fail),
            (now + 6, Some(now), Verdict::Fail),
            (YEAR_OF_BUILD.as_secs() - 1, None, Verdict::Fail),
            (0, Some(now), Verdict::Fail),
        ] {
            assert_eq!(judge_clock(at(machine), store.map(at)).verdict, verdict, "{machine} {store:?}");
        }
        assert!(at(YEAR_OF_BUILD.as_secs()).to_string().starts_with("2026-01-01T00:00:00"));
    }

    #[test]
    fn a_disk_is_told_before_it_is_full() {
        for (free, verdict) in [
            (0, Verdict::Fail),
            (FREE_BYTES_NEEDED - 1, Verdict::Fail),
            (FREE_BYTES_NEEDED, Verdict::Warn),
            (FREE_BYTES_MIN - 1, Verdict::Warn),
            (FREE_BYTES_MIN, Verdict::Ok),
        ] {
            assert_eq!(judge_disk(Path::new("."), free).verdict, verdict, "{free}");
        }
    }

    #[test]
    fn a_service_that_listens_everywhere_is_asked_here() {
        assert_eq!(near(([0, 0, 0, 0], 8080).into()).to_string(), "127.0.0.1:8080");
        assert_eq!(near(([127, 0, 0, 2], 8080).into()).to_string(), "127.0.0.2:8080");
    }
}
