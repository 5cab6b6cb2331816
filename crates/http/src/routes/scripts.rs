//! The pixel's scripts as they are built into `static/built`: minified, and compressed ahead of time.

use std::fmt::Write as _;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, VARY,
};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use sha2::{Digest as _, Sha384};

use super::assets::{Files, UNCHANGED, bytes, entity_tag, unless_known};
use crate::description::{Answer as Described, Header, Operation, Parameter, Tag};
use crate::problem::Problem;
use crate::security::CROSS_ORIGIN_RESOURCE_POLICY;

const CONTENT_TYPE: &str = "text/javascript; charset=utf-8";
/// An hour old at most without asking, and a day while asking.
const CACHING: &str = "public, max-age=3600, stale-while-revalidate=86400";
/// What a name with the content's hash stands for never changes.
const CACHING_FOR_EVER: &str = "public, max-age=31536000, immutable";
/// In the place of a hash: the script as it was written.
const SOURCE: &str = "src";
/// Hexadecimal digits of the content's SHA-256 in a pinned name.
const HASH_CHARS: usize = 16;

/// A script of the pixel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Script {
    Core,
    Plus,
}

impl Script {
    fn stem(self) -> &'static str {
        match self {
            Self::Core => "pixel",
            Self::Plus => "px-plus",
        }
    }
}

/// How the bytes of an answer are packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Packing {
    Brotli,
    Gzip,
    None,
}

impl Packing {
    /// The file's suffix, and the word for it in `Content-Encoding`.
    fn names(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Brotli => (".br", Some("br")),
            Self::Gzip => (".gz", Some("gzip")),
            Self::None => ("", None),
        }
    }
}

/// A script under a name that no other content ever has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PinnedScript {
    /// Such as `/static/pixel.0123456789abcdef.js`.
    pub path: String,
    /// As the attribute of this name has it (<https://www.w3.org/TR/SRI/>).
    pub integrity: String,
}

/// The pixel's core and its extension, in this order, for pages that pin what they load.
pub fn pinned_scripts() -> [PinnedScript; 2] {
    [Script::Core, Script::Plus].map(|script| {
        let content = Files::get(&format!("built/{}.js", script.stem()));
        let digest = Sha384::digest(content.map(|file| file.data).unwrap_or_default());
        PinnedScript {
            path: format!("/static/{}.{}.js", script.stem(), hash(script).unwrap_or_default()),
            integrity: format!("sha384-{}", BASE64_STANDARD.encode(digest)),
        }
    })
}

pub(super) const PIXEL: Operation = Operation {
    id: "pixelScript",
    tag: Tag::Pages,
    summary: "The pixel script",
    detail: "What a site's pages load to be counted.",
    path: None,
    query: &[],
    body: None,
    answers: &[
        Described::raw(StatusCode::OK, "The script.", &["text/javascript"]).with(&[Header::ETag]),
        UNCHANGED,
    ],
};

/// The same at a short path.
pub(super) const PIXEL_SHORT: Operation =
    Operation { id: "pixelScriptShort", summary: "The pixel script (short path)", ..PIXEL };

const PINNED: Operation = Operation {
    detail: "Under a name that stands for this content for ever, so that a page may pin it by its hash; \
             `src` in the hash's place is the script as it was written.",
    path: Some(Parameter {
        name: "hash",
        about: "The first 16 digits of the content's SHA-256, or `src`.",
        schema: |_schemas| json!({"type": "string", "pattern": "^([0-9a-f]{16}|src)$"}),
    }),
    answers: &[
        Described::raw(StatusCode::OK, "The script.", &["text/javascript"]).with(&[Header::ETag]),
        UNCHANGED,
        Described::problem(StatusCode::NOT_FOUND, "The service has the script in another version."),
    ],
    ..PIXEL
};

pub(super) const PIXEL_PINNED: Operation =
    Operation { id: "pixelScriptPinned", summary: "The pixel script, pinned", ..PINNED };

pub(super) const PLUS: Operation = Operation {
    id: "plusScript",
    summary: "The pixel's extension",
    detail: "What the pixel script loads for sites that ask for more.",
    ..PIXEL
};

