//! Running other programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// Cargo in the workspace, without what `cargo run` told this process about its own package: build scripts that watch
/// those variables (ring's does) would run again each time a command alternates with a bare `cargo`.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root());
    for (name, _value) in std::env::vars_os() {
        let about_this_package = name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if about_this_package {
            command.env_remove(name);
        }
    }
    command
}

/// Git in the workspace. A container's root may work on another user's checkout; who runs our code from it trusts it.
pub(crate) fn git() -> Command {
    let mut command = Command::new("git");
    command.current_dir(workspace::root()).args(["-c", "safe.directory=*"]);
    command
}

/// Everything that git has or would take, relative to the workspace. What was removed is listed until that is committed.
pub(crate) fn git_files() -> Result<Vec<String>> {
    let listed = output(git().args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
    Ok(listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

/// Runs to the end with this process's input and output.
///
/// # Errors
/// The program cannot be started, or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs to the end and returns what was written to standard output.
///
/// # Errors
/// The program cannot be started, fails (the message has the end of what it wrote to standard error), or writes what is
/// not UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", shown(command), output.status, complaint.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of {}", shown(command)))
}

/// The first program of these names on the search path, with symbolic links followed.
pub(crate) fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = workspace::setting("PATH")?;
    names.iter().find_map(|name| {
        let found =
            std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())?;
        Some(found.canonicalize().unwrap_or(found))
    })
}

/// Asks `ready` until it says yes.
///
/// # Errors
/// `ready` fails, or says no for `at_most`.
pub(crate) fn wait_for(what: &str, at_most: Duration, mut ready: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !ready()? {
        if begun.elapsed() > at_most {
            bail!("{what}: not within {} s", at_most.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The user that this process runs as, who owns what it makes.
///
/// # Errors
/// There is no `/proc`.
pub(crate) fn user_id() -> Result<u32> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(Path::new("/proc/self").metadata().context("/proc/self (Linux only)")?.uid())
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_its_complaint() {
        let error =
            output(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("exit 3") && error.contains("broken"), "{error}");
    }

    #[test]
    fn a_program_that_is_nowhere_is_not_found() {
        assert_eq!(on_path(&["no-such-program-anywhere"]), None);
        assert!(on_path(&["no-such-program-anywhere", "sh"]).is_some());
    }
}
