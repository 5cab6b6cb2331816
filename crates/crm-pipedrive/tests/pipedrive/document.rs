//! What the adapter asks, held against what Pipedrive publishes. Opt-in: Pipedrive's document is not part of Leadtrail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use leadtrail_domain::crm::{CrmFieldKind, FieldValue, NewCrmField, Patch, PersonQuery};
use leadtrail_domain::ports::Crm;
use leadtrail_domain::time::Timestamp;
use serde_json::Value;

use crate::fake::{Asked, PipedriveFake, key};

/// Names the file that has Pipedrive's OpenAPI document of version 2, as JSON.
const VARIABLE: &str = "LEADTRAIL_PIPEDRIVE_OPENAPI";
/// A document of fewer paths is a cut, and says nothing of the paths it lacks.
const WHOLE_PATHS_MIN: usize = 20;

#[tokio::test]
async fn every_request_is_one_of_pipedrives_document_where_the_document_is_named() {
    let Some(path) = document_path() else {
        eprintln!("not compared: {VARIABLE} does not name Pipedrive's OpenAPI document");
        return;
    };
    let text = std::fs::read_to_string(&path).expect("the document can be read");
    let document: Value = serde_json::from_str(&text).expect("the document is JSON");
    let asked = everything_asked().await;
    let operations: BTreeSet<_> = asked.iter().map(|asked| (&asked.method, &asked.path)).collect();
    let findings: BTreeSet<String> = asked.iter().flat_map(|asked| findings(&document, asked)).collect();
    eprintln!("compared {} requests of the operations {operations:?}", asked.len());
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn what_a_document_does_not_know_is_found() {
    let document = serde_json::json!({
        "servers": [{"url": "https://api.pipedrive.com/api/v2"}],
        "components": {"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "x-api-token"}}},
        "paths": {"/persons/{id}": {"patch": {
            "security": [{"key": []}],
            "parameters": [
                {"in": "path", "name": "id", "required": true, "schema": {"type": "integer"}},
                {"in": "query", "name": "limit", "schema": {"type": "integer"}},
                {"in": "query", "name": "sort", "required": true, "schema": {"type": "string", "enum": ["asc"]}},
            ],
            "requestBody": {"content": {"application/json": {"schema": {"type": "object", "required": ["name"],
                "properties": {"name": {"type": "string", "maxLength": 3}, "fields": {"type": "object"}}}}}},
        }}},
    });
    let asked = |method: &str, query: &[(&str, &str)], body: Value| Asked {
        method: method.to_owned(),
        path: "/persons/{id}".to_owned(),
        query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body,
    };
    let good =
        asked("patch", &[("limit", "5"), ("sort", "asc")], serde_json::json!({"name": "Jo", "fields": {}}));
    assert_eq!(findings(&document, &good), [""; 0]);
    for (bad, found) in [
        (asked("put", &[], Value::Null), 1),
        (asked("patch", &[("limit", "five"), ("sort", "asc")], serde_json::json!({"name": "Jo"})), 1),
        (asked("patch", &[("sort", "up")], serde_json::json!({"name": "Jo"})), 1),
        (asked("patch", &[], serde_json::json!({"name": "Jo"})), 1),
        (asked("patch", &[("sort", "asc"), ("term", "x")], serde_json::json!({"name": "Jo"})), 1),
        (asked("patch", &[("sort", "asc")], serde_json::json!({"name": "John", "id": 1})), 2),
        (asked("patch", &[("sort", "asc")], serde_json::json!({"fields": []})), 2),
    ] {
        assert_eq!(findings(&document, &bad).len(), found, "{bad:?}");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "which document to compare with is whoever runs the tests' matter"
)]
fn document_path() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Every request the adapter can make, in all its forms.
async fn everything_asked() -> Vec<Asked> {
    let fake = PipedriveFake::start().await;
    let jane = fake.add_jane();
    let crm = fake.crm();
    let email = "jane@example.com".parse().expect("an e-mail");
    let by_email = PersonQuery::Email { email, changed_since: Timestamp::EPOCH };
    let told = Patch::from([
        (key("UTM Source"), FieldValue::Text("news".to_owned())),
        (key("Lead Count"), FieldValue::Number(2.5)),
        (key("First Seen On"), FieldValue::Date("2026-11-22".parse().expect("a date"))),
        (key("Size"), FieldValue::Choice("Large".to_owned())),
        (key("UTM Medium"), FieldValue::Null),
    ]);
    crm.list_fields().await.expect("two pages of fields");
    crm.find(&by_email).await.expect("a search");
    fake.lag_searches(1);
    crm.find(&by_email).await.expect("a search, and the persons changed lately");
    fake.add_person("Joan", "Doe", &["jane@example.com".to_owned()], Timestamp::EPOCH);
    crm.find(&by_email).await.expect("a search, and persons by their ids");
    crm.find(&PersonQuery::Name("Jane Doe".to_owned())).await.expect("a search by name");
    crm.read(&jane, &told.keys().cloned().collect()).await.expect("a person");
    crm.update(&jane, &told).await.expect("an update");
    for kind in [
        CrmFieldKind::Text { chars_max: 255 },
        CrmFieldKind::Text { chars_max: 2_000 },
        CrmFieldKind::Number,
        CrmFieldKind::Date,
    ] {
        crm.create_field(&NewCrmField { name: "UTM Term".to_owned(), kind }).await.expect("a field");
    }
    fake.asked()
}

/// Where a request departs from the document.
fn findings(document: &Value, asked: &Asked) -> Vec<String> {
    let named = format!("{} {}", asked.method, asked.path);
    let paths = document["paths"].as_object().expect("a document has paths");
    let Some(path) = paths.get(&asked.path) else {
        if paths.len() < WHOLE_PATHS_MIN {
            eprintln!("not compared: {named}, of which this cut of the document says nothing");
            return Vec::new();
        }
        return vec![format!("{named}: no such path")];
    };
    let Some(operation) = path.get(&asked.method) else { return vec![format!("{named}: no such method")] };
    let mut findings = Vec::new();
    let mut find = |what: String| findings.push(format!("{named}: {what}"));
    if !document["servers"].as_array().is_some_and(|servers| {
        servers.iter().any(|server| server["url"].as_str().is_some_and(|url| url.ends_with("/api/v2")))
    }) {
        find("the document is not of version 2".to_owned());
    }
    if !takes_token_header(document, operation) {
        find("no token is taken in the header x-api-token".to_owned());
    }
    let parameters: BTreeMap<&str, &Value> = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|parameter| parameter["in"] == "query")
        .filter_map(|parameter| Some((parameter["name"].as_str()?, parameter)))
        .collect();
    for (name, value) in &asked.query {
        match parameters.get(name.as_str()) {
            None => find(format!("no such parameter {name}")),
            Some(parameter) if !takes_text(&parameter["schema"], value) => {
                find(format!("{name}={value} does not fit {}", parameter["schema"]));
            }
            Some(_) => {}
        }
    }
    for (name, parameter) in &parameters {
        if parameter["required"] == true && !asked.query.contains_key(*name) {
            find(format!("without {name}, which is required"));
        }
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    match (body.is_null(), asked.body.is_null()) {
        (true, true) => {}
        (true, false) => find("no body is taken".to_owned()),
        (false, true) => find("without a body".to_owned()),
        (false, false) => {
            for departure in departures(body, &asked.body, "body") {
                find(departure);
            }
        }
    }
    findings
}

fn takes_token_header(document: &Value, operation: &Value) -> bool {
    let schemes = operation["security"].as_array().into_iter().flatten().filter_map(Value::as_object);
    schemes.flat_map(|schemes| schemes.keys()).any(|name| {
        let scheme = &document["components"]["securitySchemes"][name];
        scheme["type"] == "apiKey" && scheme["in"] == "header" && scheme["name"] == "x-api-token"
    })
}

fn takes_text(schema: &Value, text: &str) -> bool {
    let value = match schema["type"].as_str() {
        Some("integer") => text.parse::<i64>().map(Value::from).ok(),
        Some("boolean") => text.parse::<bool>().map(Value::from).ok(),
        Some(_) | None => Some(Value::from(text)),
    };
    value.is_some_and(|value| departures(schema, &value, "value").is_empty())
}

/// Where a value departs from a schema, as far as the document's schemas go.
fn departures(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let has_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some(_) | None => true,
    };
    if !has_type {
        return vec![format!("{at} is no {}", schema["type"])];
    }
    let mut departures_found = Vec::new();
    if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
        departures_found.push(format!("{at} is none of {}", schema["enum"]));
    }
    if let Some(text) = value.as_str() {
        let chars = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
        let is_short = schema["minLength"].as_u64().is_some_and(|min| chars < min);
        let is_long = schema["maxLength"].as_u64().is_some_and(|max| chars > max);
        if is_short || is_long {
            departures_found.push(format!("{at} has {chars} characters"));
        }
    }
    if let (Some(members), Some(properties)) = (value.as_object(), schema["properties"].as_object()) {
        for (name, member) in members {
            let at = format!("{at}.{name}");
            match properties.get(name) {
                Some(schema) => departures_found.extend(departures(schema, member, &at)),
                None if schema["additionalProperties"] == true => {}
                None => departures_found.push(format!("{at} is unknown")),
            }
        }
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let missing = required.filter(|name| !members.contains_key(*name));
        departures_found.extend(missing.map(|name| format!("{at}.{name} is required")));
    }
    departures_found
}
