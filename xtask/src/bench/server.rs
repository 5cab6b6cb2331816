//! The server under load: set up by its own command line, as a user would.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::guarded::Guarded;
use crate::process;

/// A running `leadtrail serve` with one project and one pixel; stopped when dropped.
pub(super) struct Server {
    process: Guarded,
    address: SocketAddr,
    pixel: String,
}

impl Server {
    /// Starts `binary` on a fresh `store`; `folder` is its working folder and removed with it.
    ///
    /// # Errors
    /// A command of the server fails, or it ends before it listens.
    pub(super) fn start(binary: &Path, store: &str, folder: &Path) -> Result<Self> {
        let leadtrail = |arguments: &[&str]| {
            let mut command = Command::new(binary);
            command.current_dir(folder).args(arguments).args(["--store", store]);
            // One sender stands for thousands of visitors here.
            command.env("LEADTRAIL__LIMITS__TRACKING", "off").env("LEADTRAIL__LOG__LEVEL", "warn");
            command.env("LEADTRAIL__CRM__KIND", "none");
            command
        };
        process::output(&mut leadtrail(&["migrate"]))?;
        let id_of_new = |arguments: &[&str]| {
            let answer: Value = serde_json::from_str(&process::output(&mut leadtrail(arguments))?)?;
            let id = answer["id"].as_str().with_context(|| format!("no id in {answer}"))?;
            anyhow::Ok(id.to_owned())
        };
        let project = id_of_new(&["project", "create", "--name", "Bench", "--slug", "bench", "--json"])?;
        let pixel = id_of_new(&["pixel", "create", "--project", &project, "--name", "Bench", "--json"])?;

        let mut serve = leadtrail(&["serve", "--bind", "127.0.0.1:0"]);
        let mut process = Guarded::start(serve.stdout(Stdio::piped()), "TERM", folder)?;
        let lines = BufReader::new(process.take_stdout().context("the server's output")?).lines();
        for line in lines {
            if let Some(address) = line?.strip_prefix("listening on http://") {
                let address = address.trim().parse().with_context(|| format!("listening on `{address}`"))?;
                return Ok(Self { process, address, pixel });
            }
        }
        anyhow::bail!("the server ended before it listened")
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn pixel(&self) -> &str {
        &self.pixel
    }
}
