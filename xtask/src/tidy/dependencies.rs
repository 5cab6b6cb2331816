//! Every dependency that the workspace declares is one that a member uses.

use super::Violation;

/// `manifests` are paths with their text; the workspace's own is `Cargo.toml`.
pub(super) fn check(manifests: &[(String, String)]) -> Vec<Violation> {
    let Some((_path, root)) = manifests.iter().find(|(path, _text)| path == "Cargo.toml") else {
        return vec![Violation::new("Cargo.toml", "is missing", "restore it")];
    };
    let used: Vec<&str> = manifests
        .iter()
        .filter(|(path, _text)| path != "Cargo.toml")
        .flat_map(|(_path, text)| text.lines().filter_map(inherited))
        .collect();
    declared(root)
        .filter(|name| !used.contains(name))
        .map(|name| Violation::new("Cargo.toml", format!("no crate uses `{name}`"), "remove its line"))
        .collect()
}

/// The names under `[workspace.dependencies]`.
fn declared(root: &str) -> impl Iterator<Item = &str> {
    root.lines()
        .skip_while(|line| line.trim() != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(key)
}

/// The name in `name.workspace = true` or `name = { workspace = true, … }`.
fn inherited(line: &str) -> Option<&str> {
    let key = key(line)?;
    match key.strip_suffix(".workspace") {
        Some(name) => Some(name),
        None => line.replace(' ', "").contains("{workspace=true").then_some(key),
    }
}

fn key(line: &str) -> Option<&str> {
    let (key, _value) = line.split_once('=')?;
    let key = key.trim();
    let is_name = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    is_name.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace.package]\nversion = \"1\"\n\n[workspace.dependencies]\n# why = not a name\n\
                        serde = { version = \"1\" }\nurl = \"2\"\nunused = \"3\"\n\n[profile.dev]\ndebug = false\n";

    #[test]
    fn a_dependency_that_no_member_inherits_is_named() {
        let member = "[dependencies]\nserde.workspace = true\n[dev-dependencies]\n\
                      url = { workspace = true, features = [\"serde\"] }\n";
        let manifests = [("Cargo.toml".into(), ROOT.into()), ("crates/a/Cargo.toml".into(), member.into())];
        let problems: Vec<String> =
            check(&manifests).into_iter().map(|violation| violation.problem).collect();
        assert_eq!(problems, ["no crate uses `unused`"]);
    }
}
