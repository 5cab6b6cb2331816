use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use crate::address::is_public;

/// Where a request may go.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    url: Url,
    reach: Reach,
}

/// Which addresses a destination's host may have at the moment of connecting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// Any.
    Anywhere,
    /// Those of this machine.
    Loopback,
    /// Those of the public internet.
    Public,
}

impl Reach {
    pub(crate) fn takes(self, address: IpAddr) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Loopback => address.is_loopback(),
            Self::Public => is_public(address),
        }
    }
}

/// Why a text is not a destination.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DestinationError {
    /// It cannot be read as a URL with a host.
    #[error("not a URL with a host")]
    NotUrl,
    /// Names and passwords in a URL end up in logs.
    #[error("the URL holds a user name or a password")]
    Credentials,
    /// Another scheme than https, or http that would leave this machine.
    #[error(
        "the URL must begin with https:// (or http:// on 127.0.0.1, [::1] or localhost where an operator sets it)"
    )]
    Scheme,
    /// The address is not one of the public internet.
    #[error("the URL's address is not public")]
    NotPublic,
}

impl Destination {
    /// A URL that the operator of the service wrote into its settings: https, or http on this machine. A fragment is
    /// left out.
    ///
    /// # Errors
    /// As [`DestinationError`] says.
    pub fn of_operator(text: &str) -> Result<Self, DestinationError> {
        let url = read(text)?;
        let reach = match (url.scheme(), url.host()) {
            ("https", _) => Reach::Anywhere,
            ("http", Some(Host::Domain("localhost"))) => Reach::Loopback,
            ("http", Some(Host::Ipv4(v4))) if v4.is_loopback() => Reach::Loopback,
            ("http", Some(Host::Ipv6(v6))) if v6.is_loopback() => Reach::Loopback,
            _ => return Err(DestinationError::Scheme),
        };
        Ok(Self { url, reach })
    }

    /// A URL that came from anybody else, such as a client of the API: https to a public address.
    ///
    /// # Errors
    /// As [`DestinationError`] says.
    pub fn of_client(text: &str) -> Result<Self, DestinationError> {
        let url = read(text)?;
        if url.scheme() != "https" {
            return Err(DestinationError::Scheme);
        }
        let public = match url.host() {
            Some(Host::Ipv4(v4)) => is_public(v4.into()),
            Some(Host::Ipv6(v6)) => is_public(v6.into()),
            Some(Host::Domain(_)) | None => true,
        };
        if public { Ok(Self { url, reach: Reach::Public }) } else { Err(DestinationError::NotPublic) }
    }

    /// The place so many path segments further down; each is percent-encoded as one segment.
    #[must_use]
    pub fn below<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Self {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        Self { url, reach: self.reach }
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The host, with the port where it is not the scheme's own: what logs and errors may show.
    pub fn authority(&self) -> &str {
        self.url.authority()
    }

    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }

    pub(crate) fn add_query(&mut self, name: &str, value: &str) {
        self.url.query_pairs_mut().append_pair(name, value);
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Destination({}://{}…)", self.url.scheme(), self.authority())
    }
}

fn read(text: &str) -> Result<Url, DestinationError> {
    let mut url = Url::parse(text.trim()).map_err(|_unreadable| DestinationError::NotUrl)?;
    if !url.has_host() {
        return Err(DestinationError::NotUrl);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(DestinationError::Credentials);
    }
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_may_name_any_https_host_and_http_on_this_machine() {
        for (url, verdict) in [
            ("https://crm.example/api", Ok(Reach::Anywhere)),
            ("https://10.0.0.5:8443/", Ok(Reach::Anywhere)),
            ("http://127.0.0.1:9000/", Ok(Reach::Loopback)),
            ("http://[::1]/", Ok(Reach::Loopback)),
            ("http://LOCALHOST/", Ok(Reach::Loopback)),
            ("http://crm.example/", Err(DestinationError::Scheme)),
            ("http://localhost.example/", Err(DestinationError::Scheme)),
            ("http://10.0.0.5/", Err(DestinationError::Scheme)),
            ("ftp://crm.example/", Err(DestinationError::Scheme)),
            ("https://user:pass@crm.example/", Err(DestinationError::Credentials)),
            ("https://user@crm.example/", Err(DestinationError::Credentials)),
            ("crm.example", Err(DestinationError::NotUrl)),
            ("file:///etc/passwd", Err(DestinationError::NotUrl)),
            ("https://", Err(DestinationError::NotUrl)),
        ] {
            assert_eq!(Destination::of_operator(url).map(|d| d.reach()), verdict, "{url}");
        }
    }

    #[test]
    fn a_client_may_name_public_https_hosts_only_however_the_address_is_spelt() {
        for (url, verdict) in [
            ("https://hooks.example/x", Ok(Reach::Public)),
            ("https://8.8.8.8/", Ok(Reach::Public)),
            ("http://hooks.example/", Err(DestinationError::Scheme)),
            ("http://127.0.0.1/", Err(DestinationError::Scheme)),
            ("https://127.0.0.1/", Err(DestinationError::NotPublic)),
            ("https://2130706433/", Err(DestinationError::NotPublic)),
            ("https://0x7f.1/", Err(DestinationError::NotPublic)),
            ("https://0177.0.0.1/", Err(DestinationError::NotPublic)),
            ("https://0/", Err(DestinationError::NotPublic)),
            ("https://169.254.169.254/latest", Err(DestinationError::NotPublic)),
            ("https://[::ffff:127.0.0.1]/", Err(DestinationError::NotPublic)),
            ("https://[::1]/", Err(DestinationError::NotPublic)),
            ("https://[fd00::1]/", Err(DestinationError::NotPublic)),
        ] {
            assert_eq!(Destination::of_client(url).map(|d| d.reach()), verdict, "{url}");
        }
    }

    #[test]
    fn a_segment_cannot_climb_out_of_its_place() {
        let base = Destination::of_operator("https://crm.example/api/v2/").unwrap();
        let below = base.below(["persons", "../../admin?x=1#y"]);
        assert_eq!(below.url().as_str(), "https://crm.example/api/v2/persons/..%2F..%2Fadmin%3Fx=1%23y");
        assert_eq!(base.below(["..", "x"]).url().path(), "/api/v2/x");
    }

    #[test]
    fn debug_shows_the_host_and_nothing_after_it() {
        let mut destination = Destination::of_operator("https://crm.example:8443/hook/secret").unwrap();
        destination.add_query("term", "jane@example.com");
        assert_eq!(format!("{destination:?}"), "Destination(https://crm.example:8443…)");
    }
}
