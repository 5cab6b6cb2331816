//! What the services and commands of the tests have logged, searched for what no log may hold: secrets, and what
//! visitors and customers are known by. The tests plant both.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::print;

/// The variable that names the folder to the tests.
pub(crate) const FOLDER: &str = "LEADTRAIL_TEST_LOGS";

/// What tests plant, in lower case: most of it says what it is.
const PLANTED: [&str; 7] =
    ["canary", "lovelace", "grace hopper", "alan turing", "secret garden", "demo-click", "5550199"];

/// Words of headers and cookies whose values are secrets or name a visitor.
const HEADERS: [&str; 5] = ["authorization", "bearer ", "x-api-key", "lt_visitor", "ppp_visitor"];

/// Names that some tests give their requests: without lines of theirs, the search has looked at nothing.
const MARKERS: [&str; 3] = ["log-scan-marker-pretty", "log-scan-marker-json", "log-scan-marker-crm"];

/// A run of all tests logs far more.
const LINES_MIN: usize = 1_000;

/// How much of a line is shown.
const SHOWN_CHARS: usize = 200;

/// How many findings are shown.
const SHOWN_MAX: usize = 20;

/// Where the tests log to.
pub(crate) struct Logs {
    folder: PathBuf,
}

/// How much must have been logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extent {
    /// What a run of every test logs.
    Whole,
    /// Whatever the selected tests log.
    Part,
}

impl Logs {
    /// An empty folder below `target`.
    pub(crate) fn begin(target: &Path) -> Result<Self> {
        let folder = target.join("test-logs");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self { folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Looks through every line and says what it found.
    ///
    /// # Errors
    /// A line holds what no log may; or too little was logged for that to say anything.
    pub(crate) fn search(&self, extent: Extent) -> Result<()> {
        let seen = self.read()?;
        for leak in seen.leaks.iter().take(SHOWN_MAX) {
            print(&format!("logs: {leak}\n"))?;
        }
        seen.judge(extent)?;
        print(&format!("logs: ok, {} lines of {} processes\n", seen.lines, seen.files))
    }

    fn read(&self) -> Result<Seen> {
        let mut seen = Seen::default();
        let mut entries: Vec<PathBuf> =
            fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        entries.sort_unstable();
        for path in entries {
            seen.files += 1;
            let mut reader = BufReader::new(File::open(&path)?);
            let mut bytes = Vec::new();
            let mut number = 0;
            while reader.read_until(b'\n', &mut bytes)? > 0 {
                number += 1;
                let line = String::from_utf8_lossy(&bytes);
                seen.markers.extend(MARKERS.into_iter().filter(|marker| line.contains(marker)));
                for rule in leaks_of(&line) {
                    let shown: String = line.trim_end().chars().take(SHOWN_CHARS).collect();
                    seen.leaks.push(format!("{}:{number}: {rule}: {shown}", path.display()));
                }
                bytes.clear();
            }
            seen.lines += number;
        }
        Ok(seen)
    }
}

/// What a search met.
#[derive(Default)]
struct Seen {
    files: usize,
    lines: usize,
    markers: BTreeSet<&'static str>,
    leaks: Vec<String>,
}

impl Seen {
    fn judge(&self, extent: Extent) -> Result<()> {
        if !self.leaks.is_empty() {
            bail!("{} times a log holds what none may", self.leaks.len());
        }
        let missing: Vec<&str> =
            MARKERS.into_iter().filter(|marker| !self.markers.contains(marker)).collect();
        if extent == Extent::Whole && !(missing.is_empty() && self.lines >= LINES_MIN) {
            bail!("{} lines in {} logs are too few, or lack {missing:?}", self.lines, self.files);
        }
        Ok(())
    }
}

/// What a line holds that no log may, by kind.
fn leaks_of(line: &str) -> Vec<&'static str> {
    let lower = line.to_lowercase();
    let mut found = Vec::new();
    let mut note = |is_there: bool, rule: &'static str| {
        if is_there {
            found.push(rule);
        }
    };
    note(PLANTED.iter().any(|planted| lower.contains(planted)), "what a test planted");
    note(HEADERS.iter().any(|header| lower.contains(header)), "a header or cookie");
    note(has_key(line), "an API key, or the beginning of one");
    note(has_email(line), "an e-mail address, or a password in a URL");
    note(has_address(line), "an address of a client");
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `lt_` where a word begins.
fn has_key(line: &str) -> bool {
    line.match_indices("lt_").any(|(at, prefix)| {
        !line[..at].ends_with(is_word)
            && line[at + prefix.len()..].starts_with(|c: char| c.is_ascii_alphanumeric())
    })
}

/// An `@` between what may be a name and what may be a host. `%40` is one, too.
fn has_email(line: &str) -> bool {
    ["@", "%40"].iter().any(|sign| {
        line.match_indices(sign).any(|(at, sign)| {
            let before = line[..at].ends_with(|c: char| c.is_alphanumeric() || "._%+-".contains(c));
            let after = &line[at + sign.len()..];
            before && after.starts_with(|c: char| c.is_alphanumeric() || c == '[')
        })
    })
}

/// An IP address other than those that tests listen at: their clients have others by way of a proxy's headers.
fn has_address(line: &str) -> bool {
    let v4 = line.split(|c: char| !c.is_ascii_digit() && c != '.').any(|part| {
        part.trim_matches('.')
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| !address.is_loopback() && !address.is_unspecified())
    });
    // A path such as `app::ingest` is cut at no boundary of an address.
    let v6 = line.split(|c: char| !is_word(c) && c != ':').any(|part| {
        part.trim_end_matches(':')
            .parse::<Ipv6Addr>()
            .is_ok_and(|address| !address.is_loopback() && !address.is_unspecified())
    });
    v4 || v6
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    static COUNT: AtomicU32 = AtomicU32::new(0);

