//! Where files lie, how large they are, and how modules are called.

use std::collections::BTreeSet;

use super::{File, Violation};

/// What lies at the top level; all else has a folder.
const TOP_LEVEL: [&str; 20] = [
    "Cargo.toml",
    "crates",
    "migrations",
    "static",
    "deploy",
    "xtask",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    // What tools insist on.
    "Cargo.lock",
    ".cargo",
    ".ci",
    ".config",
    ".gitignore",
    ".gitattributes",
    "clippy.toml",
    "deny.toml",
    "rustfmt.toml",
    "rust-toolchain.toml",
];

/// Bytes. What is larger is data, and belongs into a data set with a name, or is generated.
const FILE_BYTES_MAX: u64 = 400 * 1024;

/// The lock file grows with the dependencies.
const MAY_BE_LARGER: [&str; 1] = ["Cargo.lock"];

/// Folders that are made, not written.
const NEVER_TRACKED: [&str; 2] = ["target", "node_modules"];

/// Modules that say nothing of what is in them; `mod.rs` hides its name from the editor's tabs.
const FORBIDDEN_MODULES: [&str; 9] =
    ["mod", "util", "utils", "common", "helper", "helpers", "misc", "types", "constants"];

/// Checks every file's place.
pub(super) fn check(files: &[File]) -> Vec<Violation> {
    let mut violations = BTreeSet::new();
    for File { path, len } in files {
        let top = path.split('/').next().unwrap_or(path);
        if !TOP_LEVEL.contains(&top) {
            let mend = "the top level is settled: move it into one of its folders";
            violations.insert(Violation::new(top, "not one of the top-level entries", mend));
        }
        if let Some(folder) = NEVER_TRACKED.iter().find(|folder| path.split('/').any(|part| part == **folder))
        {
            violations.insert(Violation::new(
                path,
                format!("in a `{folder}` folder"),
                "add it to .gitignore",
            ));
        }
        if *len > FILE_BYTES_MAX && !MAY_BE_LARGER.contains(&path.as_str()) {
            let problem = format!("{} KiB, more than {}", len / 1024, FILE_BYTES_MAX / 1024);
            violations.insert(Violation::new(path, problem, "make it smaller, or generate it"));
        }
        if let Some(name) = module_names(path).find(|name| FORBIDDEN_MODULES.contains(name)) {
            let mend = "name it after what is in it (`foo.rs` beside `foo/`, never `foo/mod.rs`)";
            violations.insert(Violation::new(path, format!("a module called `{name}`"), mend));
        }
    }
    violations.into_iter().collect()
}

/// The names of the modules that a Rust file is, or lies in.
fn module_names(path: &str) -> impl Iterator<Item = &str> {
    path.strip_suffix(".rs").into_iter().flat_map(|path| path.split('/')).skip(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, len: u64) -> Vec<String> {
        let files = [File { path: path.to_owned(), len }];
        check(&files).into_iter().map(|violation| violation.problem).collect()
    }

    #[test]
    fn files_in_their_place_pass() {
        for path in ["README.md", "crates/domain/src/event/parse.rs", "static/demo/index.html", ".ci/run"] {
            assert_eq!(problems(path, 1000), Vec::<String>::new(), "{path}");
        }
    }

    #[test]
    fn what_is_out_of_place_is_named() {
        assert_eq!(problems("docs/guide.md", 1), ["not one of the top-level entries"]);
        assert_eq!(problems("crates/app/target/debug/x", 1), ["in a `target` folder"]);
        assert_eq!(problems("static/large.js", 500 * 1024), ["500 KiB, more than 400"]);
        assert_eq!(problems("Cargo.lock", 500 * 1024), Vec::<String>::new());
    }

    #[test]
    fn modules_that_say_nothing_are_named_whether_file_or_folder() {
        assert_eq!(problems("crates/app/src/util.rs", 1), ["a module called `util`"]);
        assert_eq!(problems("crates/app/src/ingest/mod.rs", 1), ["a module called `mod`"]);
        assert_eq!(problems("crates/app/tests/common/server.rs", 1), ["a module called `common`"]);
        assert_eq!(problems("crates/app/src/module.rs", 1), Vec::<String>::new());
    }
}
