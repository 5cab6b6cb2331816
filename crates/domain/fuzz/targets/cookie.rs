//! Any bytes as `Cookie` headers: the visitor's cookie is one that was sent, of its form, or none.
#![no_main]

use leadtrail_domain::cookie::{self, NAMES};
use leadtrail_domain::id::VisitorCookie;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // A line feed cannot stand in a header: here it parts several.
    let headers = || data.split(|byte| *byte == b'\n');
    let Some(found) = cookie::sent(headers()) else { return };
    let text = found.as_str();
    assert!((8..=64).contains(&text.len()));
    assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
    assert_eq!(text.parse::<VisitorCookie>().as_ref(), Ok(&found));
    assert!(headers().any(|header| {
        let header = String::from_utf8_lossy(header);
        header.contains(text) && NAMES.iter().any(|name| header.contains(name))
    }));
});