    /// A folder that is removed afterwards.
    struct Target(PathBuf);

    impl Target {
        fn new() -> Self {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            Self(std::env::temp_dir().join(format!("leadtrail-logs-{}-{number}", std::process::id())))
        }
    }

    impl Drop for Target {
        fn drop(&mut self) {
            if let Err(error) = fs::remove_dir_all(&self.0) {
                eprintln!("{}: {error}", self.0.display());
            }
        }
    }

    /// What a search says of a run that wrote these lines, beside those of all tests or alone.
    fn said_of(lines: &[&str], extent: Extent, usual: bool) -> Result<()> {
        let target = Target::new();
        let logs = Logs::begin(&target.0)?;
        let mut text = lines.join("\n");
        if usual {
            for marker in MARKERS {
                text = format!("{text}\n{}", USUAL.replace("NAME", marker).repeat(LINES_MIN));
            }
        }
        fs::write(logs.folder().join("process-1-0.log"), text)?;
        logs.read()?.judge(extent)
    }

    const USUAL: &str = "2026-11-23T05:11:16.409495Z DEBUG http.request{request.id=\"NAME\"}: \
         leadtrail_http::request_id: answered http.method=\"POST\" http.route=\"/api/track\" http.status=200\n";

    #[test]
    fn a_planted_leak_fails_the_search_wherever_it_stands() {
        for leak in [
            "refused: canary",
            "name=Lovelace",
            "error=\"no person ada@example.com\"",
            "query=email=ada%40example.com",
            "authorization: Basic eA==",
            "{\"message\":\"headers\",\"AUTHORIZATION\":\"x\"}",
            "key=lt_0123456789",
            "prefix lt_0a1b",
            "cookie lt_visitor=abcdefgh",
            "client 203.0.113.9 is slow",
            "client=\"203.0.113.9:4711\"",
            "client [2a00::1]:4711",
            "client 2001:db8:0:1:2:3:4:5",
            "cannot reach postgres://user:secret@db/leadtrail",
        ] {
            assert!(!leaks_of(leak).is_empty(), "{leak}");
            assert!(said_of(&[leak], Extent::Whole, true).is_err(), "{leak}");
            assert!(said_of(&["harmless", leak], Extent::Part, false).is_err(), "{leak}");
        }
    }

    #[test]
    fn what_logs_are_made_of_is_harmless() {
        for line in [
            USUAL,
            "2026-11-23T05:11:16.409495Z  INFO actix_server::server: starting service: \"127.0.0.1:37041\"",
            "leadtrail_app::access: refused",
            "crm.account=default_lt_x",
            "listening on http://127.0.0.1:8080 and [::1]:8080 and 0.0.0.0:80",
            "version 0.1.0 of 1.2.3",
            "took 00:00:01",
            "a @ b",
            "cannot reach postgres://user:***@db/leadtrail",
        ] {
            assert_eq!(leaks_of(line), Vec::<&str>::new(), "{line}");
        }
        said_of(&["harmless"], Extent::Whole, true).unwrap();
    }

    #[test]
    fn a_search_of_nothing_fails_where_all_tests_ran() {
        for lines in [&[][..], &["harmless"], &[MARKERS[0], MARKERS[1]], &MARKERS] {
            assert!(said_of(lines, Extent::Whole, false).is_err(), "{lines:?}");
            said_of(lines, Extent::Part, false).unwrap();
        }
    }

    #[test]
    fn the_logs_of_the_run_before_are_gone() {
        let target = Target::new();
        let before = Logs::begin(&target.0).unwrap();
        fs::write(before.folder().join("old.log"), "canary").unwrap();
        Logs::begin(&target.0).unwrap().read().unwrap().judge(Extent::Part).unwrap();
    }
}
