//! Which crate may depend on which: the table of the architecture page, compared with what cargo resolved.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Violation;
use crate::workspace::items;

const PREFIX: &str = "leadtrail-";

/// Our crates, and which of ours each may use outside its tests.
const ARROWS: [(&str, &[&str]); 15] = [
    ("domain", &[]),
    ("app", &["domain"]),
    ("http", &["domain", "app"]),
    ("store-postgres", &["domain", "db-pool"]),
    ("store-sqlite", &["domain", "db-pool"]),
    ("store-memory", &["domain"]),
    ("cache-memory", &["domain"]),
    ("crm-pipedrive", &["domain", "outbound"]),
    ("crm-sandbox", &["domain"]),
    ("enrich", &["domain"]),
    ("archive", &["domain", "outbound"]),
    ("outbound", &[]),
    ("db-pool", &[]),
    ("contract", &["domain", "store-memory", "crm-sandbox"]),
    (
        "server",
        &[
            "domain",
            "app",
            "http",
            "store-postgres",
            "store-sqlite",
            "store-memory",
            "cache-memory",
            "crm-pipedrive",
            "crm-sandbox",
            "enrich",
            "archive",
            "outbound",
            "db-pool",
        ],
    ),
];

/// Crates of others that stay inside the named ones of ours.
const KEPT_INSIDE: [(&str, &[&str]); 9] = [
    ("diesel", &["store-postgres", "store-sqlite"]),
    ("diesel_migrations", &["store-postgres", "store-sqlite"]),
    ("pq-sys", &["store-postgres"]),
    ("libsqlite3-sys", &["store-sqlite"]),
    ("reqwest", &["outbound"]),
    ("actix-web", &["http", "server"]),
    ("tracing-actix-web", &["http", "server"]),
    ("clap", &["server"]),
    ("anyhow", &["server"]),
];

/// What must not be anywhere below `domain`: embedders were promised a crate without a runtime, SQL or HTTP.
const NOT_BELOW_DOMAIN: [&str; 9] = [
    "tokio",
    "actix-web",
    "actix-rt",
    "diesel",
    "reqwest",
    "hyper",
    "futures-executor",
    "mio",
    "tracing-subscriber",
];

/// Holds `cargo metadata`'s answer against the tables.
pub(super) fn check(metadata: &Value) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut unpublished = BTreeSet::new();
    let mut uses: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in items(&metadata["packages"]).filter(|package| package["source"].is_null()) {
        let Some(name) = package["name"].as_str() else { continue };
        let Some(short) = name.strip_prefix(PREFIX) else { continue };
        if package["publish"].as_array().is_some_and(Vec::is_empty) {
            unpublished.insert(short);
        }
        let normal = items(&package["dependencies"]).filter(|dependency| dependency["kind"].is_null());
        uses.insert(short, normal.filter_map(|dependency| dependency["name"].as_str()).collect());
    }

    for (name, dependencies) in &uses {
        let manifest = format!("crates/{name}/Cargo.toml");
        let Some((_name, allowed)) = ARROWS.iter().find(|(known, _allowed)| known == name) else {
            let mend = "give it a row in xtask/src/tidy/arrows.rs and in crates/README.md";
            violations.push(Violation::new(
                manifest,
                format!("crate `{name}` is not in the table of arrows"),
                mend,
            ));
            continue;
        };
        for dependency in dependencies {
            if let Some(ours) = dependency.strip_prefix(PREFIX) {
                if !allowed.contains(&ours) {
                    let mend =
                        "move the code to the side the arrow points to, or change the table and say why";
                    violations.push(Violation::new(&manifest, format!("arrow `{name}` → `{ours}`"), mend));
                }
                if *name == "contract" && unpublished.contains(ours) {
                    let mend = "drop `publish = false` there: others certify their adapters with `contract`";
                    violations.push(Violation::new(&manifest, format!("`{ours}` cannot be published"), mend));
                }
            } else if let Some((_name, homes)) = KEPT_INSIDE.iter().find(|(kept, _homes)| kept == dependency)
                && !homes.contains(name)
            {
                let mend = format!("only {} may use it", homes.join(", "));
                violations.push(Violation::new(&manifest, format!("`{dependency}` in `{name}`"), mend));
            }
        }
    }
    if unpublished.contains("contract") {
        let mend = "drop `publish = false`: others certify their adapters with it";
        violations.push(Violation::new("crates/contract/Cargo.toml", "`contract` cannot be published", mend));
    }
    violations.extend(below_domain(metadata));
    violations
}

