//! The visitor's cookie among those of a request.

use crate::id::VisitorCookie;

/// Its names in the order they are looked for: ours, then that of the tool we replace.
pub const NAMES: [&str; 2] = ["lt_visitor", "ppp_visitor"];

/// How much of the cookies of one request is read, in bytes.
pub const HEADER_BYTES_MAX: usize = 16 * 1_024;

/// The visitor's cookie in the `Cookie` headers of one request; a malformed one is passed over.
pub fn sent<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Option<VisitorCookie> {
    let mut room = HEADER_BYTES_MAX;
    let mut found: [Option<VisitorCookie>; NAMES.len()] = [const { None }; NAMES.len()];
    for bytes in headers {
        let read = &bytes[..bytes.len().min(room)];
        room -= read.len();
        for pair in read.split(|byte| *byte == b';') {
            let Some((name, value)) = std::str::from_utf8(pair).ok().and_then(|pair| pair.split_once('='))
            else {
                continue;
            };
            if let Some(index) = NAMES.iter().position(|known| *known == name.trim())
                && found[index].is_none()
            {
                found[index] = value.trim().parse().ok();
            }
        }
    }
    found.into_iter().flatten().next()
}