/// The same beside the pixel's short path.
pub(super) const PLUS_SHORT: Operation =
    Operation { id: "plusScriptShort", summary: "The pixel's extension (short path)", ..PLUS };

pub(super) const PLUS_PINNED: Operation =
    Operation { id: "plusScriptPinned", summary: "The pixel's extension, pinned", ..PINNED };

pub(super) async fn pixel(request: HttpRequest) -> HttpResponse {
    serve(&request, Script::Core, CACHING)
}

pub(super) async fn plus(request: HttpRequest) -> HttpResponse {
    serve(&request, Script::Plus, CACHING)
}

pub(super) async fn pinned_pixel(request: HttpRequest, hash: web::Path<String>) -> HttpResponse {
    serve_pinned(&request, Script::Core, &hash)
}

pub(super) async fn pinned_plus(request: HttpRequest, hash: web::Path<String>) -> HttpResponse {
    serve_pinned(&request, Script::Plus, &hash)
}

fn serve_pinned(request: &HttpRequest, script: Script, asked: &str) -> HttpResponse {
    if asked == SOURCE {
        return answer(request, &format!("{}.js", script.stem()), Packing::None, CACHING);
    }
    if hash(script).is_none_or(|hash| hash != asked) {
        return Problem::NotFound.response(request);
    }
    serve(request, script, CACHING_FOR_EVER)
}

fn serve(request: &HttpRequest, script: Script, caching: &'static str) -> HttpResponse {
    let packing = packing(request);
    let (suffix, _word) = packing.names();
    answer(request, &format!("built/{}.js{suffix}", script.stem()), packing, caching)
}

fn answer(request: &HttpRequest, path: &str, packing: Packing, caching: &'static str) -> HttpResponse {
    let Some(file) = Files::get(path) else { return Problem::NotFound.response(request) };
    // Of the packed bytes: each packing is another representation.
    let tag = entity_tag(&file.metadata.sha256_hash());
    unless_known(request, &tag, CONTENT_TYPE, bytes(file.data), |response| {
        response
            .insert_header((CACHE_CONTROL, caching))
            .insert_header((VARY, "accept-encoding"))
            .insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
            .insert_header((CROSS_ORIGIN_RESOURCE_POLICY, "cross-origin"));
        if let (_suffix, Some(word)) = packing.names() {
            response.insert_header((CONTENT_ENCODING, word));
        }
    })
}

/// The content's SHA-256, as far as it stands in a pinned name.
fn hash(script: Script) -> Option<String> {
    let file = Files::get(&format!("built/{}.js", script.stem()))?;
    let mut hash = String::new();
    for byte in &file.metadata.sha256_hash()[..HASH_CHARS / 2] {
        write!(hash, "{byte:02x}").expect("writing to a string does not fail");
    }
    Some(hash)
}

/// The smallest packing that the client takes.
fn packing(request: &HttpRequest) -> Packing {
    let offered: Vec<&str> = request
        .headers()
        .get_all(ACCEPT_ENCODING)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    [Packing::Brotli, Packing::Gzip]
        .into_iter()
        .find(|packing| packing.names().1.is_some_and(|word| offered.iter().any(|offer| takes(offer, word))))
        .unwrap_or(Packing::None)
}

/// Whether an element of `Accept-Encoding` (RFC 9110, section 12.5.3) names `word` and does not refuse it.
fn takes(offer: &str, word: &str) -> bool {
    let mut parts = offer.split(';').map(str::trim);
    let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(word));
    let is_refused = parts.any(|part| {
        let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
        weight.is_some_and(|weight| weight.parse::<f64>().is_ok_and(|weight| weight <= 0.0))
    });
    is_named && !is_refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_taken_where_it_is_named_and_not_refused() {
        for (offer, is_taken) in [
            ("br", true),
            (" BR ; q=0.1", true),
            ("br;q=1.000", true),
            ("br;q=0", false),
            ("br; q=0.000", false),
            ("brotli", false),
            ("gzip", false),
            ("", false),
        ] {
            assert_eq!(takes(offer, "br"), is_taken, "{offer}");
        }
    }
}
