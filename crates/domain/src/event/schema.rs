//! The JSON Schema of an event. Behind the feature `schema`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::RawEvent;
use crate::click_id;
use crate::id::PixelId;
use crate::signals::AD_ALIASES;

const UTM: [&str; 6] = ["utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "utm_id"];

/// What a sender should send. More is taken: a value of another type counts as absent, and unknown fields are ignored.
impl JsonSchema for RawEvent<'_> {
    fn schema_name() -> Cow<'static, str> {
        "Event".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut fields = Map::new();
        let mut add = |name: &str, schema: Value| fields.insert(name.to_owned(), schema);
        add("pixel_id", generator.subschema_for::<PixelId>().to_value());
        let page = "The whole address of the page, http or https, with its query.";
        add("page_url", json!({"type": "string", "format": "uri", "description": page}));
        for (name, about) in [
            ("referrer_url", "The address of the page before, as the browser tells it."),
            ("page_title", "The page's title."),
            (
                "event_type",
                "`pageview` (where absent), `form_submit`, `identify`, or a name of the sender's own.",
            ),
            ("visitor_cookie", "The visitor's cookie, where the request's own cookies do not carry it."),
            ("language", "The browser's language."),
            ("consent", "`granted` or `denied`: what the visitor answered."),
            (
                "attribution_source",
                "As the tool that this replaces sends it: the `utm_*` and click ids of the body are then those of an \
                 earlier visit, kept as properties `history.*`.",
            ),
        ] {
            add(name, text(about));
        }
        let id = "What names the event; the same id again is the same event. Best a UUIDv7; where absent, one is made.";
        add("event_id", json!({"type": ["string", "number", "null"], "description": id}));
        let at = "When it happened: RFC 3339, or milliseconds since 1970.";
        add("timestamp", json!({"type": ["string", "number", "null"], "description": at}));
        add("value", json!({"type": ["number", "string", "null"], "description": "What it is worth."}));
        let gpc = "Whether the browser says Global Privacy Control; the header `Sec-GPC: 1` says it too.";
        add("gpc", json!({"type": ["boolean", "null"], "description": gpc}));
        let form = "The form's fields, or a text of JSON that holds them. Only e-mail, names and what the pixel lists \
                    are kept.";
        add("form_data", json!({"type": ["object", "string", "null"], "description": form}));
        add("props", json!({"type": ["object", "null"], "description": "Anything else, one level deep."}));
        for (name, about) in
            [("viewport", "The window, in CSS pixels."), ("screen", "The screen, in CSS pixels.")]
        {
            let side = json!({"type": ["number", "null"]});
            let sides = json!({"width": side, "height": side});
            add(name, json!({"type": ["object", "null"], "description": about, "properties": sides}));
        }
        for name in UTM {
            add(name, text("Wins over the parameter of the same name in the page's address."));
        }
        for (name, _aliases) in AD_ALIASES {
            add(name, text("What the ad's tracking template says."));
        }
        for kind in click_id::REGISTRY {
            add(kind.parameter, text(&format!("Click id of {}.", kind.network)));
        }
        json_schema!({
            "type": "object",
            "description": "Something that happened on a page. A value of another type than its field's counts as \
                            absent, texts are cut and cleaned, and unknown fields are ignored.",
            "properties": fields,
            "required": ["pixel_id", "page_url"],
        })
    }
}

fn text(about: &str) -> Value {
    json!({"type": ["string", "null"], "description": about})
}

#[cfg(test)]
mod tests {
    use super::super::raw::SCALARS;
    use super::*;

    #[test]
    fn what_is_described_is_what_is_read() {
        let schema = schemars::schema_for!(RawEvent<'static>);
        let fields = schema.get("properties").and_then(Value::as_object).unwrap();
        for name in SCALARS {
            assert!(fields.contains_key(name), "{name} is read and not described");
        }
        for name in fields.keys() {
            let read = |json: &str| format!("{:?}", serde_json::from_str::<RawEvent<'_>>(json).unwrap());
            for value in ["\"x\"", "{\"width\":1}"] {
                if read(&format!("{{\"{name}\":{value}}}")) != read("{}") {
                    break;
                }
                assert_ne!(value, "{\"width\":1}", "{name} is described and not read");
            }
        }
    }
}
