//! A message as it was sent: shape only, nothing judged. Wrong types become absent values, unknown fields are skipped;
//! only what is no JSON object, or names a field twice, is refused here.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{EventKind, form};
use crate::signals::{self, Recognised};

/// How many form fields, properties or `utm_*` parameters beyond the known ones of one message are read; further ones
/// are ignored.
const ENTRIES_MAX: usize = 200;

/// A message as it was sent, borrowing from its text. Made from JSON (`Deserialize`) or from a query
/// ([`from_query_pairs`](Self::from_query_pairs)), judged by [`Event::parse`](super::Event::parse).
#[derive(Clone, Debug, Default)]
pub struct RawEvent<'a> {
    scalars: [Option<Scalar<'a>>; SCALARS.len()],
    pub(super) form: Option<RawForm<'a>>,
    pub(super) viewport: Option<RawSize>,
    pub(super) screen: Option<RawSize>,
    pub(super) props: Option<Vec<(Cow<'a, str>, Scalar<'a>)>>,
    /// The fields that are signals.
    pub(super) parameters: Vec<(Cow<'a, str>, Scalar<'a>)>,
}

/// The fields that hold one value.
pub(super) const SCALARS: [&str; 13] = [
    "pixel_id",
    "visitor_cookie",
    "event_id",
    "page_url",
    "referrer_url",
    "page_title",
    "timestamp",
    "event_type",
    "value",
    "language",
    "consent",
    "gpc",
    "attribution_source",
];

impl<'a> RawEvent<'a> {
    /// The message that a query's decoded parameters are; the first of repeated names counts.
    pub fn from_query_pairs(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Self {
        let mut raw = Self::default();
        for (name, value) in pairs {
            if let Some(index) = SCALARS.iter().position(|field| *field == name) {
                raw.scalars[index].get_or_insert(Scalar::Text(value));
            } else if name == "form_data" {
                raw.form.get_or_insert(RawForm::Text(value));
            } else if raw.has_room_for(&name) {
                raw.parameters.push((name, Scalar::Text(value)));
            }
        }
        raw
    }

    /// The pixel it names.
    pub fn pixel_id(&self) -> Option<&str> {
        self.text("pixel_id")
    }

    /// The visitor's cookie it names.
    pub fn visitor_cookie(&self) -> Option<&str> {
        self.text("visitor_cookie")
    }

    /// Whether it names a page.
    pub fn has_page_url(&self) -> bool {
        self.text("page_url").is_some_and(|text| !text.is_empty())
    }

    /// Whether it may be a submitted form: it says so, or carries a form's fields. What it is, parsing tells.
    pub fn may_submit(&self) -> bool {
        let has_fields = match &self.form {
            Some(RawForm::Fields(fields)) => !fields.is_empty(),
            Some(RawForm::Text(text)) => !text.trim().is_empty(),
            Some(RawForm::Other) | None => false,
        };
        has_fields || self.text("event_type").and_then(EventKind::parse) == Some(EventKind::FormSubmit)
    }

    /// Names the page.
    pub fn set_page_url(&mut self, url: impl Into<Cow<'a, str>>) {
        if let Some(index) = SCALARS.iter().position(|field| *field == "page_url") {
            self.scalars[index] = Some(Scalar::Text(url.into()));
        }
    }

    /// Whether a parameter is read: every known signal, and a bounded number of other `utm_*`.
    fn has_room_for(&self, name: &str) -> bool {
        match signals::recognise(name) {
            Recognised::Known => true,
            Recognised::OtherUtm => self.parameters.len() < ENTRIES_MAX,
            Recognised::Not => false,
        }
    }

    pub(super) fn scalar(&self, field: &'static str) -> &Scalar<'a> {
        let index = SCALARS.iter().position(|name| *name == field);
        index.and_then(|index| self.scalars[index].as_ref()).unwrap_or(&Scalar::Absent)
    }

    pub(super) fn text(&self, field: &'static str) -> Option<&str> {
        self.scalar(field).as_str()
    }
}

/// One value of JSON that is neither list nor object.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Scalar<'a> {
    /// Nothing, `null`, or a list or object where none belongs.
    #[default]
    Absent,
    /// A text.
    Text(Cow<'a, str>),
    /// A whole number, exact: ids are sent as numbers, too.
    Integer(i128),
    /// Any other number.
    Number(f64),
    /// True or false.
    Bool(bool),
}

impl Scalar<'_> {
    /// The text, where it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::Integer(_) | Self::Number(_) | Self::Bool(_) => None,
        }
    }

    /// Whether it says yes: `true`, 1, or a text of either.
    pub(super) fn is_yes(&self) -> bool {
        match self {
            Self::Text(text) => matches!(text.trim(), "1" | "true"),
            Self::Integer(number) => *number == 1,
            Self::Bool(yes) => *yes,
            Self::Number(_) | Self::Absent => false,
        }
    }

    /// The number, where it is one or a text that shows one; finite.
    pub(super) fn to_number(&self) -> Option<f64> {
        let number = match self {
            Self::Text(text) => text.trim().parse().ok(),
            #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "asked for as a double")]
            Self::Integer(number) => Some(*number as f64),
            Self::Number(number) => Some(*number),
            Self::Absent | Self::Bool(_) => None,
        };
        number.filter(|number| number.is_finite())
    }

    /// The text, or a number as text.
    pub(super) fn to_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Integer(number) => Some(Cow::Owned(number.to_string())),
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
            Self::Absent | Self::Bool(_) => None,
        }
    }
}

