//! `cargo xtask bench http`: what a release server takes, under a closed loop of POST /api/track.

mod load;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use self::load::{Load, Outcome};
use crate::postgres::{Cluster, Durability};
use crate::server::{self, Leadtrail, Server};
use crate::workspace::Metadata;
use crate::{print, process, provision};

/// Beyond it the load generator's own threads are what is measured.
const CONNECTIONS_MAX: u32 = 1024;

/// Before counting begins: pools fill, caches warm, the first visitors are made.
const WARM_UP: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Store {
    Sqlite,
    Postgres,
}

#[derive(PartialEq, Eq, Debug)]
struct Asked {
    store: Store,
    connections: u32,
    seconds: u64,
}

impl Asked {
    fn parse(arguments: &[String]) -> Result<Self> {
        let Some((what, options)) = arguments.split_first() else {
            bail!("`bench` needs to know what: `http`")
        };
        if what != "http" {
            bail!("`bench` knows `http`, not `{what}`");
        }
        let mut asked = Self { store: Store::Sqlite, connections: 64, seconds: 10 };
        let mut options = options.iter();
        while let Some(option) = options.next() {
            let value = options.next().with_context(|| format!("`{option}` needs a value"))?;
            match (option.as_str(), value.as_str()) {
                ("--store", "sqlite") => asked.store = Store::Sqlite,
                ("--store", "postgres") => asked.store = Store::Postgres,
                ("--connections", number) => {
                    asked.connections = number.parse().with_context(|| format!("--connections {number}"))?;
                }
                ("--seconds", number) => {
                    asked.seconds = number.parse().with_context(|| format!("--seconds {number}"))?;
                }
                _ => bail!("`bench http` does not take `{option} {value}`"),
            }
        }
        if asked.connections == 0 || asked.connections > CONNECTIONS_MAX || asked.seconds == 0 {
            bail!("1 to {CONNECTIONS_MAX} connections, at least 1 second");
        }
        Ok(asked)
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let asked = Asked::parse(arguments)?;
    let target = Metadata::members_only()?.target()?;
    process::run(process::cargo().args(["build", "--release", "--locked", "--package", "leadtrail-server"]))?;
    let binary = target.join("release/leadtrail");

    // On the disk that `target` lies on: a temporary folder may be memory, and an fsync there costs nothing.
    let folder = target.join(format!("bench-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let cluster = match asked.store {
        Store::Sqlite => None,
        Store::Postgres => Some(Cluster::start(&provision::postgres()?, &target, Durability::Stock)?),
    };
    let store = match &cluster {
        Some(cluster) => cluster.url(),
        None => format!("sqlite:{}", folder.join("bench.db").display()),
    };
    let server = start(Leadtrail { binary: &binary, store: &store, folder: &folder });
    if server.is_err() && folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    let (server, pixel) = server?;
    let before = Usage::of(server.id())?;
    let outcome = drive(server.address(), &pixel, &asked)?;
    let after = Usage::of(server.id())?;
    drop(server);
    drop(cluster);
    print(&report(&asked, &outcome, &before, &after))?;
    if outcome.accepted == 0 {
        bail!("no event was accepted");
    }
    Ok(())
}

/// A server with a project and a pixel, and the pixel's id.
fn start(leadtrail: Leadtrail<'_>) -> Result<(Server, String)> {
    leadtrail.migrate()?;
    let project = leadtrail.json(&["project", "create", "--name", "Bench", "--slug", "bench"])?;
    let project = server::text(&project, "id")?;
    let pixel = leadtrail.json(&["pixel", "create", "--project", project, "--name", "Bench"])?;
    let pixel = server::text(&pixel, "id")?.to_owned();
    Ok((leadtrail.serve()?, pixel))
}

fn drive(address: SocketAddr, pixel: &str, asked: &Asked) -> Result<Outcome> {
    let load = Load { address, pixel: pixel.to_owned(), connections: asked.connections };
    load.drive(WARM_UP, Duration::from_secs(asked.seconds))
}

/// What a process has used of the machine.
struct Usage {
    cpu: Duration,
    /// The most memory it ever held, in KiB.
    resident_kib_max: u64,
}

/// Linux counts a process's CPU time in these, on every architecture since 2.6.
const TICK: Duration = Duration::from_millis(10);

impl Usage {
    fn of(process: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("the server has ended")?;
        let status = fs::read_to_string(format!("/proc/{process}/status")).context("the server has ended")?;
        Self::parse(&stat, &status).context("/proc has another shape than expected")
    }

    fn parse(stat: &str, status: &str) -> Option<Self> {
        // The program's name, in parentheses, may hold anything; utime and stime are fields 14 and 15 of proc(5).
        let (_name, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace().skip(11);
        let ticks = fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let resident_kib_max = resident.split_whitespace().next()?.parse().ok()?;
        Some(Self { cpu: TICK * ticks, resident_kib_max })
    }
}

fn report(asked: &Asked, outcome: &Outcome, before: &Usage, after: &Usage) -> String {
    let Asked { store, connections, .. } = asked;
    let seconds = outcome.lasted.as_secs_f64();
    let answered = outcome.latencies.len();
    let rate = exact(outcome.accepted) / seconds;
    let percent = exact(outcome.accepted) / exact(answered.max(1)) * 100.0;
    let [p50, p99, max] = [50, 99, 100].map(|percent| outcome.percentile(percent).as_secs_f64() * 1e3);
    // With the warm-up on both sides: the server's time cannot be read at the instant at which counting begins.
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6
        / exact(outcome.accepted_with_warm_up.max(1));
    let resident_mib_max = after.resident_kib_max / 1024;
    let refused: Vec<String> =
        outcome.refused.iter().map(|(status, count)| format!("  {count} × status {status}\n")).collect();
    let refused = refused.concat();
    format!(
        "bench http: {store:?}, {connections} connections, {seconds:.1} s\n  \
         {rate:.0} events/s, {percent:.2} % of {answered} answers were 200\n  \
         p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms\n  \
         server: {cpu:.0} µs CPU per event, {resident_mib_max} MiB resident at most\n{refused}"
    )
}

/// Counts of one run lie far below `u32`'s end, and `u32` is what a double holds without loss.
fn exact(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<Asked> {
        Asked::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_bench_is_asked_for_by_store_connections_and_seconds() {
        assert_eq!(asked("http").unwrap(), Asked { store: Store::Sqlite, connections: 64, seconds: 10 });
        let all = asked("http --store postgres --connections 8 --seconds 3").unwrap();
        assert_eq!(all, Asked { store: Store::Postgres, connections: 8, seconds: 3 });
        for wrong in ["", "tcp", "http --store mysql", "http --connections", "http --connections 0"] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn cpu_time_is_read_behind_a_name_with_spaces_and_parentheses() {
        let stat = "42 (lead) trail) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        let usage = Usage::parse(stat, "Name:\tleadtrail\nVmHWM:\t   2048 kB\n").unwrap();
        assert_eq!((usage.cpu, usage.resident_kib_max), (Duration::from_secs(2), 2048));
    }
}
