//! The real binary as a process, in a folder of its own.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

/// Far longer than anything awaited takes, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// How often something is asked for that tells nobody when it changes.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// What the replaced tool's environment is called; ours all begin with `LEADTRAIL`.
const ALIASES: [&str; 3] = ["PIPEDRIVE_API_KEY", "ENVIRONMENT", "LOG_LEVEL"];

/// How much services say, where a test does not ask for less: what only a trace gives away must be found, too.
const LOUD: (&str, &str) = ("LEADTRAIL__LOG__LEVEL", "trace");

/// How many logs this process has begun.
static LOGS: AtomicU32 = AtomicU32::new(0);

/// The folder that commands and services work in; removed when dropped.
pub(crate) struct Home {
    folder: TempDir,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::Builder::new().prefix("leadtrail-test-").tempdir()? })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The URL of a store in this folder.
    pub(crate) fn sqlite(&self) -> String {
        format!("sqlite:{}", self.path("store.db").display())
    }

    /// Runs a command to its end, with nothing of ours in its environment but `environment`.
    pub(crate) fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Ended> {
        let output = self.command(arguments, environment).output()?;
        let stderr = String::from_utf8(output.stderr)?;
        // The other lines answer whoever typed the command, and may repeat what he typed.
        let logged: Vec<&str> =
            stderr.lines().filter(|line| line.starts_with('{') || level(line).is_some()).collect();
        if !logged.is_empty() {
            fs::write(self.new_log(), logged.join("\n"))?;
        }
        Ok(Ended { code: output.status.code(), stdout: String::from_utf8(output.stdout)?, stderr })
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Ended> {
        self.run_with(arguments, &[])
    }

    /// Runs a command that prints one line of JSON and nothing else.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let ended = self.run(arguments)?;
        ensure!(ended.code == Some(0), "{arguments:?}: {ended:?}");
        ensure!(ended.stdout.lines().count() == 1, "{arguments:?}: {ended:?}");
        serde_json::from_str(&ended.stdout).with_context(|| format!("{arguments:?}: {ended:?}"))
    }

    /// Starts a service and waits until it listens.
    pub(crate) fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Service> {
        let log = self.new_log();
        let mut command = self.command(arguments, &[&[LOUD], environment].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(File::create(&log)?).spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        // From here on, dropping it ends the process.
        let mut service = Service { child, address: ([0, 0, 0, 0], 0).into(), said: Arc::default(), log };
        service.said.follow(stdout);
        service.address = service.wait_for("where it listens", |lines| {
            lines.iter().find_map(|line| line.strip_prefix("listening on http://")?.parse().ok())
        })?;
        Ok(service)
    }

    /// Where the next process logs to: the folder that `LEADTRAIL_TEST_LOGS` names, where `cargo xtask test` looks
    /// through them afterwards, or this one.
    #[expect(
        clippy::disallowed_methods,
        reason = "where logs are kept is the business of whoever runs the tests"
    )]
    fn new_log(&self) -> PathBuf {
        let name = format!("process-{}-{}.log", std::process::id(), LOGS.fetch_add(1, Ordering::Relaxed));
        match std::env::var_os("LEADTRAIL_TEST_LOGS").filter(|folder| !folder.is_empty()) {
            Some(folder) => Path::new(&folder).join(name),
            None => self.path(&name),
        }
    }

    fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leadtrail"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, _value) in std::env::vars_os() {
            let is_setting =
                name.to_str().is_some_and(|name| name.starts_with("LEADTRAIL") || ALIASES.contains(&name));
            if is_setting {
                command.env_remove(name);
            }
        }
        // Everybody who sends here is one client: this machine.
        command.env("LEADTRAIL__LIMITS__TRACKING", "off");
        // What a killed one leaves behind goes with the folder.
        command.env("TMPDIR", self.folder.path()).envs(environment.iter().copied());
        command
    }
}

/// A running service; killed when dropped.
pub(crate) struct Service {
    child: Child,
    address: SocketAddr,
    said: Arc<Said>,
    log: PathBuf,
}

/// The lines of a process's standard output so far.
#[derive(Default)]
struct Said {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Service {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it printed so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.said.lock().clone()
    }

    /// What it logged so far that is a warning or worse.
    pub(crate) fn problems(&self) -> Result<String> {
        let is_problem =
            |line: &&str| !level(line).is_some_and(|level| ["TRACE", "DEBUG", "INFO"].contains(&level));
        Ok(self.log()?.lines().filter(is_problem).collect::<Vec<_>>().join("\n"))
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Waits until its output has what `find` looks for.
    pub(crate) fn wait_for<T>(&mut self, what: &str, find: impl Fn(&[String]) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        let said = Arc::clone(&self.said);
        let mut lines = said.lock();
        loop {
            if let Some(found) = find(&lines) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.child.try_wait()?.is_some() {
                bail!("it did not say {what}; it said:\n{}\nand logged:\n{}", lines.join("\n"), self.log()?);
            }
            let wait = said.grown.wait_timeout(lines, left.min(Duration::from_millis(100)));
            lines = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop, as service managers do (SIGTERM), and waits until it has; how it ended, and how long it took.
    pub(crate) fn terminate(&mut self) -> Result<(ExitStatus, Duration)> {
        let started = Instant::now();
        let sent = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status()?;
        ensure!(sent.success(), "cannot send a signal");
        let child = &mut self.child;
        let status = poll("the end of the process", || Ok(child.try_wait()?))?;
        Ok((status, started.elapsed()))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("ending the service: {error:#}");
        }
    }
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(self: &Arc<Self>, stdout: ChildStdout) {
        let said = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                said.lock().push(line);
                said.grown.notify_all();
            }
        });
    }
}

/// Asks until there is an answer.
pub(crate) fn poll<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "{what} does not come within {} s", PATIENCE.as_secs());
        std::thread::sleep(POLL_EVERY);
    }
}

/// The level of a line of a log for people.
fn level(line: &str) -> Option<&str> {
    let level = line.split_whitespace().nth(1)?;
    ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&level).then_some(level)
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}
