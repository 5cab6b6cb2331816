//! `cargo xtask scan-secrets`: token-like strings in the tree and in everything git has ever held.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::process::Stdio;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::workspace;
use crate::{print, process};

/// What was looked at and found harmless: `PATH START-OF-THE-TEXT why`, one per line.
const ALLOWED: &str = "xtask/allowed-tokens.txt";

/// Their checksums look like tokens.
const LOCK_FILES: [&str; 2] = ["Cargo.lock", "package-lock.json"];

/// How much of a finding is shown: enough to find it, too little to use it.
const SHOWN_CHARS: usize = 8;

/// A text that could open something.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Finding {
    rule: &'static str,
    text: String,
}

/// Tokens that say what they are by their first characters.
struct Prefixed {
    rule: &'static str,
    prefix: &'static str,
    /// How many characters follow at least.
    length: usize,
    /// Which.
    belongs: fn(char) -> bool,
}

const PREFIXED: [Prefixed; 6] = [
    Prefixed {
        rule: "an API key of Leadtrail",
        prefix: "lt_",
        length: 64,
        belongs: |c| c.is_ascii_hexdigit(),
    },
    Prefixed {
        rule: "an AWS access key id",
        prefix: "AKIA",
        length: 16,
        belongs: |c| c.is_ascii_alphanumeric(),
    },
    Prefixed {
        rule: "an AWS access key id",
        prefix: "ASIA",
        length: 16,
        belongs: |c| c.is_ascii_alphanumeric(),
    },
    Prefixed { rule: "a GitHub token", prefix: "ghp_", length: 36, belongs: |c| c.is_ascii_alphanumeric() },
    Prefixed {
        rule: "a GitHub token",
        prefix: "github_pat_",
        length: 40,
        belongs: |c| c.is_alphanumeric() || c == '_',
    },
    Prefixed {
        rule: "a Slack token",
        prefix: "xoxb-",
        length: 20,
        belongs: |c| c.is_alphanumeric() || c == '-',
    },
];

/// Hexadecimal digits of an API token of Pipedrive.
const PIPEDRIVE_TOKEN_CHARS: usize = 40;

/// A value behind `api_token=` is taken for real from this length on; shorter ones are names of variables.
const QUERY_TOKEN_CHARS_MIN: usize = 20;

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    crate::takes_nothing("scan-secrets", arguments)?;
    let allowed = Allowed::parse(&fs::read_to_string(workspace::root().join(ALLOWED)).context(ALLOWED)?)?;
    let mut scan = Scan { allowed, found: BTreeSet::new() };
    let files = scan.tree()?;
    let blobs = scan.history()?;
    for line in &scan.found {
        print(&format!("scan-secrets: {line}\n"))?;
    }
    if !scan.found.is_empty() {
        bail!("{} token-like texts; what is harmless is listed in {ALLOWED}", scan.found.len());
    }
    print(&format!("scan-secrets: ok, {files} files and {blobs} stored versions\n"))
}

struct Scan {
    allowed: Allowed,
    found: BTreeSet<String>,
}

impl Scan {
    /// Every file that git has or would take, as it lies there.
    fn tree(&mut self) -> Result<usize> {
        let mut count = 0;
        for path in process::git_files()? {
            let file = workspace::root().join(&path);
            if file.is_file() {
                let bytes = fs::read(&file).with_context(|| path.clone())?;
                self.text(&path, "", &String::from_utf8_lossy(&bytes));
                count += 1;
            }
        }
        Ok(count)
    }

