use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::json;

use crate::output::{self, Format};
use crate::settings::{Layers, Settings};

/// Prints every setting with its source, then whether they are valid.
pub(super) fn run(layers: &Layers, json: bool) -> anyhow::Result<ExitCode> {
    let problem = Settings::from_layers(layers).err().map(|errors| errors.to_string());
    let values: BTreeMap<&str, serde_json::Value> = layers
        .keys()
        .map(|key| (key, json!({ "value": layers.shown(key), "source": layers.origin(key) })))
        .collect();
    output::result(Format::of(json), &json!({ "settings": values, "problem": problem }), || {
        let width = layers.keys().map(str::len).max().unwrap_or(0);
        let mut lines: Vec<String> = layers
            .keys()
            .map(|key| format!("{key:width$} = {}  ({})", layers.shown(key), layers.origin(key)))
            .collect();
        lines.push(problem.clone().unwrap_or_else(|| "the settings are valid".to_owned()));
        lines.join("\n")
    })?;
    Ok(if problem.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
