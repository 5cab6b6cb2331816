//! JSON Schemas of what is read from texts: they say what the parsers take, so that who keeps to a schema is not
//! refused. Behind the feature `schema`.

use std::borrow::Cow;

use chrono_tz::TZ_VARIANTS;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::conversion::{
    CONVERSION_RULES_MAX, ConversionName, ConversionRule, NAME_CHARS_MAX, PAGE_PATTERN_CHARS_MAX, PagePattern,
};
use crate::crm::FieldName;
use crate::event::EventKind;
use crate::id::{PixelId, Slug, VisitorCookie};
use crate::sync::fields;
use crate::time::{Span, Timestamp};
use crate::web_url::HostPattern;

macro_rules! texts {
    ($($name:ident: $schema:expr;)+) => {$(
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )+};
}

texts! {
    PixelId: json_schema!({
        "type": "string",
        "description": "The public name of a pixel, as it stands in the pages it counts.",
        "pattern": "^[A-Za-z0-9_-]{1,64}$",
        "examples": ["px_0123456789abcdef"],
    });
    VisitorCookie: json_schema!({
        "type": "string",
        "description": "The value of the visitor's cookie.",
        "pattern": "^[A-Za-z0-9_-]{8,64}$",
    });
    Slug: json_schema!({
        "type": "string",
        "description": "A short name.",
        "pattern": "^[A-Za-z0-9_-]{1,64}$",
        "examples": ["acme"],
    });
    Timestamp: json_schema!({
        "type": "string",
        "format": "date-time",
        "description": "An instant; any offset is read, UTC with microseconds is written.",
        "examples": ["2026-11-23T08:15:00.000000Z"],
    });
    Span: json_schema!({
        "type": "string",
        "description": "A length of time, at most ten years: whole numbers with the units d, h, m, s and ms.",
        "pattern": SPAN,
        "minLength": 2,
        "examples": ["7m", "1h30m", "2d"],
    });
    HostPattern: json_schema!({
        "type": "string",
        "description": "A host name without scheme, port or path, or `*.` and a host name for all below it; an \
                        internationalised name is kept as its punycode.",
        "pattern": HOST_PATTERN,
        "examples": ["www.example.com", "*.example.com"],
    });
    ConversionName: json_schema!({
        "type": "string",
        "description": "The name of a kind of conversion.",
        "pattern": PLAIN,
        "maxLength": NAME_CHARS_MAX,
        "examples": ["Sign-up"],
    });
    EventKind: json_schema!({
        "type": "string",
        "description": "The name of an event: letters and digits (of any script), `_`, `-`, `.` and spaces.",
        "pattern": "^[A-Za-z0-9_.-]([A-Za-z0-9_. -]{0,62}[A-Za-z0-9_.-])?$",
        "examples": ["signup"],
    });
    PagePattern: json_schema!({
        "type": "string",
        "description": "A path, on every host or on the one before it: `*` stands for any text without a slash, `**` for \
                        any text, also none. Query, fragment and a slash at the end do not count.",
        "pattern": PAGE_PATTERN,
        "maxLength": PAGE_PATTERN_CHARS_MAX,
        "examples": ["/thanks", "/order/**", "shop.example.com/order/*/done"],
    });
    FieldName: json_schema!({
        "type": "string",
        "description": "One of our fields.",
        "enum": fields::all().map(|spec| spec.name).collect::<Vec<_>>(),
    });
    TimeZone: json_schema!({
        "type": "string",
        "description": "A name of the IANA time zone database.",
        "enum": TZ_VARIANTS.iter().map(|zone| zone.name()).collect::<Vec<_>>(),
    });
}

/// One count of one unit, or each unit once, largest first, in the form that is written.
const SPAN: &str = "^([0-9]{1,8}(ms|s)|[0-9]{1,6}m|[0-9]{1,4}h|\
                    (([0-9]{1,3}|[12][0-9]{3}|3[0-5][0-9]{2}|36[0-4][0-9]|365[0-2])d)?\
                    ((1?[0-9]|2[0-3])h)?([1-5]?[0-9]m)?([1-5]?[0-9]s)?([0-9]{1,3}ms)?|3653d)$";

/// As [`SPAN`] has it, a day at least.
const DAYS: &str = "^(([1-9][0-9]{0,2}|[12][0-9]{3}|3[0-5][0-9]{2}|36[0-4][0-9]|365[0-2])d\
                    ((1?[0-9]|2[0-3])h)?([1-5]?[0-9]m)?([1-5]?[0-9]s)?([0-9]{1,3}ms)?|3653d)$";

/// What is in no host name is excluded; which of the others are host names, no pattern says.
const HOST_PATTERN: &str = "^\\s*(\\*\\.)?[^\\u0000-\\u0020\"#/:<>?@\\\\^`{|}*\\u007f]+\\s*$|^\\s*(\\*\\.)?\\[[0-9A-Fa-f:.]+\\]\\s*$";

const PAGE_PATTERN: &str = "^((\\*\\.)?([a-z]([a-z0-9-]{0,30}[a-z0-9])?\\.)+[a-z]{2,20})?\
                            /([^/?#\\u0000-\\u0020\\u007f-\\u009f][^?#\\u0000-\\u001f\\u007f-\\u009f]*)?$";

/// The name of a time zone.
pub(crate) struct TimeZone;

/// Texts without control characters that are neither empty nor padded with white space.
const PLAIN: &str = "^[^\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]\
                     ([^\\u0000-\\u001f\\u007f-\\u009f]*\
                     [^\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000])?$";

/// Names of a form's fields, as [`PixelSettings`](crate::project::PixelSettings) has them.
pub(crate) fn form_fields(_generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 20,
        "items": {"type": "string", "pattern": PLAIN, "maxLength": 100},
    })
}

/// Kinds of conversion by their names, as [`ProjectSettings`](crate::project::ProjectSettings) has them.
pub(crate) fn conversions(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "What counts as a conversion, by its name: named events, pages, or named events on pages.",
        "maxProperties": CONVERSION_RULES_MAX,
        "propertyNames": generator.subschema_for::<ConversionName>(),
        "additionalProperties": generator.subschema_for::<ConversionRule>(),
        "examples": [{"Sign-up": {"event": "signup", "value": 20.0}, "Thanks": {"page": "/thanks/**"}}],
    })
}

/// That a [`ConversionRule`] counts not just every page view.
pub(crate) fn bounded(schema: &mut Schema) {
    let on_pages = serde_json::json!({"required": ["page"], "properties": {"page": {"type": "string"}}});
    let event = serde_json::json!({"type": "string", "not": {"const": "pageview"}});
    let of_events = serde_json::json!({"required": ["event"], "properties": {"event": event}});
    schema.insert("anyOf".to_owned(), serde_json::json!([on_pages, of_events]));
}

/// A lookback window, as [`ModelSettings`](crate::model::ModelSettings) has it.
pub(crate) fn lookback(_generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": DAYS, "examples": ["30d", "90d"]})
}

/// A half-life, as [`ModelSettings`](crate::model::ModelSettings) has it: no length of time is all zeroes.
pub(crate) fn half_life(_generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": SPAN,
        "minLength": 2,
        "allOf": [{"pattern": "[1-9]"}],
        "examples": ["7d", "12h"],
    })
}

/// The name or key of a CRM's field.
pub(crate) fn crm_field(_generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "null"], "pattern": PLAIN, "maxLength": 200})
}