/// Walks the resolved graph from `domain` along normal dependencies.
fn below_domain(metadata: &Value) -> Vec<Violation> {
    let names: BTreeMap<&str, &str> = items(&metadata["packages"])
        .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
        .collect();
    let mut below: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in items(&metadata["resolve"]["nodes"]) {
        let Some(id) = node["id"].as_str() else { continue };
        let normal = items(&node["deps"])
            .filter(|dependency| items(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null()));
        below.insert(id, normal.filter_map(|dependency| dependency["pkg"].as_str()).collect());
    }
    let domain = names.iter().find(|(_id, name)| **name == "leadtrail-domain").map(|(id, _name)| *id);
    let mut seen: BTreeSet<&str> = domain.into_iter().collect();
    let mut open: Vec<&str> = seen.iter().copied().collect();
    while let Some(id) = open.pop() {
        for next in below.get(id).into_iter().flatten() {
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    let found: BTreeSet<&str> = seen.iter().filter_map(|id| names.get(id).copied()).collect();
    NOT_BELOW_DOMAIN
        .iter()
        .filter(|name| found.contains(*name))
        .map(|name| {
            let mend = "`cargo tree -p leadtrail-domain -e normal -i` shows what brings it";
            Violation::new("crates/domain/Cargo.toml", format!("`{name}` is below `domain`"), mend)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, normal: &[&str]) -> Value {
        let dependencies: Vec<Value> =
            normal.iter().map(|name| json!({"name": name, "kind": null})).collect();
        json!({"id": name, "name": name, "source": null, "publish": null, "dependencies": dependencies})
    }

    fn problems(metadata: &Value) -> Vec<String> {
        check(metadata).into_iter().map(|violation| violation.problem).collect()
    }

    #[test]
    fn arrows_of_the_table_pass_and_others_are_named() {
        let allowed = json!({"packages": [package("leadtrail-app", &["leadtrail-domain", "tokio"])]});
        assert_eq!(problems(&allowed), Vec::<String>::new());
        let outward = json!({"packages": [package("leadtrail-domain", &["leadtrail-app"])]});
        assert_eq!(problems(&outward), ["arrow `domain` → `app`"]);
        let sideways =
            json!({"packages": [package("leadtrail-store-sqlite", &["leadtrail-store-postgres"])]});
        assert_eq!(problems(&sideways), ["arrow `store-sqlite` → `store-postgres`"]);
    }

    #[test]
    fn dev_dependencies_are_exempt() {
        let mut tested = package("leadtrail-crm-pipedrive", &[]);
        tested["dependencies"] =
            json!([{"name": "reqwest", "kind": "dev"}, {"name": "leadtrail-app", "kind": "dev"}]);
        assert_eq!(problems(&json!({"packages": [tested]})), Vec::<String>::new());
    }

    #[test]
    fn a_library_that_left_its_crate_is_named() {
        let leaked = json!({"packages": [package("leadtrail-app", &["diesel"])]});
        assert_eq!(problems(&leaked), ["`diesel` in `app`"]);
    }

    #[test]
    fn a_crate_without_a_row_is_named() {
        assert_eq!(problems(&json!({"packages": [package("leadtrail-new", &[])]})).len(), 1);
    }

    #[test]
    fn contract_and_what_it_needs_stay_publishable() {
        let mut memory = package("leadtrail-store-memory", &[]);
        memory["publish"] = json!([]);
        let contract = package("leadtrail-contract", &["leadtrail-store-memory"]);
        assert_eq!(
            problems(&json!({"packages": [memory, contract]})),
            ["`store-memory` cannot be published"]
        );
    }

    #[test]
    fn a_runtime_anywhere_below_domain_is_found_but_not_behind_its_tests() {
        let graph = |kind: Value| {
            json!({
                "packages": [
                    package("leadtrail-domain", &[]),
                    {"id": "middle", "name": "middle", "source": "registry"},
                    {"id": "tokio", "name": "tokio", "source": "registry"},
                ],
                "resolve": {"nodes": [
                    {"id": "leadtrail-domain", "deps": [{"pkg": "middle", "dep_kinds": [{"kind": kind}]}]},
                    {"id": "middle", "deps": [{"pkg": "tokio", "dep_kinds": [{"kind": null}]}]},
                ]},
            })
        };
        assert_eq!(problems(&graph(Value::Null)), ["`tokio` is below `domain`"]);
        assert_eq!(problems(&graph(json!("dev"))), Vec::<String>::new());
    }
}
