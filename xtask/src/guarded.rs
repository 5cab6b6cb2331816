//! A server of ours that never outlives this process.

use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result};

/// Waits until its input ends: because the guard was dropped, or because xtask was killed in a way that runs no
/// destructor. Then it sends the server `$1` (after ten seconds KILL) and removes its folder. A terminal's ctrl-C
/// reaches the server itself, too, and must not end the watchdog before its work.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
read -r _line
kill -s "$1" "$2" 2>/dev/null
tenths=0
while kill -0 "$2" 2>/dev/null; do
    tenths=$((tenths + 1))
    if [ "$tenths" -eq 100 ]; then kill -s KILL "$2" 2>/dev/null; fi
    sleep 0.1
done
rm -rf "$3"
"#;

/// A running server; dropping it stops the server and removes its folder.
pub(crate) struct Guarded {
    child: Child,
    watchdog: Child,
}

impl Guarded {
    /// Starts `command`. `signal` (`INT`, `TERM`) ends it; `folder` holds what it writes.
    ///
    /// # Errors
    /// A program cannot be started.
    pub(crate) fn start(command: &mut Command, signal: &str, folder: &Path) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog", signal, &child.id().to_string()])
            .arg(folder)
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot start sh");
        match watchdog {
            Ok(watchdog) => Ok(Self { child, watchdog }),
            Err(error) => {
                child.kill().context("the server started without its watchdog")?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Whether the server has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// The server's process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The server's standard output, where it was piped; once.
    pub(crate) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // The server first: until it is reaped its id cannot be another's.
        for (what, ended) in [("server", self.child.wait()), ("watchdog", self.watchdog.wait())] {
            if let Err(error) = ended {
                eprintln!("xtask: waiting for the {what}: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("leadtrail-xtask-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_dropped_guard_ends_its_server_and_removes_its_folder() {
        let folder = folder("dropped");
        let guarded = Guarded::start(Command::new("sleep").arg("1000"), "TERM", &folder).unwrap();
        let process = PathBuf::from(format!("/proc/{}", guarded.id()));
        assert!(process.exists());
        drop(guarded);
        assert!(!process.exists());
        assert!(!folder.exists());
    }

    #[test]
    fn a_server_that_ends_by_itself_is_noticed() {
        let folder = folder("ended");
        let mut guarded = Guarded::start(&mut Command::new("true"), "TERM", &folder).unwrap();
        guarded.child.wait().unwrap();
        assert!(guarded.has_ended().unwrap());
    }
}
