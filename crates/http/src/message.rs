//! The shape of a tracking body: one event, or a batch whose items are read one by one, so that a malformed one never
//! costs its neighbours.

use std::borrow::Cow;

use leadtrail_domain::event::RawEvent;
use serde::de::IgnoredAny;

use crate::refusal::Refusal;

/// The largest single event, alone or in a batch.
pub const EVENT_BYTES_MAX: usize = 64 * 1_024;
/// The largest batch.
pub const BATCH_BYTES_MAX: usize = 1_024 * 1_024;
/// The most events in a batch.
pub const BATCH_EVENTS_MAX: usize = 100;

/// A body's text, in which every number can be read.
pub(crate) struct Text<'a> {
    text: Cow<'a, str>,
    /// Whether what was not UTF-8 in it is replaced, and marked by that.
    is_replaced: bool,
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
        let text = String::from_utf8_lossy(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes));
        let is_replaced = matches!(text, Cow::Owned(_));
        Self { text: without_endless_numbers(text), is_replaced }
    }

    /// Reads the message.
    ///
    /// # Errors
    /// It is not JSON, or too large, or a batch of too many.
    pub(crate) fn message(&self) -> Result<Message<'_>, Refusal> {
        match batch_of(&self.text)? {
            Some(batch) => self.batch(batch),
            None if self.text.len() > EVENT_BYTES_MAX => Err(Refusal::too_large("body", EVENT_BYTES_MAX)),
            None => self.event(&self.text).map(Box::new).map(Message::Single),
        }
    }

    fn batch<'b>(&self, batch: &'b str) -> Result<Message<'b>, Refusal> {
        let items = items(batch).ok_or_else(|| Refusal::malformed("batch", "is not a list of events"))?;
        if items.len() > BATCH_EVENTS_MAX {
            let problem = format!("holds {} events, {BATCH_EVENTS_MAX} at most", items.len());
            return Err(Refusal::malformed("batch", problem));
        }
        Ok(Message::Batch(items.into_iter().map(|item| self.event(item)).collect()))
    }

    fn event<'b>(&self, json: &'b str) -> Result<RawEvent<'b>, Refusal> {
        if json.len() > EVENT_BYTES_MAX {
            return Err(Refusal::too_large("body", EVENT_BYTES_MAX));
        }
        // In replaced text the mark tells which items were not UTF-8.
        if self.is_replaced && json.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Refusal::malformed("body", "is not UTF-8"));
        }
        serde_json::from_str(json).map_err(|error| Refusal::not_json(&error))
    }
}

/// The value of an object's `batch`, unread, where it has one.
///
/// # Errors
/// It has two, or is otherwise no JSON around the one.
fn batch_of(text: &str) -> Result<Option<&str>, Refusal> {
    const NAME: &str = "\"batch\"";
    if !text.contains(NAME) {
        return Ok(None);
    }
    // What is no object is told of when it is read as an event.
    let Some(members) = between(text, "{", "}").and_then(parts) else { return Ok(None) };
    let (mut batch, mut others) = (None, Vec::new());
    for member in members {
        let value = member.trim_ascii_start().strip_prefix(NAME);
        match value.and_then(|value| value.trim_ascii_start().strip_prefix(':')) {
            Some(_second) if batch.is_some() => {
                return Err(Refusal::malformed("body", "has `batch` twice"));
            }
            Some(value) => batch = Some(value),
            None => others.push(member),
        }
    }
    if batch.is_some() {
        for member in others {
            // Behind another one, so that an empty member is none.
            let read = serde_json::from_str::<IgnoredAny>(&format!(r#"{{"":0,{member}}}"#));
            read.map_err(|error| Refusal::not_json(&error))?;
        }
    }
    Ok(batch)
}

/// A list's items, unread. Whatever an item is, it ends at the next comma outside of its brackets and strings.
fn items(list: &str) -> Option<Vec<&str>> {
    let items = between(list, "[", "]")?;
    if items.trim_ascii().is_empty() { Some(Vec::new()) } else { parts(items) }
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    text.trim_ascii().strip_prefix(open)?.strip_suffix(close)
}

/// What stands between the commas that are in no brackets and no string; absent where brackets are left open.
fn parts(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, byte) in outside_strings(text) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (depth == 0).then_some(parts)
}

/// The bytes that stand in no string, with their places.
fn outside_strings(text: &str) -> impl Iterator<Item = (usize, u8)> {
    let (mut in_string, mut is_escaped) = (false, false);
    text.bytes().enumerate().filter(move |(_at, byte)| {
        if !in_string {
            in_string = *byte == b'"';
            return true;
        }
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_string = false,
            _ => {}
        }
        false
    })
}

