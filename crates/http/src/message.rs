//! The shape of a tracking body: one event, or a batch whose items are read one by one, so that a malformed one never
//! costs its neighbours.

use std::borrow::Cow;
use std::fmt;

use leadtrail_domain::event::RawEvent;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::refusal::Refusal;

/// The largest single event, alone or in a batch.
pub const EVENT_BYTES_MAX: usize = 64 * 1_024;
/// The largest batch.
pub const BATCH_BYTES_MAX: usize = 1_024 * 1_024;
/// The most events in a batch.
pub const BATCH_EVENTS_MAX: usize = 100;

/// A body's text. What is not UTF-8 in it is replaced, and marked by it.
pub(crate) struct Text<'a> {
    text: Cow<'a, str>,
}

/// What a body holds.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// One event.
    Single(Box<RawEvent<'a>>),
    /// Several, each read or refused by itself.
    Batch(Vec<Result<RawEvent<'a>, Refusal>>),
}

impl Message<'_> {
    /// How many events it holds.
    pub(crate) fn events(&self) -> usize {
        match self {
            Self::Single(_) => 1,
            Self::Batch(items) => items.len(),
        }
    }
}

impl<'a> Text<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
        Self { text: String::from_utf8_lossy(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)) }
    }

    /// Reads the message.
    ///
    /// # Errors
    /// It is not JSON, or too large, or a batch of too many.
    pub(crate) fn message(&self) -> Result<Message<'_>, Refusal> {
        match serde_json::from_str::<Envelope<'_>>(&self.text) {
            Ok(Envelope { batch: Some(batch) }) => self.batch(batch),
            _ if self.text.len() > EVENT_BYTES_MAX => Err(Refusal::too_large("body", EVENT_BYTES_MAX)),
            Ok(Envelope { batch: None }) => self.event(&self.text).map(Box::new).map(Message::Single),
            Err(error) => Err(Refusal::not_json(&error)),
        }
    }

    fn batch<'b>(&self, batch: &'b RawValue) -> Result<Message<'b>, Refusal> {
        let Items { items, further } = serde_json::from_str(batch.get())
            .map_err(|_other_type| Refusal::malformed("batch", "is not a list of events"))?;
        if further > 0 {
            let problem = format!("holds {} events, {BATCH_EVENTS_MAX} at most", items.len() + further);
            return Err(Refusal::malformed("batch", problem));
        }
        Ok(Message::Batch(items.into_iter().map(|item| self.event(item.get())).collect()))
    }

    fn event<'b>(&self, json: &'b str) -> Result<RawEvent<'b>, Refusal> {
        if json.len() > EVENT_BYTES_MAX {
            return Err(Refusal::too_large("body", EVENT_BYTES_MAX));
        }
        // Borrowed text is UTF-8 throughout; in replaced text the mark tells which items were not.
        if matches!(self.text, Cow::Owned(_)) && json.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Refusal::malformed("body", "is not UTF-8"));
        }
        serde_json::from_str(json).map_err(|error| Refusal::not_json(&error))
    }
}

/// An object's `batch`, unread.
struct Envelope<'a> {
    batch: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EnvelopeVisitor;

        impl<'de> Visitor<'de> for EnvelopeVisitor {
            type Value = Envelope<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event as a JSON object, or an object with a `batch` of them")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Envelope<'de>, M::Error> {
                let mut batch = None;
                while let Some(name) = map.next_key()? {
                    match name {
                        Name::Batch if batch.is_some() => return Err(de::Error::duplicate_field("batch")),
                        Name::Batch => batch = Some(map.next_value()?),
                        Name::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(Envelope { batch })
            }
        }

        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

enum Name {
    Batch,
    Other,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl Visitor<'_> for NameVisitor {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(if name == "batch" { Name::Batch } else { Name::Other })
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}

/// A list's items, unread: the first [`BATCH_EVENTS_MAX`], and how many more there are.
struct Items<'a> {
    items: Vec<&'a RawValue>,
    further: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor;

        impl<'de> Visitor<'de> for ItemsVisitor {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of events")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Items<'de>, S::Error> {
                let mut items = Vec::new();
                while items.len() < BATCH_EVENTS_MAX {
                    match seq.next_element()? {
                        Some(item) => items.push(item),
                        None => return Ok(Items { items, further: 0 }),
                    }
                }
                let mut further = 0;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    further += 1;
                }
                Ok(Items { items, further })
            }
        }

        deserializer.deserialize_seq(ItemsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch_of(json: &[u8]) -> Vec<bool> {
        match Text::of(json).message() {
            Ok(Message::Batch(items)) => items.iter().map(Result::is_ok).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_malformed_item_never_costs_its_neighbours() {
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(8_000), "]".repeat(8_000));
        let deep_form = format!(r#"{{"form_data":{{"x":{}{}}}}}"#, "[".repeat(8_000), "]".repeat(8_000));
        for (bad, taken) in [
            (r#"{"pixel_id":"\ud800"}"#, false),
            (r#"{"pixel_id":1,"pixel_id":2}"#, false),
            ("7", false),
            ("null", false),
            ("[]", false),
            (&*deep, true),
            (&*deep_form, true),
        ] {
            let json = format!(r#"{{"batch":[{{"pixel_id":"a"}},{bad},{{"pixel_id":"b"}}]}}"#);
            let result = batch_of(json.as_bytes());
            assert_eq!((result[0], result[2]), (true, true), "{bad}");
            assert_eq!(result[1], taken, "{}", &bad[..bad.len().min(40)]);
        }
    }

    #[test]
    fn an_item_that_is_not_utf8_never_costs_its_neighbours() {
        let json = b"{\"batch\":[{\"pixel_id\":\"a\"},{\"pixel_id\":\"\xff\"},{\"pixel_id\":\"b\"}]}";
        assert_eq!(batch_of(json), [true, false, true]);
    }

    #[test]
    fn more_than_a_hundred_events_are_too_many_and_none_is_enough() {
        let of = |count: usize| format!(r#"{{"batch":[{}]}}"#, vec!["{}"; count].join(","));
        assert_eq!(batch_of(of(100).as_bytes()).len(), 100);
        assert_eq!(batch_of(of(0).as_bytes()).len(), 0);
        assert!(Text::of(of(101).as_bytes()).message().is_err());
    }

    #[test]
    fn what_is_no_object_or_holds_no_list_is_refused() {
        for json in [
            "",
            "[]",
            "[[{}]]",
            "1",
            r#"{"batch":{}}"#,
            r#"{"batch":null}"#,
            r#"{"batch":[],"batch":[]}"#,
            "{} {}",
        ] {
            assert!(Text::of(json.as_bytes()).message().is_err(), "{json}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        assert!(Text::of("\u{feff}{}".as_bytes()).message().is_ok());
    }
}