    /// Every version of every file that any ref leads to, and every message.
    fn history(&mut self) -> Result<usize> {
        if process::output(process::git().args(["rev-parse", "--is-shallow-repository"]))?.trim() == "true" {
            print("scan-secrets: the clone is shallow; only its part of the history is scanned\n")?;
        }
        let messages = process::output(process::git().args(["log", "--all", "--format=%an %ae%n%B"]))?;
        self.text("commit messages", "", &messages);

        let objects = process::output(process::git().args(["rev-list", "--objects", "--all"]))?;
        let mut paths: BTreeMap<&str, &str> = BTreeMap::new();
        for line in objects.lines() {
            // Commits have no path; trees have one, and are told from files by their type below.
            if let Some((id, path)) = line.split_once(' ') {
                paths.entry(id).or_insert(path);
            }
        }
        let mut batch = process::git();
        batch.args(["cat-file", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut batch = batch.spawn().context("cannot start git cat-file")?;
        let mut ids = batch.stdin.take().context("input of git cat-file")?;
        let mut contents = BufReader::new(batch.stdout.take().context("output of git cat-file")?);
        let count = std::thread::scope(|scope| {
            let asked = paths.keys().copied().collect::<Vec<_>>();
            // Git's answers fill the pipe long before all questions are written.
            let asking = scope.spawn(move || asked.iter().try_for_each(|id| writeln!(ids, "{id}")));
            let mut count = 0;
            for _answer in 0..paths.len() {
                count += usize::from(self.stored_version(&mut contents, &paths)?);
            }
            asking.join().map_err(|_panic| anyhow!("asking git cat-file panicked"))??;
            anyhow::Ok(count)
        })?;
        drop(contents);
        if !batch.wait()?.success() {
            bail!("git cat-file failed");
        }
        Ok(count)
    }

    /// Scans one answer of `git cat-file --batch`; whether it was a file.
    fn stored_version(&mut self, contents: &mut impl BufRead, paths: &BTreeMap<&str, &str>) -> Result<bool> {
        let mut header = String::new();
        contents.read_line(&mut header)?;
        let words: Vec<&str> = header.split_whitespace().collect();
        let [id, kind, len] = words.as_slice() else { bail!("git cat-file answered `{}`", header.trim()) };
        let len: u64 = len.parse().with_context(|| header.clone())?;
        let mut bytes = Vec::new();
        contents.take(len + 1).read_to_end(&mut bytes)?;
        if *kind != "blob" {
            return Ok(false);
        }
        let path = paths.get(id).copied().unwrap_or_default();
        let short = id.get(..SHOWN_CHARS).unwrap_or(id);
        self.text(path, &format!(" (history, blob {short})"), &String::from_utf8_lossy(&bytes));
        Ok(true)
    }

    fn text(&mut self, path: &str, version: &str, text: &str) {
        let is_lock_file = LOCK_FILES.contains(&path.rsplit('/').next().unwrap_or(path));
        if is_lock_file || path == ALLOWED {
            return;
        }
        for (number, line) in text.lines().enumerate() {
            for finding in findings(line) {
                if !self.allowed.covers(path, &finding.text) {
                    let shown: String = finding.text.chars().take(SHOWN_CHARS).collect();
                    let place =
                        if version.is_empty() { format!(":{}", number + 1) } else { version.to_owned() };
                    self.found.insert(format!("{path}{place}: {}, {shown}…", finding.rule));
                }
            }
        }
    }
}

/// What may stay: a path (or its beginning, with `*`) and the first characters of the text.
#[derive(Debug)]
struct Allowed(Vec<(String, String)>);

impl Allowed {
    fn parse(text: &str) -> Result<Self> {
        let mut allowed = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some(path), Some(start), Some(_reason)) => allowed.push((path.to_owned(), start.to_owned())),
                _ => bail!("{ALLOWED}: `{line}` is not PATH, START-OF-THE-TEXT and a reason"),
            }
        }
        Ok(Self(allowed))
    }

    fn covers(&self, path: &str, text: &str) -> bool {
        self.0.iter().any(|(allowed, start)| {
            let same_path = match allowed.strip_suffix('*') {
                Some(beginning) => path.starts_with(beginning),
                None => path == allowed,
            };
            same_path && text.starts_with(start.as_str())
        })
    }
}