/// The text with `null` in place of every number beyond those that a computer counts with (1e999): such a number is
/// worth nothing, and what stands beside it is worth keeping.
fn without_endless_numbers(text: Cow<'_, str>) -> Cow<'_, str> {
    let mut replaced = String::new();
    let mut kept = 0;
    let mut number: Option<usize> = None;
    // A comma ends a number at the text's end too.
    for (at, byte) in outside_strings(&text).chain([(text.len(), b',')]) {
        let goes_on = byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
        match number {
            Some(start) if !goes_on => {
                number = None;
                if is_endless(&text[start..at]) {
                    replaced.push_str(&text[kept..start]);
                    replaced.push_str("null");
                    kept = at;
                }
            }
            None if byte.is_ascii_digit() || byte == b'-' => number = Some(at),
            Some(_) | None => {}
        }
    }
    if kept == 0 {
        return text;
    }
    replaced.push_str(&text[kept..]);
    Cow::Owned(replaced)
}

fn is_endless(number: &str) -> bool {
    let may_be = number.len() > 308 || number.contains(['e', 'E']);
    may_be && number.parse::<f64>().is_ok_and(f64::is_infinite)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            ("", false),
            ("nonsense", false),
            (r#"{"pixel_id":}"#, false),
            (r#"{"pixel_id":"x",}"#, false),
            (r#"{pixel_id:"x"}"#, false),
            (r#"{"pixel_id":"x"} {"pixel_id":"y"}"#, false),
            (r#"{"pixel_id":"\x"}"#, false),
            ("{\"pixel_id\":\"a\nb\"}", false),
            (r#"[{"pixel_id":"x"}, "],["]"#, false),
            (r#"{"pixel_id":"x","value":1e999}"#, true),
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
            r#"{"batch":[]"#,
            r#"{"batch":[}"#,
            r#"{"batch":[{]}"#,
            r#"{"batch":[1] [2]}"#,
            r#"{"batch":[{}],}"#,
            r#"{"batch":[{}],nonsense}"#,
            r#"{"batch":[{}]} {}"#,
            r#"{"batch" [{}]}"#,
            "{} {}",
        ] {
            assert!(Text::of(json.as_bytes()).message().is_err(), "{json}");
        }
    }

    #[test]
    fn a_batch_is_one_wherever_it_stands_in_the_object_and_nowhere_else() {
        assert_eq!(batch_of(br#" { "x" : [ {"batch":1} , "," ] , "batch" : [ {} , {} ] } "#), [true, true]);
        for single in [r#"{"x":{"batch":[{}]}}"#, r#"{"x":"\"batch\":[{}]"}"#, r#"{"x":"batch"}"#] {
            assert!(matches!(Text::of(single.as_bytes()).message(), Ok(Message::Single(_))), "{single}");
        }
    }

    #[test]
    fn a_number_beyond_all_bounds_counts_as_none_and_nothing_else_is_touched() {
        let long = format!("[1{}]", "0".repeat(400));
        for (text, read) in [
            ("1e999", "null"),
            (r#"{"a":-1E+400,"b":[1e308,1e309]}"#, r#"{"a":null,"b":[1e308,null]}"#),
            (&*long, "[null]"),
            (r#"{"1e999":"1e999 \" 1e999","b":1e999}"#, r#"{"1e999":"1e999 \" 1e999","b":null}"#),
            ("[1e-999,0,-0.5,12e3]", "[1e-999,0,-0.5,12e3]"),
            ("[e999,--1e999,1e999e1]", "[e999,--1e999,1e999e1]"),
            ("ä1e999ä", "änullä"),
        ] {
            assert_eq!(without_endless_numbers(Cow::Borrowed(text)), read);
        }
    }

    /// Anything whose brackets and quotation marks are in order, whatever else is not.
    fn balanced_garbage() -> impl Strategy<Value = String> {
        let atom = prop_oneof![
            "[a-z0-9:.+ \\n-]{0,8}",
            Just("1e999".to_owned()),
            Just("null".to_owned()),
            r#""[a-z,:{}\[\]ä]{0,8}""#,
            Just(r#""\\\"""#.to_owned()),
            Just(r#""\ud800""#.to_owned()),
        ];
        atom.prop_recursive(4, 32, 4, |inner| {
            (prop::collection::vec(inner, 0..4), any::<[bool; 2]>(), ",?").prop_map(
                |(inside, [opens_list, closes_list], end)| {
                    let (open, close) =
                        (if opens_list { '[' } else { '{' }, if closes_list { ']' } else { '}' });
                    format!("{open}{}{end}{close}", inside.join(","))
                },
            )
        })
    }

    proptest! {
        #[test]
        fn whatever_an_item_is_its_neighbours_are_read(garbage in balanced_garbage(), at in 0..3_usize) {
            let mut items = vec![r#"{"pixel_id":"a"}"#.to_owned(), r#"{"pixel_id":"b,]}"}"#.to_owned()];
            items.insert(at.min(2), garbage);
            let read = batch_of(format!(r#"{{"batch":[{}]}}"#, items.join(",")).as_bytes());
            prop_assert_eq!(read.len(), 3);
            prop_assert!(read.iter().enumerate().all(|(index, is_read)| *is_read || index == at));
        }

        #[test]
        fn no_text_is_too_odd_to_be_answered(text in r#"[\[\]{}",:\\a-e0-9 batch]{0,60}"#) {
            drop(Text::of(text.as_bytes()).message());
            drop(Text::of(format!(r#"{{"batch":{text}}}"#).as_bytes()).message());
        }
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        assert!(Text::of("\u{feff}{}".as_bytes()).message().is_ok());
    }
}