/// A form's fields as sent.
#[derive(Clone, PartialEq, Debug)]
pub enum RawForm<'a> {
    /// An object.
    Fields(Vec<(Cow<'a, str>, Scalar<'a>)>),
    /// A text that may hold one.
    Text(Cow<'a, str>),
    /// Something else.
    Other,
}

/// A width and height as sent.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct RawSize {
    pub(super) width: Option<f64>,
    pub(super) height: Option<f64>,
}

impl<'de> Deserialize<'de> for RawEvent<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = RawEvent<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event as a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<RawEvent<'de>, M::Error> {
        let mut raw = RawEvent::default();
        while let Some(Name(name)) = map.next_key()? {
            if let Some(index) = SCALARS.iter().position(|field| *field == name) {
                once(&mut raw.scalars[index], SCALARS[index], map.next_value()?)?;
                continue;
            }
            match &*name {
                "form_data" => once(&mut raw.form, "form_data", map.next_value()?)?,
                "viewport" => once(&mut raw.viewport, "viewport", map.next_value()?)?,
                "screen" => once(&mut raw.screen, "screen", map.next_value()?)?,
                "props" => {
                    let form: RawForm<'de> = map.next_value()?;
                    let entries = match form {
                        RawForm::Fields(entries) => entries,
                        RawForm::Text(_) | RawForm::Other => Vec::new(),
                    };
                    once(&mut raw.props, "props", entries)?;
                }
                _ if raw.has_room_for(&name) => {
                    let value: Scalar<'de> = map.next_value()?;
                    if raw.parameters.iter().any(|(known, _)| *known == name) {
                        return Err(de::Error::custom(format_args!("duplicate field `{name}`")));
                    }
                    raw.parameters.push((name, value));
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(raw)
    }
}

fn once<T, E: de::Error>(slot: &mut Option<T>, field: &'static str, value: T) -> Result<(), E> {
    if slot.replace(value).is_some() { Err(E::duplicate_field(field)) } else { Ok(()) }
}

struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Integer(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Absent)
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
        skip_map(map).map(|()| Scalar::Absent)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, seq: S) -> Result<Self::Value, S::Error> {
        skip_seq(seq).map(|()| Scalar::Absent)
    }
}

impl<'de> Deserialize<'de> for RawForm<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FormVisitor)
    }
}

struct FormVisitor;

