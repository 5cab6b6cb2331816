//! Where the workspace lies and what cargo knows of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process;

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// What `cargo metadata` answers.
pub(crate) struct Metadata(Value);

impl Metadata {
    /// With the resolved graph of all dependencies.
    pub(crate) fn resolved() -> Result<Self> {
        Self::load(&["metadata", "--format-version=1", "--locked"])
    }

    /// Members only; needs no index and no network.
    pub(crate) fn members_only() -> Result<Self> {
        Self::load(&["metadata", "--format-version=1", "--no-deps"])
    }

    fn load(arguments: &[&str]) -> Result<Self> {
        let text = process::output(process::cargo().args(arguments))?;
        Ok(Self(serde_json::from_str(&text).context("answer of cargo metadata")?))
    }

    /// The answer as JSON.
    pub(crate) fn json(&self) -> &Value {
        &self.0
    }

    /// Where cargo builds.
    pub(crate) fn target(&self) -> Result<PathBuf> {
        let path = self.0["target_directory"].as_str().context("cargo metadata names no target directory")?;
        Ok(PathBuf::from(path))
    }

    /// Every member's feature of this name, as `package/feature`.
    pub(crate) fn features_named(&self, feature: &str) -> Vec<String> {
        let mut found = Vec::new();
        for package in items(&self.0["packages"]).filter(|package| package["source"].is_null()) {
            if let (Some(name), Some(_)) = (package["name"].as_str(), package["features"].get(feature)) {
                found.push(format!("{name}/{feature}"));
            }
        }
        found
    }

    /// The names of the members' integration tests that `features` (as `package/feature`) make possible.
    pub(crate) fn integration_tests(&self, features: &[String]) -> Vec<String> {
        let mut found = Vec::new();
        for package in items(&self.0["packages"]).filter(|package| package["source"].is_null()) {
            let Some(package_name) = package["name"].as_str() else { continue };
            let enabled = |feature: &Value| {
                feature
                    .as_str()
                    .is_some_and(|feature| features.contains(&format!("{package_name}/{feature}")))
            };
            let tests = items(&package["targets"])
                .filter(|target| items(&target["kind"]).any(|kind| kind == "test"))
                .filter(|target| items(&target["required-features"]).all(enabled));
            found.extend(tests.filter_map(|target| target["name"].as_str().map(str::to_owned)));
        }
        found.sort();
        found.dedup();
        found
    }
}

/// The elements of a JSON list, or none.
pub(crate) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A setting of the developer's environment; empty counts as absent.
#[expect(clippy::disallowed_methods, reason = "xtask has no settings but the environment's")]
pub(crate) fn setting(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Whether a machine watches instead of a person: nothing may be left out then.
pub(crate) fn in_ci() -> bool {
    setting("CI").is_some_and(|value| value != "false" && value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn features_and_tests_are_those_of_members_only() {
        let metadata = Metadata(json!({"packages": [
            {"name": "ours", "source": null, "features": {"live": []}, "targets": [
                {"name": "contract", "kind": ["test"]},
                {"name": "server", "kind": ["test"], "required-features": ["live"]},
                {"name": "ours", "kind": ["lib"]},
            ]},
            {"name": "theirs", "source": "registry", "features": {"live": []},
             "targets": [{"name": "other", "kind": ["test"]}]},
        ]}));
        assert_eq!(metadata.features_named("live"), ["ours/live"]);
        assert_eq!(metadata.integration_tests(&["ours/live".to_owned()]), ["contract", "server"]);
        assert_eq!(metadata.integration_tests(&["others/live".to_owned()]), ["contract"]);
    }
}
