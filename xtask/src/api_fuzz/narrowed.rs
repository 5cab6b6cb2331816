//! The description as requests are made of it: what only the store knows, and what no schema says, is put in.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// What is in the store, by ids.
pub(super) struct Things {
    pub(super) project: String,
    pub(super) pixel: String,
    pub(super) key: String,
    pub(super) job: String,
    /// The pixel that events are sent to; of another project, which stays as it is.
    pub(super) collecting_pixel: String,
}

/// With ids that exist among those that paths may have, so that something is found; and with few of those values that
/// are read alike, which would be most of the run: click ids, time zones, our fields for the CRM.
pub(super) fn reachable(description: &Value, things: &Things) -> Result<Value> {
    let mut narrowed = description.clone();
    for (path, parameter) in parameters(&mut narrowed)? {
        if parameter["in"] == "path" && parameter["name"] == "id" {
            let ids = if path.starts_with("/api/keys") {
                json!([things.key])
            } else if path.starts_with("/api/sync/jobs") {
                json!([things.job])
            } else if path.contains("pixels/{id}") {
                json!([things.pixel])
            } else {
                // Its slug is changed on the way.
                json!([things.project])
            };
            parameter["schema"] = json!({"anyOf": [{"enum": ids}, parameter["schema"]]});
        }
    }
    let event =
        narrowed.pointer_mut("/components/schemas/Event/properties").context("no schema of an event")?;
    let fields = event.as_object_mut().context("an event has no fields")?;
    fields.retain(|name, field| {
        name == "gclid" || !field["description"].as_str().is_some_and(|about| about.starts_with("Click id"))
    });
    let schemas = &mut narrowed["components"]["schemas"];
    schemas["TimeZone"]["enum"] = json!(["UTC", "Europe/Berlin", "America/Argentina/ComodRivadavia"]);
    let mapping = schemas.pointer_mut("/CrmSettingsPatch/properties/mapping/properties");
    let mapping = mapping.and_then(Value::as_object_mut).context("no schema of a mapping")?;
    mapping.retain(|name, _target| ["utm_source", "gclid"].contains(&name.as_str()));
    Ok(narrowed)
}

/// With values in the place of patterns that allow more than the service takes, so that what is valid is accepted. What
/// is invalid is made of the description without this: of a list of values it would try others that are valid, too.
pub(super) fn acceptable(reachable: &Value, things: &Things) -> Result<Value> {
    let mut narrowed = reachable.clone();
    // Which text is a cursor, only the service knows.
    let digits: Vec<String> = things.project.bytes().map(|byte| format!("{byte:02x}")).collect();
    let cursor = digits.concat();
    for (_path, parameter) in parameters(&mut narrowed)? {
        if parameter["name"] == "cursor" {
            parameter["schema"] = json!({"enum": [cursor]});
        } else if parameter["name"] == "project" {
            parameter["schema"] = json!({"enum": [things.project]});
            // To a key that is bound to none, it is.
            parameter["required"] = json!(true);
        } else if parameter["name"] == "pixel" {
            parameter["schema"] = json!({"enum": [things.pixel]});
        } else if parameter["name"] == "id" {
            parameter["schema"] = parameter["schema"]["anyOf"][0].clone();
        }
    }
    for (place, schema) in [
        ("/Event/properties/pixel_id", json!({"enum": [things.collecting_pixel]})),
        (
            "/Event/properties/page_url",
            json!({"type": "string", "pattern": "^https?://[a-z]{1,20}\\.example/[!-~]{0,40}$"}),
        ),
        // Not every text without forbidden characters is a host name.
        (
            "/HostPattern",
            json!({"enum": ["www.example.com", "*.example.com", "xn--bcher-kva.example", "192.0.2.7", "[::1]"]}),
        ),
        ("/NewKey/properties/project", json!({"enum": [things.project, null]})),
        (
            "/NewKey/properties/expires_at",
            json!({"enum": ["2999-01-01T00:00:00Z", "2999-01-01T00:00:00.5+02:00", null]}),
        ),
    ] {
        let old = narrowed.pointer_mut(&format!("/components/schemas{place}"));
        *old.with_context(|| format!("no schema at {place}"))? = schema;
    }
    Ok(narrowed)
}

/// Every parameter with its path.
fn parameters(description: &mut Value) -> Result<Vec<(String, &mut Value)>> {
    let paths = description["paths"].as_object_mut().context("no paths")?;
    let mut found = Vec::new();
    for (path, item) in paths {
        for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            found.extend(parameters.into_iter().flatten().map(|parameter| (path.clone(), parameter)));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn things() -> Things {
        Things {
            project: "p1".to_owned(),
            pixel: "x1".to_owned(),
            key: "k1".to_owned(),
            job: "j1".to_owned(),
            collecting_pixel: "c1".to_owned(),
        }
    }

    #[test]
    fn ids_and_values_that_exist_are_put_in_and_what_is_read_alike_is_left_out() {
        let id = || json!({"parameters": [{"name": "id", "in": "path", "schema": {"type": "string"}}]});
        let description = json!({
            "paths": {
                "/api/keys/{id}": {"get": id()},
                "/api/projects/pixels/{id}": {"get": id()},
                "/api/projects/{id}/pixels": {"get": id()},
                "/api/keys": {"get": {"parameters": [{"name": "cursor", "in": "query", "schema": {}}]}, "post": {}},
            },
            "components": {"schemas": {
                "Event": {"properties": {
                    "pixel_id": {}, "page_url": {}, "gclid": {"description": "Click id of X."},
                    "other": {"description": "Click id of Y."},
                }},
                "HostPattern": {},
                "TimeZone": {"enum": ["A", "B", "C", "D"]},
                "CrmSettingsPatch": {"properties": {"mapping": {"properties": {"gclid": {}, "other": {}}}}},
                "NewKey": {"properties": {"project": {}, "expires_at": {}}},
            }},
        });
        let reachable = reachable(&description, &things()).unwrap();
        let ids = |path: &str| {
            reachable["paths"][path]["get"]["parameters"][0]["schema"]["anyOf"][0]["enum"].clone()
        };
        assert_eq!(ids("/api/keys/{id}"), json!(["k1"]));
        let schemas = &reachable["components"]["schemas"];
        assert_eq!(schemas["TimeZone"]["enum"].as_array().map(Vec::len), Some(3));
        assert_eq!(
            schemas["CrmSettingsPatch"]["properties"]["mapping"],
            json!({"properties": {"gclid": {}}})
        );
        assert_eq!(ids("/api/projects/pixels/{id}"), json!(["x1"]));
        assert_eq!(ids("/api/projects/{id}/pixels"), json!(["p1"]));
        let acceptable = acceptable(&reachable, &things()).unwrap();
        let event = &acceptable["components"]["schemas"]["Event"]["properties"];
        assert_eq!(event["pixel_id"], json!({"enum": ["c1"]}));
        assert!(event.get("gclid").is_some() && event.get("other").is_none());
        assert_eq!(
            acceptable["paths"]["/api/keys"]["get"]["parameters"][0]["schema"],
            json!({"enum": ["7031"]})
        );
        let id = &acceptable["paths"]["/api/keys/{id}"]["get"]["parameters"][0]["schema"];
        assert_eq!(*id, json!({"enum": ["k1"]}));
        assert!(super::acceptable(&json!({"paths": {}}), &things()).is_err());
    }
}
