//! Whose request it is: the address, the scheme and the place that a trusted proxy tells, and no word of anybody else.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName, X_FORWARDED_FOR, X_FORWARDED_PROTO};
use ipnet::IpNet;
use leadtrail_domain::event::Client;
use leadtrail_domain::text::{self, PARAMETER_CHARS_MAX};

const CF_CONNECTING_IP: HeaderName = HeaderName::from_static("cf-connecting-ip");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const VIA: HeaderName = HeaderName::from_static("via");
const CF_IPCOUNTRY: HeaderName = HeaderName::from_static("cf-ipcountry");
const CF_REGION: HeaderName = HeaderName::from_static("cf-region");
const CF_IPCITY: HeaderName = HeaderName::from_static("cf-ipcity");

/// The proxies in front, and what is taken from their headers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Proxies {
    /// Whose headers are believed; empty: nobody's.
    pub trusted: Vec<IpNet>,
    /// Which one header names the client.
    pub address_header: AddressHeader,
    /// Which headers tell the client's place.
    pub place_headers: PlaceHeaders,
}

/// The header in which the proxies name the client. One, since a proxy that writes one of them passes on the others as
/// the client wrote them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AddressHeader {
    /// `X-Forwarded-For`: each proxy appends whom it was asked by.
    #[default]
    XForwardedFor,
    /// `Forwarded`, the same by RFC 7239.
    Forwarded,
    /// `CF-Connecting-IP`: one address, set by Cloudflare
    /// (<https://developers.cloudflare.com/fundamentals/reference/http-headers/>, 2026-11-22).
    CfConnectingIp,
}

/// The headers in which a proxy tells the client's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PlaceHeaders {
    /// None.
    #[default]
    None,
    /// Cloudflare's `CF-IPCountry`, `CF-Region` and `CF-IPCity`.
    Cloudflare,
}

/// Whether an address is one of this machine or of a private network: loopback, RFC 1918, unique local (RFC 4193) or
/// link-local.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

impl Proxies {
    /// Whether a request comes from this machine or a private network, and was not passed on for somebody of whom
    /// nothing is known.
    pub(crate) fn is_local(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let client = self.client(peer, headers);
        let is_passed_on = [X_FORWARDED_FOR, FORWARDED, CF_CONNECTING_IP, X_REAL_IP, X_FORWARDED_PROTO, VIA]
            .iter()
            .any(|header| headers.contains_key(header));
        is_private(client) && (client != peer.to_canonical() || !is_passed_on)
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The client's address: `peer`, or when that is a trusted proxy the last one in its header that is not. What
    /// cannot be read ends the search at the proxy that wrote it.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        match self.address_header {
            AddressHeader::XForwardedFor => self.walk(peer, hops(headers, &X_FORWARDED_FOR, x_forwarded_for)),
            AddressHeader::Forwarded => self.walk(peer, hops(headers, &FORWARDED, forwarded)),
            AddressHeader::CfConnectingIp => single(headers, &CF_CONNECTING_IP)
                .and_then(|text| text.trim().parse::<IpAddr>().ok())
                .map_or(peer, |address| address.to_canonical()),
        }
    }

    fn walk(&self, peer: IpAddr, hops: Vec<Option<IpAddr>>) -> IpAddr {
        let mut client = peer;
        for hop in hops.into_iter().rev() {
            let Some(hop) = hop else { break };
            client = hop;
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    /// Whether a trusted proxy says that it was asked over https.
    pub(crate) fn is_https(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        if !self.trusts(peer.to_canonical()) {
            return false;
        }
        let nearest = match self.address_header {
            AddressHeader::Forwarded => headers
                .get_all(FORWARDED)
                .last()
                .and_then(|line| {
                    elements(line.to_str().ok()?)?.pop()?.into_iter().find(|pair| pair.0 == "proto")
                })
                .map(|(_name, value)| value),
            AddressHeader::XForwardedFor | AddressHeader::CfConnectingIp => headers
                .get_all(X_FORWARDED_PROTO)
                .last()
                .and_then(|line| line.to_str().ok()?.rsplit(',').next().map(|proto| proto.trim().to_owned())),
        };
        nearest.is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
    }

    /// Whether a proxy seems to be in front, and nobody is trusted at all. One that is stands on this machine or its
    /// network; from elsewhere anybody can write the headers of one.
    pub(crate) fn overlooks_one(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        self.trusted.is_empty()
            && is_private(peer)
            && (headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(FORWARDED))
    }

    /// The place that a trusted proxy tells.
    pub(crate) fn place(&self, peer: IpAddr, headers: &HeaderMap) -> Option<ToldPlace> {
        if self.place_headers == PlaceHeaders::None || !self.trusts(peer.to_canonical()) {
            return None;
        }
        let country = single(headers, &CF_IPCOUNTRY)?.trim().to_ascii_uppercase();
        // `XX` is unknown, and `T1` the Tor network.
        let is_country =
            country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase()) && country != "XX";
        let name = |header: HeaderName| {
            single(headers, &header).and_then(|name| text::clean(&name, PARAMETER_CHARS_MAX))
        };
        is_country.then(|| ToldPlace { country, region: name(CF_REGION), city: name(CF_IPCITY) })
    }
}

