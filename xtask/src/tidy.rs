//! `cargo xtask tidy`: rules of this repository that the compiler does not know.

mod arrows;
mod dependencies;
mod layout;
mod schemas;
mod scripts;

use std::fmt;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::pixel::SCRIPTS;
use crate::workspace::{self, Metadata};
use crate::{print, process};

/// One rule broken in one place.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Violation {
    /// Relative to the workspace.
    file: String,
    problem: String,
    mend: String,
}

impl Violation {
    fn new(file: impl Into<String>, problem: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { file: file.into(), problem: problem.into(), mend: mend.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.file, self.problem, self.mend)
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    crate::takes_nothing("tidy", arguments)?;
    let metadata = Metadata::resolved()?;
    let files = files()?;
    let mut violations = arrows::check(metadata.json());
    violations.extend(schemas::check(&migrations(&files)?));
    violations.extend(layout::check(&files));
    violations.extend(dependencies::check(&manifests(&files)?));
    for script in &SCRIPTS {
        violations.extend(scripts::check(script, &scripts::Built::read(script.name)?));
    }
    violations.sort();
    for violation in &violations {
        print(&format!("tidy: {violation}\n"))?;
    }
    if !violations.is_empty() {
        bail!("{} untidy", violations.len());
    }
    print("tidy: ok\n")
}

/// A file that is, or would be, part of the repository.
#[derive(Clone, PartialEq, Eq, Debug)]
struct File {
    /// Relative to the workspace, with `/`.
    path: String,
    /// Bytes.
    len: u64,
}

/// Everything that git has or would take.
fn files() -> Result<Vec<File>> {
    let listed = process::git_files()?;
    let mut files = Vec::new();
    for path in listed {
        // A tracked file that was removed is listed until the removal is committed.
        if let Ok(metadata) = workspace::root().join(&path).symlink_metadata() {
            files.push(File { path, len: metadata.len() });
        }
    }
    Ok(files)
}

fn read(path: &str) -> Result<String> {
    let path: PathBuf = workspace::root().join(path);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

fn migrations(files: &[File]) -> Result<Vec<schemas::MigrationFile>> {
    let mut found = Vec::new();
    for file in files {
        if let Some((engine, name, direction)) = schemas::place(&file.path) {
            found.push(schemas::MigrationFile { engine, name, direction, sql: read(&file.path)? });
        }
    }
    Ok(found)
}

/// Every member's manifest, with the workspace's own.
fn manifests(files: &[File]) -> Result<Vec<(String, String)>> {
    let manifests =
        files.iter().filter(|file| file.path == "Cargo.toml" || file.path.ends_with("/Cargo.toml"));
    manifests.map(|file| Ok((file.path.clone(), read(&file.path)?))).collect()
}