/// Everything token-like in one line.
fn findings(line: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let is_word = |c: char| c.is_ascii_alphanumeric();
    for word in line.split(|c: char| !is_word(c)) {
        if word.len() == PIPEDRIVE_TOKEN_CHARS && word.chars().all(|c| c.is_ascii_hexdigit()) {
            found.push(Finding { rule: "40 hexadecimal digits, a token's shape", text: word.to_owned() });
        }
    }
    for Prefixed { rule, prefix, length, belongs } in PREFIXED {
        for (at, _prefix) in line.match_indices(prefix) {
            let inside_a_word = line[..at].chars().next_back().is_some_and(is_word);
            let body: String = line[at + prefix.len()..].chars().take_while(|c| belongs(*c)).collect();
            if !inside_a_word && body.len() >= length {
                found.push(Finding { rule, text: format!("{prefix}{body}") });
            }
        }
    }
    for (at, name) in line.match_indices("api_token=") {
        let value: String = line[at + name.len()..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '-')
            .collect();
        let has_digit = value.chars().any(|c| c.is_ascii_digit());
        if value.len() >= QUERY_TOKEN_CHARS_MIN && has_digit {
            found.push(Finding { rule: "a value of api_token", text: value });
        }
    }
    if let Some(at) = line.find("-----BEGIN ")
        && line[at..].contains("PRIVATE KEY-----")
    {
        found.push(Finding { rule: "a private key", text: line[at..].to_owned() });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Put together here, so that this file holds none of them.
    fn canaries() -> Vec<String> {
        vec![
            format!("token: \"{}\"", "0a1b2".repeat(8)),
            format!("Authorization: Bearer lt_{}", "0f".repeat(32)),
            format!("https://example.test/?api_token={}", "abcd1".repeat(5)),
            format!("-----{} EC PRIVATE KEY-----", "BEGIN"),
            format!("AK{}{}", "IA", "ABCDEFGH12345678"),
            format!("gh{}{}", "p_", "a1B2".repeat(9)),
        ]
    }

    #[test]
    fn every_planted_canary_is_caught() {
        for canary in canaries() {
            assert_eq!(findings(&canary).len(), 1, "{canary}");
        }
    }

    #[test]
    fn what_only_resembles_a_token_is_not() {
        let harmless = [
            format!("checksum = \"{}\"", "0a".repeat(32)),
            "LEADTRAIL__CRM__PIPEDRIVE__API_TOKEN=replace-me".to_owned(),
            "?api_token=${PIPEDRIVE_API_TOKEN_OF_THE_PROJECT}".to_owned(),
            "default_lt_value, lt_0123".to_owned(),
            "-----BEGIN CERTIFICATE-----".to_owned(),
        ];
        for line in harmless {
            assert_eq!(findings(&line), [], "{line}");
        }
    }

    #[test]
    fn a_finding_is_reported_with_its_place_but_not_in_full() {
        let canary = canaries().remove(0);
        let mut scan = Scan { allowed: Allowed(Vec::new()), found: BTreeSet::new() };
        scan.text("README.md", "", &format!("first\n{canary}"));
        let report = scan.found.pop_first().unwrap();
        assert!(report.starts_with("README.md:2: "), "{report}");
        assert!(!report.contains(&"0a1b2".repeat(2)), "{report}");
    }

    #[test]
    fn an_allowed_text_is_allowed_in_its_place_only() {
        let allowed = Allowed::parse("# why\ncrates/a/tests/* 0a1b made up for the test\n").unwrap();
        assert!(allowed.covers("crates/a/tests/x.rs", "0a1b2"));
        assert!(!allowed.covers("crates/a/src/x.rs", "0a1b2"));
        assert!(!allowed.covers("crates/a/tests/x.rs", "ffff"));
        assert!(Allowed::parse("path start\n").unwrap_err().to_string().contains("reason"));
    }

    #[test]
    fn lock_files_are_exempt() {
        let mut scan = Scan { allowed: Allowed(Vec::new()), found: BTreeSet::new() };
        scan.text("crates/x/Cargo.lock", "", &canaries()[0]);
        assert_eq!(scan.found, BTreeSet::new());
    }
}
