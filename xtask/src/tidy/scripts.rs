//! That the built scripts of the pixel are what their sources say, and small enough.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::Violation;
use crate::pixel::{FOLDER, Script};
use crate::workspace;

const MEND: &str = "run `cargo xtask pixel` and commit what it writes";

/// A script as it lies in the repository.
pub(super) struct Built {
    name: &'static str,
    source: Vec<u8>,
    /// What the source's hash was when it was built.
    recorded: String,
    minified: Vec<u8>,
    brotli: Vec<u8>,
    gzip: Vec<u8>,
}

impl Built {
    /// # Errors
    /// A file is missing.
    pub(super) fn read(name: &'static str) -> Result<Self> {
        let folder = workspace::root().join(FOLDER);
        let read = |path: String| {
            std::fs::read(folder.join(&path)).with_context(|| format!("{FOLDER}/{path}; {MEND}"))
        };
        let recorded: serde_json::Value = serde_json::from_slice(&read("built/sources.json".to_owned())?)?;
        Ok(Self {
            name,
            source: read(name.to_owned())?,
            recorded: recorded["sources"][name].as_str().unwrap_or_default().to_owned(),
            minified: read(format!("built/{name}"))?,
            brotli: read(format!("built/{name}.br"))?,
            gzip: read(format!("built/{name}.gz"))?,
        })
    }
}

/// Checks one script against its gates.
pub(super) fn check(script: &Script, built: &Built) -> Vec<Violation> {
    let path = format!("{FOLDER}/built/{}", built.name);
    let mut violations = Vec::new();
    let source = format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(&built.source)));
    if source != built.recorded {
        violations.push(Violation::new(&path, "made of another source", MEND));
    }
    let forms = [
        ("br", &built.brotli, unbrotli(&built.brotli), Some(script.brotli_max)),
        ("gz", &built.gzip, ungzip(&built.gzip), script.gzip_max),
    ];
    for (suffix, packed, unpacked, bytes_max) in forms {
        let path = format!("{path}.{suffix}");
        if let Some(bytes_max) = bytes_max
            && packed.len() > bytes_max
        {
            let problem = format!("{} bytes, {bytes_max} at most", packed.len());
            violations.push(Violation::new(&path, problem, "say it shorter, or let px-plus.js do it"));
        }
        if unpacked.ok().as_ref() != Some(&built.minified) {
            violations.push(Violation::new(&path, "does not unpack to the script beside it", MEND));
        }
    }
    violations
}

fn unbrotli(packed: &[u8]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    brotli_decompressor::BrotliDecompress(&mut &*packed, &mut text)?;
    Ok(text)
}

fn ungzip(packed: &[u8]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut decoder = flate2::bufread::GzDecoder::new(packed);
    decoder.read_to_end(&mut text)?;
    ensure!(decoder.into_inner().is_empty(), "there is more behind it");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixel::SCRIPTS;

    fn problems(change: impl FnOnce(&mut Built)) -> Vec<String> {
        let script = &SCRIPTS[0];
        let mut built = Built::read(script.name).unwrap();
        change(&mut built);
        check(script, &built).into_iter().map(|violation| violation.to_string()).collect()
    }

    #[test]
    fn what_is_committed_is_in_order() {
        for script in &SCRIPTS {
            assert_eq!(check(script, &Built::read(script.name).unwrap()), []);
        }
    }

    #[test]
    fn a_changed_source_is_seen() {
        let problems = problems(|built| built.source.push(b'\n'));
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("made of another source"), "{problems:?}");
    }

    #[test]
    fn what_does_not_unpack_to_the_script_is_seen() {
        let changed = problems(|built| built.minified.push(b';'));
        assert!(changed.iter().all(|problem| problem.contains("does not unpack")), "{changed:?}");
        assert_eq!(changed.len(), 2);
        assert_eq!(problems(|built| built.brotli.truncate(9)).len(), 1);
        assert_eq!(problems(|built| built.gzip.push(0)).len(), 1);
    }

    #[test]
    fn a_script_above_its_gate_is_seen() {
        let built = Built::read("pixel.js").unwrap();
        let script = Script {
            name: "pixel.js",
            brotli_max: built.brotli.len() - 1,
            gzip_max: Some(built.gzip.len() - 1),
        };
        let problems = check(&script, &built);
        assert_eq!(problems.len(), 2);
        assert!(problems[0].to_string().contains("at most"), "{problems:?}");
    }
}
