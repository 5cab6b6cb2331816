//! A server of this workspace, set up by its own command line, as a user would.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::guarded::Guarded;
use crate::process;

/// The program with its store.
#[derive(Clone, Copy)]
pub(crate) struct Leadtrail<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) store: &'a str,
    /// Its working folder, removed when its server ends.
    pub(crate) folder: &'a Path,
}

impl Leadtrail<'_> {
    /// Makes the store's tables.
    ///
    /// # Errors
    /// The command fails.
    pub(crate) fn migrate(self) -> Result<()> {
        process::output(&mut self.command(&["migrate"])).map(|_answer| ())
    }

    /// What a command answers as JSON.
    ///
    /// # Errors
    /// The command fails, or answers something else.
    pub(crate) fn json(self, arguments: &[&str]) -> Result<Value> {
        let answer = process::output(self.command(arguments).arg("--json"))?;
        serde_json::from_str(&answer).with_context(|| format!("answer of leadtrail {}", arguments.join(" ")))
    }

    /// Serves on a free port.
    ///
    /// # Errors
    /// The server ends before it listens.
    pub(crate) fn serve(self) -> Result<Server> {
        let mut serve = self.command(&["serve", "--bind", "127.0.0.1:0"]);
        let mut process = Guarded::start(serve.stdout(Stdio::piped()), "TERM", self.folder)?;
        let lines = BufReader::new(process.take_stdout().context("the server's output")?).lines();
        for line in lines {
            if let Some(address) = line?.strip_prefix("listening on http://") {
                let address = address.trim().parse().with_context(|| format!("listening on `{address}`"))?;
                return Ok(Server { process, address });
            }
        }
        bail!("the server ended before it listened")
    }

    fn command(self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.binary);
        command.current_dir(self.folder).args(arguments).args(["--store", self.store]);
        // One sender stands for thousands of visitors here.
        for limit in ["TRACKING", "READING", "MANAGING", "FAILED_AUTHENTICATIONS"] {
            command.env(format!("LEADTRAIL__LIMITS__{limit}"), "off");
        }
        command.env("LEADTRAIL__LOG__LEVEL", "warn").env("LEADTRAIL__CRM__KIND", "sandbox");
        command
    }
}

/// A running server; stopped when dropped.
pub(crate) struct Server {
    process: Guarded,
    address: SocketAddr,
}

impl Server {
    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        self.process.has_ended()
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The text of a field of JSON.
///
/// # Errors
/// It has none.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value[field].as_str().with_context(|| format!("no {field} in {value}"))
}
