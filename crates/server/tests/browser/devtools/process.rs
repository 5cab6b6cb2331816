//! The browser's processes and its profile.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

/// How long the browser may take until it listens; a cold one on a busy machine takes some seconds.
const START_AT_MOST: Duration = Duration::from_secs(45);

/// How long killed processes may take until they let go of the profile.
const END_AT_MOST: Duration = Duration::from_secs(10);

const PROGRAMS: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

const FLAGS: [&str; 14] = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    // Containers have little of it.
    "--disable-dev-shm-usage",
    // `navigator.webdriver` is false, as where a person sits.
    "--disable-blink-features=AutomationControlled",
    "--window-size=1280,800",
    "--remote-debugging-port=0",
    "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "about:blank",
];

pub(super) struct Chromium {
    child: Child,
    port: u16,
    /// Taken when dropped.
    profile: Option<TempDir>,
    profile_path: PathBuf,
}

impl Chromium {
    pub(super) fn start() -> Result<Self> {
        let program = program()?;
        let profile = tempfile::Builder::new().prefix("leadtrail-browser-").tempdir()?;
        let profile_path = profile.path().to_owned();
        let log = profile_path.join("stderr.log");
        let mut command = Command::new(&program);
        command.args(FLAGS).arg(format!("--user-data-dir={}", profile_path.display()));
        // For what no page of ours is attached to when it begins, such as a prerendered page.
        command.arg(format!("--user-agent={}", user_agent(&program)?));
        if Path::new("/proc/self").metadata()?.uid() == 0 {
            // The sandbox refuses root.
            command.arg("--no-sandbox");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = command.spawn().with_context(|| program.display().to_string())?;
        // From here on, dropping it ends the process.
        let mut chromium = Self { child, port: 0, profile: Some(profile), profile_path };
        chromium.port = chromium.wait_for_port().with_context(|| {
            fs::read_to_string(&log).unwrap_or_else(|error| format!("{}: {error}", log.display()))
        })?;
        Ok(chromium)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn profile(&self) -> &Path {
        &self.profile_path
    }

    /// The file in the profile whose first line is the port, written as soon as the browser listens.
    fn wait_for_port(&mut self) -> Result<u16> {
        let file = self.profile_path.join("DevToolsActivePort");
        let deadline = Instant::now() + START_AT_MOST;
        loop {
            if let Ok(text) = fs::read_to_string(&file)
                && let Some((port, _path)) = text.split_once('\n')
            {
                return port.parse().with_context(|| format!("{}: `{port}`", file.display()));
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the browser ended at once ({status})");
            }
            if Instant::now() > deadline {
                bail!("the browser does not listen after {} s", START_AT_MOST.as_secs());
            }
            pause();
        }
    }

    /// The browser's process and all below it.
    pub(super) fn processes(&self) -> Result<Vec<u32>> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Ok(id) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
            // A process may end while it is looked at.
            if let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat"))
                && let Some(parent) = parent(&stat)
            {
                parents.push((id, parent));
            }
        }
        let mut family = BTreeSet::from([self.child.id()]);
        loop {
            let before = family.len();
            family.extend(
                parents
                    .iter()
                    .filter(|(_id, parent)| family.contains(parent))
                    .map(|(id, _parent)| *id)
                    .collect::<Vec<_>>(),
            );
            if family.len() == before {
                return Ok(family.into_iter().collect());
            }
        }
    }

    fn end(&mut self) -> Result<()> {
        // Before the first is killed: the others have another parent afterwards.
        let family = self.processes()?;
        self.child.kill()?;
        self.child.wait()?;
        let left: Vec<String> = family
            .iter()
            .filter(|id| Path::new("/proc").join(id.to_string()).exists())
            .map(ToString::to_string)
            .collect();
        if !left.is_empty() {
            // Some end by themselves in between, which `kill` complains about and we do not mind.
            Command::new("kill").arg("-KILL").args(left).stderr(Stdio::null()).status()?;
        }
        let deadline = Instant::now() + END_AT_MOST;
        // A process that was killed takes a moment to end, longer where the machine is busy.
        while family.iter().any(|id| has_a_program(*id)) {
            if Instant::now() > deadline {
                bail!("processes of the browser do not end");
            }
            pause();
        }
        drop(self.profile.take().map(TempDir::keep));
        while let Err(error) = fs::remove_dir_all(&self.profile_path) {
            if Instant::now() > deadline {
                return Err(error).with_context(|| self.profile_path.display().to_string());
            }
            pause();
        }
        Ok(())
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("ending the browser: {error:#}");
        }
    }
}

/// What the browser calls itself where it has a window; without one, its name says so.
fn user_agent(program: &Path) -> Result<String> {
    let output =
        Command::new(program).arg("--version").output().with_context(|| program.display().to_string())?;
    let version = String::from_utf8_lossy(&output.stdout);
    let major = version.split_whitespace().find_map(|word| word.split_once('.')?.0.parse::<u32>().ok());
    let major = major.with_context(|| format!("no version in `{version}`"))?;
    Ok(format!(
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.0.0 Safari/537.36"
    ))
}

/// Whether a process runs. One that ended and that nobody has asked for yet has no program any more.
fn has_a_program(id: u32) -> bool {
    Path::new("/proc").join(id.to_string()).join("exe").read_link().is_ok()
}

/// What we wait for has no event: a file of another process, and processes that are not our children.
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// Field 4 of proc(5)'s `stat`, behind a name in parentheses that may hold anything.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "which browser to drive is the machine's matter, not the product's"
)]
fn program() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("LEADTRAIL_TEST_CHROMIUM").filter(|named| !named.is_empty()) {
        return Ok(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    PROGRAMS
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
        .context("no Chromium: let LEADTRAIL_TEST_CHROMIUM name one, or run `cargo xtask test`, which installs one")
}
