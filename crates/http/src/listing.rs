//! Lists, a page at a time.

use std::fmt::Display;
use std::str::FromStr;

use actix_web::HttpResponse;
use leadtrail_app::input::FieldProblem;
use leadtrail_domain::ports::Page;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use url::form_urlencoded;

use crate::description::{Parameter, listed};
use crate::problem::Problem;

/// How many entries an answer has where the request does not say.
const LIMIT_DEFAULT: u32 = 50;
/// The most entries of an answer.
const LIMIT_MAX: u32 = 100;

/// The part of a list that a request asks for.
pub(crate) struct Listing<Id> {
    after: Option<Id>,
    limit: u32,
}

/// What chooses the part of a list.
pub(crate) const LISTING: &[Parameter] = &[
    Parameter {
        name: "limit",
        about: "How many entries to answer at most; 50 where absent.",
        schema: |_schemas| json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}),
    },
    Parameter {
        name: "cursor",
        about: "Where to go on: `next_cursor` of the page before. Not to be made otherwise.",
        schema: listed,
    },
];

/// A page of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub(crate) struct ListBody<T> {
    /// The entries, by id.
    data: Vec<T>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

impl<Id: Clone + Display + FromStr> Listing<Id> {
    /// Reads `limit` and `cursor`.
    ///
    /// # Errors
    /// One of them is not what it should be.
    pub(crate) fn of(query: &str) -> Result<Self, Problem> {
        let mut listing = Self { after: None, limit: LIMIT_DEFAULT };
        let mut problems = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                    listing.limit = limit.unwrap_or_else(|| {
                        let problem = format!("is not a number from 1 to {LIMIT_MAX}");
                        problems.push(FieldProblem::new("limit", &problem));
                        LIMIT_DEFAULT
                    });
                }
                "cursor" => match from_cursor(&value) {
                    Some(id) => listing.after = Some(id),
                    None => problems.push(FieldProblem::new("cursor", "is not one of this list's")),
                },
                _ => {}
            }
        }
        if problems.is_empty() { Ok(listing) } else { Err(Problem::Invalid(problems)) }
    }

    /// The page to ask the store for: one entry more, which tells whether another page follows.
    pub(crate) fn page(&self) -> Page<Id> {
        Page { after: self.after.clone(), limit: self.limit + 1 }
    }

    /// Answers what was found.
    pub(crate) fn answer<B: Serialize>(&self, mut found: Vec<B>, id: impl Fn(&B) -> Id) -> HttpResponse {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next_cursor = found.last().filter(|_| has_more).map(|last| to_cursor(&id(last)));
        HttpResponse::Ok().json(ListBody { data: found, next_cursor })
    }
}

/// The id's text in hexadecimal digits, so that nobody takes it for something to make oneself.
fn to_cursor(id: &impl Display) -> String {
    use std::fmt::Write as _;
    id.to_string().bytes().fold(String::new(), |mut cursor, byte| {
        write!(cursor, "{byte:02x}").expect("writing to a string does not fail");
        cursor
    })
}

fn from_cursor<Id: FromStr>(cursor: &str) -> Option<Id> {
    let bytes: Option<Vec<u8>> = cursor
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect();
    String::from_utf8(bytes?).ok()?.parse().ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use leadtrail_domain::id::PixelId;

    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_id_and_nothing_else_is_one() {
        let id: PixelId = "px_1-A".parse().unwrap();
        assert_eq!(from_cursor::<PixelId>(&to_cursor(&id)), Some(id));
        for bad in ["", "x", "zz", "+1", "ff", "é", "é1"] {
            assert_eq!(from_cursor::<PixelId>(bad), None, "{bad}");
        }
    }
}