impl<'de> Visitor<'de> for FormVisitor {
    type Value = RawForm<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of fields, or a text that holds one")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut entries: Vec<(Cow<'de, str>, Scalar<'de>)> = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            let value: Scalar<'de> = map.next_value()?;
            if entries.iter().any(|(known, _)| *known == name) {
                return Err(de::Error::custom("duplicate field in an object"));
            }
            if entries.len() < ENTRIES_MAX || form::is_allowed(&name) {
                entries.push((name, value));
            }
        }
        Ok(RawForm::Fields(entries))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(RawForm::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(RawForm::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(RawForm::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(RawForm::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(RawForm::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(RawForm::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(RawForm::Other)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, seq: S) -> Result<Self::Value, S::Error> {
        skip_seq(seq).map(|()| RawForm::Other)
    }
}

impl<'de> Deserialize<'de> for RawSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let RawForm::Fields(entries) = RawForm::deserialize(deserializer)? else {
            return Ok(Self::default());
        };
        let side = |name: &str| {
            entries.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.to_number())
        };
        Ok(Self { width: side("width"), height: side("height") })
    }
}

fn skip_map<'de, M: MapAccess<'de>>(mut map: M) -> Result<(), M::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

fn skip_seq<'de, S: SeqAccess<'de>>(mut seq: S) -> Result<(), S::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Reads a form out of a text, once: a text inside the text is not read again.
pub(super) fn form_in(text: &str) -> Option<Vec<(Cow<'_, str>, Scalar<'_>)>> {
    let mut json = serde_json::Deserializer::from_str(text);
    match de::Deserializer::deserialize_any(&mut json, FormVisitor) {
        Ok(RawForm::Fields(entries)) => Some(entries),
        Ok(RawForm::Text(_) | RawForm::Other) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<RawEvent<'_>, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn wrong_types_become_absent_and_unknown_fields_are_skipped() {
        let raw = read(r#"{"pixel_id":["p"],"page_title":{"a":[1,{"b":2}]},"viewport":7,"form_data":[1],"nobody":{"knows":[1]},"utm_source":12}"#).unwrap();
        assert_eq!(raw.pixel_id(), None);
        assert_eq!(raw.scalar("page_title"), &Scalar::Absent);
        assert_eq!(raw.viewport, Some(RawSize::default()));
        assert_eq!(raw.form, Some(RawForm::Other));
        assert!(
            raw.parameters.iter().any(|(name, value)| name == "utm_source" && *value == Scalar::Integer(12))
        );
    }

    #[test]
    fn what_says_so_or_carries_fields_may_be_a_submitted_form() {
        for (json, may_submit) in [
            (r#"{"event_type":"form_submit"}"#, true),
            (r#"{"event_type":" form_submission "}"#, true),
            (r#"{"form_data":{"email":"a@x.example"}}"#, true),
            (r#"{"event_type":"pageview","form_data":"{\"email\":\"a@x.example\"}"}"#, true),
            (r#"{"event_type":"pageview"}"#, false),
            (r#"{"form_data":{}}"#, false),
            (r#"{"form_data":" "}"#, false),
            (r#"{"form_data":[1]}"#, false),
            ("{}", false),
        ] {
            assert_eq!(read(json).unwrap().may_submit(), may_submit, "{json}");
        }
    }

    #[test]
    fn a_field_named_twice_is_refused() {
        for json in [
            r#"{"pixel_id":"a","pixel_id":"b"}"#,
            r#"{"utm_source":null,"utm_source":"x"}"#,
            r#"{"form_data":{"a":1,"a":2}}"#,
            r#"{"viewport":{},"viewport":{}}"#,
        ] {
            assert!(read(json).unwrap_err().to_string().contains("duplicate field"), "{json}");
        }
    }

    #[test]
    fn a_whole_number_is_read_exactly() {
        let raw = read(r#"{"event_id":12345678901234567891,"gclid":9007199254740993}"#).unwrap();
        assert_eq!(raw.scalar("event_id").to_text().as_deref(), Some("12345678901234567891"));
        assert_eq!(raw.parameters[0].1.to_text().as_deref(), Some("9007199254740993"));
    }

    #[test]
    fn however_much_stands_before_them_signals_and_names_of_a_form_are_read() {
        let junk =
            |prefix: &str| (0..300).map(|n| format!(r#""{prefix}{n}":{n}"#)).collect::<Vec<_>>().join(",");
        let json = format!(
            r#"{{{},{},"utm_source":"s","gclid":"g","form_data":{{{},"email":"e"}}}}"#,
            junk("x"),
            junk("utm_x"),
            junk("f"),
        );
        let raw = read(&json).unwrap();
        for name in ["utm_source", "gclid"] {
            assert!(raw.parameters.iter().any(|(known, _)| known == name), "{name}");
        }
        let Some(RawForm::Fields(fields)) = raw.form else { panic!("a form") };
        assert!(fields.iter().any(|(name, _)| name == "email"));
        assert!(raw.parameters.len() <= ENTRIES_MAX + 2 && fields.len() <= ENTRIES_MAX + 1);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for json in [
            "",
            "[]",
            "1",
            "null",
            "{",
            r#"{"pixel_id":"\ud800"}"#,
            &"[".repeat(8_000),
            &format!(r#"{{"x":{}"#, "[".repeat(8_000)),
        ] {
            assert!(read(json).is_err());
        }
    }

    #[test]
    fn texts_without_escapes_are_borrowed() {
        let json = String::from(r#"{"page_url":"https://a.example/"}"#);
        assert!(matches!(read(&json).unwrap().scalar("page_url"), Scalar::Text(Cow::Borrowed(_))));
    }
}