/// Where a proxy says a client is.
pub(crate) struct ToldPlace {
    country: String,
    region: Option<String>,
    city: Option<String>,
}

impl ToldPlace {
    /// Replaces the place whole: a city of the database beside another country's name would be nobody's word.
    pub(crate) fn put_into(&self, client: &mut Client) {
        client.country = Some(self.country.clone());
        client.region.clone_from(&self.region);
        client.city.clone_from(&self.city);
    }
}

/// A header that is there once; what is there twice was written by two, and nobody knows by whom.
fn single(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    values.next().is_none().then(|| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Every hop of every line in the order in which proxies wrote them; `None` stands for what cannot be read.
fn hops(
    headers: &HeaderMap,
    name: &HeaderName,
    line: fn(&str) -> Vec<Option<IpAddr>>,
) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(name);
    lines.flat_map(|value| value.to_str().map_or_else(|_not_text| vec![None], line)).collect()
}

fn x_forwarded_for(line: &str) -> Vec<Option<IpAddr>> {
    line.split(',').map(|hop| address(hop.trim())).collect()
}

fn forwarded(line: &str) -> Vec<Option<IpAddr>> {
    let Some(elements) = elements(line) else { return vec![None] };
    let hop = |pairs: Vec<(String, String)>| {
        let mut nodes = pairs.into_iter().filter(|(name, _value)| name == "for");
        let node = nodes.next()?.1;
        nodes.next().is_none().then(|| address(&node)).flatten()
    };
    elements.into_iter().map(hop).collect()
}

/// The elements of a `Forwarded` line, each its pairs with names in lower case (RFC 7239, section 4). `None` when a
/// quotation does not end: where an element ends is then anybody's guess, and the client's to arrange.
fn elements(line: &str) -> Option<Vec<Vec<(String, String)>>> {
    let (mut elements, mut pairs, mut pair) = (Vec::new(), Vec::new(), String::new());
    let (mut is_quoted, mut is_escaped) = (false, false);
    let read = |pair: &mut String| {
        let text = std::mem::take(pair);
        let (name, value) = text.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    for c in line.chars() {
        match c {
            _ if is_escaped => {
                is_escaped = false;
                pair.push(c);
            }
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ';' if !is_quoted => pairs.extend(read(&mut pair)),
            ',' if !is_quoted => {
                pairs.extend(read(&mut pair));
                elements.push(std::mem::take(&mut pairs));
            }
            other => pair.push(other),
        }
    }
    if is_quoted {
        return None;
    }
    pairs.extend(read(&mut pair));
    elements.push(pairs);
    Some(elements)
}

/// An address, alone or with a port; an IPv6 address with a port is in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bracketed.unwrap_or(text).parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn behind(address_header: AddressHeader) -> Proxies {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap()).into();
        Proxies { trusted, address_header, ..Proxies::default() }
    }

    fn client(proxies: &Proxies, peer: &str, lines: &[(&str, &str)]) -> String {
        proxies.client(peer.parse().unwrap(), &headers(lines)).to_string()
    }

    #[test]
    fn x_forwarded_for_is_read_from_the_right_up_to_the_first_that_is_not_trusted() {
        let proxies = behind(AddressHeader::XForwardedFor);
        for (peer, lines, wanted) in [
            ("10.0.0.1", &["203.0.113.9"][..], "203.0.113.9"),
            ("10.0.0.1", &["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["6.6.6.6, 203.0.113.9, 10.0.0.7"], "203.0.113.9"),
            ("10.0.0.1", &["6.6.6.6", "203.0.113.9, 10.0.0.7"], "203.0.113.9"),
            ("10.0.0.1", &["10.0.0.8,10.0.0.7"], "10.0.0.8"),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", &["[2a00::1]:4711"], "2a00::1"),
            ("10.0.0.1", &["2a00::1"], "2a00::1"),
            ("10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("2001:db8::1", &["203.0.113.9"], "203.0.113.9"),
            // What cannot be read ends the walk at whoever passed it on.
            ("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, nonsense, 10.0.0.7"], "10.0.0.7"),
            ("10.0.0.1", &["203.0.113.9,"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, \u{e4}"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            // Nobody believes a stranger.
            ("203.0.113.50", &["6.6.6.6"], "203.0.113.50"),
            ("203.0.113.50", &["10.0.0.1"], "203.0.113.50"),
            ("::ffff:203.0.113.50", &["6.6.6.6"], "203.0.113.50"),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            assert_eq!(client(&proxies, peer, &lines), wanted, "{peer} {lines:?}");
            let others =
                [("forwarded", "for=6.6.6.7"), ("cf-connecting-ip", "6.6.6.7"), ("x-real-ip", "6.6.6.7")];
            let forged: Vec<_> = lines.iter().copied().chain(others).collect();
            assert_eq!(client(&proxies, peer, &forged), wanted, "{peer} {forged:?}");
            assert_eq!(client(&Proxies::default(), "203.0.113.50", &forged), "203.0.113.50");
        }
    }

    #[test]
    fn a_proxy_is_overlooked_only_where_one_can_stand() {
        let sent = [("x-forwarded-for", "203.0.113.9")];
        let overlooks = |proxies: &Proxies, peer: &str, sent: &[(&'static str, &str)]| {
            proxies.overlooks_one(peer.parse().unwrap(), &headers(sent))
        };
        assert!(overlooks(&Proxies::default(), "127.0.0.1", &sent));
        assert!(overlooks(&Proxies::default(), "::ffff:172.17.0.1", &sent));
        assert!(overlooks(&Proxies::default(), "10.0.0.1", &[("forwarded", "for=203.0.113.9")]));
        assert!(!overlooks(&Proxies::default(), "203.0.113.50", &sent), "anybody can write a header");
        assert!(!overlooks(&Proxies::default(), "127.0.0.1", &[]));
        assert!(!overlooks(&behind(AddressHeader::XForwardedFor), "127.0.0.1", &sent));
    }

    #[test]
    fn only_who_asks_from_a_private_network_himself_is_local() {
        let trusting = behind(AddressHeader::XForwardedFor);
        let none = Proxies::default();
        for (proxies, peer, sent, wanted) in [
            (&none, "127.0.0.1", &[][..], true),
            (&none, "::1", &[], true),
            (&none, "::ffff:127.0.0.1", &[], true),
            (&none, "192.168.1.2", &[], true),
            (&none, "172.31.0.1", &[], true),
            (&none, "169.254.1.1", &[], true),
            (&none, "fd00::1", &[], true),
            (&none, "fe80::1", &[], true),
            (&none, "203.0.113.9", &[], false),
            (&none, "172.32.0.1", &[], false),
            (&none, "100.64.0.1", &[], false),
            (&none, "2a00::1", &[], false),
            // Somebody passes on the request of another, and nobody is trusted to say whose.
            (&none, "127.0.0.1", &[("x-forwarded-for", "127.0.0.1")], false),
            (&none, "127.0.0.1", &[("forwarded", "for=127.0.0.1")], false),
            (&none, "127.0.0.1", &[("x-real-ip", "127.0.0.1")], false),
            (&none, "127.0.0.1", &[("via", "1.1 proxy")], false),
            (&none, "203.0.113.9", &[("x-forwarded-for", "127.0.0.1")], false),
            (&trusting, "10.0.0.1", &[("x-forwarded-for", "203.0.113.9")], false),
            (&trusting, "10.0.0.1", &[("x-forwarded-for", "127.0.0.1, 203.0.113.9")], false),
            (&trusting, "10.0.0.1", &[("x-forwarded-for", "192.168.1.2")], true),
            (&trusting, "10.0.0.1", &[("x-forwarded-for", "unknown")], false),
            (&trusting, "10.0.0.1", &[("forwarded", "for=127.0.0.1")], false),
            (&trusting, "10.0.0.1", &[], true),
            (&trusting, "203.0.113.9", &[("x-forwarded-for", "127.0.0.1")], false),
        ] {
            assert_eq!(proxies.is_local(peer.parse().unwrap(), &headers(sent)), wanted, "{peer} {sent:?}");
        }
    }

    #[test]
    fn forwarded_is_read_by_its_grammar() {
        let proxies = behind(AddressHeader::Forwarded);
        for (lines, wanted) in [
            (&["for=203.0.113.9"][..], "203.0.113.9"),
            (&["For=\"[2a00::1]:4711\";proto=https;by=10.0.0.9"], "2a00::1"),
            (&["for=6.6.6.6, for=\"203.0.113.9:80\";host=a.example, for=10.0.0.7"], "203.0.113.9"),
            (&["for=6.6.6.6", "for=203.0.113.9"], "203.0.113.9"),
            (&["for=\"a, for=6.6.6.6;x=\", for=203.0.113.9"], "203.0.113.9"),
            (&["for=_hidden, for=10.0.0.7"], "10.0.0.7"),
            (&["for=unknown"], "10.0.0.1"),
            (&["for=6.6.6.6;x=\", for=203.0.113.9"], "10.0.0.1"),
            (&["for=6.6.6.6;for=6.6.6.7"], "10.0.0.1"),
            (&["proto=https"], "10.0.0.1"),
            (&["\"\\\""], "10.0.0.1"),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
            assert_eq!(client(&proxies, "10.0.0.1", &lines), wanted, "{lines:?}");
            assert_eq!(client(&proxies, "203.0.113.50", &lines), "203.0.113.50", "{lines:?}");
        }
    }

    #[test]
    fn cloudflares_address_counts_once_and_from_its_proxies_only() {
        let proxies = behind(AddressHeader::CfConnectingIp);
        let name = "cf-connecting-ip";
        assert_eq!(client(&proxies, "10.0.0.1", &[(name, "203.0.113.9")]), "203.0.113.9");
        assert_eq!(client(&proxies, "10.0.0.1", &[(name, "203.0.113.9"), (name, "6.6.6.6")]), "10.0.0.1");
        assert_eq!(client(&proxies, "10.0.0.1", &[(name, "203.0.113.9, 6.6.6.6")]), "10.0.0.1");
        assert_eq!(client(&proxies, "203.0.113.50", &[(name, "6.6.6.6")]), "203.0.113.50");
    }

    #[test]
    fn https_is_what_the_nearest_trusted_proxy_says() {
        let peer = "10.0.0.1".parse().unwrap();
        let stranger = "203.0.113.50".parse().unwrap();
        let plain = behind(AddressHeader::XForwardedFor);
        for (value, wanted) in [("https", true), ("HTTPS", true), ("http", false), ("https, http", false)] {
            let headers = headers(&[("x-forwarded-proto", value)]);
            assert_eq!(plain.is_https(peer, &headers), wanted, "{value}");
            assert!(!plain.is_https(stranger, &headers));
        }
        let forwarded = behind(AddressHeader::Forwarded);
        assert!(
            forwarded.is_https(
                peer,
                &headers(&[("forwarded", "for=6.6.6.6;proto=http, for=6.6.6.7;proto=https")])
            )
        );
        assert!(!forwarded.is_https(peer, &headers(&[("x-forwarded-proto", "https")])));
    }

    #[test]
    fn a_place_is_taken_whole_and_from_trusted_proxies_only() {
        let told = headers(&[("cf-ipcountry", "de"), ("cf-region", "Land Berlin"), ("cf-ipcity", "Berlin")]);
        let proxies =
            Proxies { place_headers: PlaceHeaders::Cloudflare, ..behind(AddressHeader::CfConnectingIp) };
        let before = Client { country: Some("FR".into()), city: Some("Lyon".into()), ..Client::default() };
        let located = |proxies: &Proxies, peer: &str, headers: &HeaderMap| {
            let mut client = before.clone();
            if let Some(place) = proxies.place(peer.parse().unwrap(), headers) {
                place.put_into(&mut client);
            }
            [client.country, client.region, client.city].map(Option::unwrap_or_default)
        };
        assert_eq!(located(&proxies, "10.0.0.1", &told), ["DE", "Land Berlin", "Berlin"]);
        assert_eq!(located(&proxies, "203.0.113.50", &told), ["FR", "", "Lyon"]);
        assert_eq!(located(&behind(AddressHeader::CfConnectingIp), "10.0.0.1", &told), ["FR", "", "Lyon"]);
        for unknown in ["XX", "T1", "", "DEU", "D\u{c9}"] {
            let told = headers(&[("cf-ipcountry", unknown), ("cf-ipcity", "Berlin")]);
            assert_eq!(located(&proxies, "10.0.0.1", &told), ["FR", "", "Lyon"], "{unknown}");
        }
        let twice = headers(&[("cf-ipcountry", "DE"), ("cf-ipcountry", "US")]);
        assert_eq!(located(&proxies, "10.0.0.1", &twice), ["FR", "", "Lyon"]);
    }
}
