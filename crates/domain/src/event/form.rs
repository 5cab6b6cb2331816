//! Which fields of a form are kept, and by which names they are known.

use std::borrow::Cow;

use super::raw::form_in;
use super::{Form, RawForm};
use crate::project::PixelContext;
use crate::text::{self, PARAMETER_CHARS_MAX};

const EMAIL_FIELDS: &[&str] = &[
    "email",
    "e-mail",
    "e_mail",
    "mail",
    "email_address",
    "email-address",
    "emailaddress",
    "your-email",
    "your_email",
    "work_email",
    "business_email",
];
const FIRST_NAME_FIELDS: &[&str] = &[
    "first_name",
    "first-name",
    "firstname",
    "first name",
    "fname",
    "f_name",
    "given-name",
    "given_name",
    "givenname",
];
const LAST_NAME_FIELDS: &[&str] = &[
    "last_name",
    "last-name",
    "lastname",
    "last name",
    "lname",
    "l_name",
    "surname",
    "family-name",
    "family_name",
    "familyname",
];
const FULL_NAME_FIELDS: &[&str] = &["name", "full_name", "full-name", "fullname", "your-name", "your_name"];

/// Whether a field's name is on the allow-list: however many others stand before it, it is read.
pub(super) fn is_allowed(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    [EMAIL_FIELDS, FIRST_NAME_FIELDS, LAST_NAME_FIELDS, FULL_NAME_FIELDS]
        .iter()
        .any(|names| names.contains(&&*name))
}

/// The fields of a form that are kept: those of the allow-list, and those the pixel names.
pub(super) fn form_of(raw: &RawForm<'_>, pixel: &PixelContext) -> Form {
    let entries = match raw {
        RawForm::Fields(entries) => Cow::Borrowed(entries.as_slice()),
        RawForm::Text(text) => Cow::Owned(form_in(text).unwrap_or_default()),
        RawForm::Other => return Form::default(),
    };
    let mut form = Form::default();
    let mut full_name = None;
    for (name, value) in entries.iter() {
        let name = name.trim().to_lowercase();
        let Some(value) = value.to_text().and_then(|value| text::clean(&value, PARAMETER_CHARS_MAX)) else {
            continue;
        };
        if is_sensitive(&name, &value) {
            continue;
        }
        if EMAIL_FIELDS.contains(&&*name) {
            if form.email.is_none() {
                form.email = value.parse().ok();
            }
        } else if FIRST_NAME_FIELDS.contains(&&*name) {
            form.first_name.get_or_insert(value);
        } else if LAST_NAME_FIELDS.contains(&&*name) {
            form.last_name.get_or_insert(value);
        } else if pixel.pixel.settings.form_fields.contains(&name) {
            form.extra.entry(name).or_insert(value);
        } else if FULL_NAME_FIELDS.contains(&&*name) {
            full_name.get_or_insert(value);
        }
    }
    if let (None, None, Some(full)) = (&form.first_name, &form.last_name, full_name) {
        let (first, last) = full.split_once(' ').unwrap_or((&full, ""));
        form.first_name = text::clean(first, PARAMETER_CHARS_MAX);
        form.last_name = text::clean(last, PARAMETER_CHARS_MAX);
    }
    form
}

/// Whether a field must not be kept, whatever the pixel says: passwords, and values that look like a payment card
/// (13 to 19 digits with a right Luhn sum, ISO/IEC 7812-1) or a US social security number.
fn is_sensitive(name: &str, value: &str) -> bool {
    let digits: Vec<u32> = value.chars().filter_map(|c| c.to_digit(10)).collect();
    let only_digits = value.chars().all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-' | '.'));
    let parts: Vec<usize> = value.split('-').map(str::len).collect();
    name.contains("password")
        || name.contains("passwd")
        || (only_digits && (13..=19).contains(&digits.len()) && luhn_holds(&digits))
        || (only_digits && parts == [3, 2, 4])
}

fn luhn_holds(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => *digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}
