use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use rustls::crypto::{CryptoProvider, ring};
use secrecy::ExposeSecret;
use url::Host;

use crate::destination::{Destination, Reach};
use crate::request::{Method, Request, Response};

/// What every request is held to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboundSettings {
    /// How long a connection may take to stand, TLS included.
    pub connect_timeout: Duration,
    /// How long a request may take from its start to the end of the answer's body.
    pub timeout: Duration,
    /// The longest body taken.
    pub body_bytes_max: usize,
    /// What the `User-Agent` header says.
    pub user_agent: String,
}

impl Default for OutboundSettings {
    /// 2 s, 5 s, 1 MiB, and `leadtrail/` with the version.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
            body_bytes_max: 1024 * 1024,
            user_agent: concat!("leadtrail/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// No connection came about: nothing was sent.
    #[error("cannot connect to {host}")]
    Connect {
        /// The host, with its port.
        host: String,
        /// What failed.
        source: reqwest::Error,
    },
    /// The host's addresses are none that the destination may reach: nothing was sent.
    #[error("{host} has no address that may be reached")]
    Refused {
        /// The host, with its port.
        host: String,
    },
    /// The answer took too long; whether the request was carried out is unknown.
    #[error("no answer from {host} in time")]
    Timeout {
        /// The host, with its port.
        host: String,
    },
    /// The connection broke; whether the request was carried out is unknown.
    #[error("the exchange with {host} broke off")]
    Broken {
        /// The host, with its port.
        host: String,
        /// What failed.
        source: reqwest::Error,
    },
    /// The body is longer than the cap.
    #[error("the answer of {host} is longer than {bytes_max} bytes")]
    TooLong {
        /// The host, with its port.
        host: String,
        /// The cap.
        bytes_max: usize,
    },
    /// No request of this kind can be made on this machine.
    #[error(
        "https is out of order on this machine (are its root certificates installed, package `ca-certificates`?)"
    )]
    Tls {
        /// What failed.
        source: Arc<reqwest::Error>,
    },
    /// A header's value holds characters that no header may.
    #[error("the value of the header `{name}` is not one a header can have")]
    Header {
        /// The header.
        name: &'static str,
    },
}

impl OutboundError {
    /// Whether it is certain that the other side did nothing.
    pub fn nothing_was_sent(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Refused { .. } | Self::Tls { .. } | Self::Header { .. } => true,
            Self::Timeout { .. } | Self::Broken { .. } | Self::TooLong { .. } => false,
        }
    }
}

/// The client. Keeps connections open between requests; one is enough for a process.
pub struct Outbound {
    settings: OutboundSettings,
    // Made when first needed: a machine without root certificates can still talk to itself.
    resolver: Arc<dyn Resolve>,
    anywhere: OnceLock<Result<reqwest::Client, Arc<reqwest::Error>>>,
    loopback: OnceLock<Result<reqwest::Client, Arc<reqwest::Error>>>,
    public: OnceLock<Result<reqwest::Client, Arc<reqwest::Error>>>,
}

impl Outbound {
    /// A client; nothing is opened yet.
    pub fn new(settings: &OutboundSettings) -> Self {
        Self::resolving(settings, Arc::new(System))
    }

    fn resolving(settings: &OutboundSettings, resolver: Arc<dyn Resolve>) -> Self {
        Self {
            settings: settings.clone(),
            resolver,
            anywhere: OnceLock::new(),
            loopback: OnceLock::new(),
            public: OnceLock::new(),
        }
    }

    /// Sends a request and reads the whole answer. An answer of any status is an answer.
    ///
    /// # Errors
    /// As [`OutboundError`] says.
    #[tracing::instrument(name = "outbound.request.send", skip_all, fields(server.host = request.to.authority()))]
    pub async fn send(&self, request: Request) -> Result<Response, OutboundError> {
        let Request { method, to, headers, body } = request;
        let host = to.authority().to_owned();
        if !literal_address_is_within_reach(&to) {
            return Err(OutboundError::Refused { host });
        }
        let mut sent = self.client(to.reach())?.request(method.into(), to.url().clone());
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value.expose_secret())
                .map_err(|_value_of_a_secret| OutboundError::Header { name })?;
            value.set_sensitive(true);
            sent = sent.header(name, value);
        }
        if let Some(body) = body {
            sent = sent.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body);
        }
        let mut answer = sent.send().await.map_err(|error| failure(&host, error))?;
        let bytes_max = self.settings.body_bytes_max;
        let too_long = |length: u64| usize::try_from(length).map_or(true, |length| length > bytes_max);
        if answer.content_length().is_some_and(too_long) {
            return Err(OutboundError::TooLong { host, bytes_max });
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| failure(&host, error))? {
            if body.len() + chunk.len() > bytes_max {
                return Err(OutboundError::TooLong { host, bytes_max });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status: answer.status().as_u16(), body, headers: answer.headers().clone() })
    }

    fn client(&self, reach: Reach) -> Result<&reqwest::Client, OutboundError> {
        let slot = match reach {
            Reach::Anywhere => &self.anywhere,
            Reach::Loopback => &self.loopback,
            Reach::Public => &self.public,
        };
        slot.get_or_init(|| self.settings.build(reach, Arc::clone(&self.resolver)).map_err(Arc::new))
            .as_ref()
            .map_err(|source| OutboundError::Tls { source: Arc::clone(source) })
    }
}

impl OutboundSettings {
    fn build(&self, reach: Reach, resolver: Arc<dyn Resolve>) -> reqwest::Result<reqwest::Client> {
        if CryptoProvider::get_default().is_none() {
            // Err means that somebody else was first, which is as good.
            let _installed = ring::default_provider().install_default().is_ok();
        }
        let builder = reqwest::Client::builder()
            .connect_timeout(self.connect_timeout)
            .timeout(self.timeout)
            .user_agent(self.user_agent.as_str())
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(WithinReach { reach, resolver });
        match reach {
            // Only http goes there, so no root certificates are loaded.
            Reach::Loopback => builder.tls_certs_only([]).build(),
            Reach::Anywhere | Reach::Public => builder.https_only(true).build(),
        }
    }
}

/// The system's resolver.
struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Addrs = Box::new(found.collect::<Vec<_>>().into_iter());
            Ok(addresses)
        })
    }
}

/// A resolver, less the addresses out of reach. It answers each connect, so a name that points elsewhere by then does
/// not get past it.
struct WithinReach {
    reach: Reach,
    resolver: Arc<dyn Resolve>,
}

impl Resolve for WithinReach {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.reach;
        let asked = self.resolver.resolve(name);
        Box::pin(async move {
            let found = asked.await?;
            let within: Vec<SocketAddr> = found.filter(|address| reach.takes(address.ip())).collect();
            if within.is_empty() {
                return Err(OutOfReach.into());
            }
            let addresses: Addrs = Box::new(within.into_iter());
            Ok(addresses)
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no address within reach")]
struct OutOfReach;

/// An address written in a URL is connected to without asking a resolver.
fn literal_address_is_within_reach(to: &Destination) -> bool {
    match to.url().host() {
        Some(Host::Ipv4(v4)) => to.reach().takes(v4.into()),
        Some(Host::Ipv6(v6)) => to.reach().takes(v6.into()),
        Some(Host::Domain(_)) | None => true,
    }
}

fn failure(host: &str, error: reqwest::Error) -> OutboundError {
    let source = error.without_url();
    let host = host.to_owned();
    if is_out_of_reach(&source) {
        OutboundError::Refused { host }
    } else if source.is_connect() {
        OutboundError::Connect { host, source }
    } else if source.is_timeout() {
        OutboundError::Timeout { host }
    } else {
        OutboundError::Broken { host, source }
    }
}

fn is_out_of_reach(error: &reqwest::Error) -> bool {
    let error: &dyn std::error::Error = error;
    std::iter::successors(Some(error), |error| error.source()).any(<dyn std::error::Error>::is::<OutOfReach>)
}

impl From<Method> for reqwest::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::GET,
            Method::Post => Self::POST,
            Method::Patch => Self::PATCH,
        }
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, TcpListener};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A name server whose answers change from one to the next.
    struct Rebinding {
        answers: Vec<Vec<IpAddr>>,
        asked: AtomicUsize,
    }

    impl Rebinding {
        fn answering(answers: &[&[&str]]) -> Arc<Self> {
            let answers = answers.iter().map(|one| one.iter().map(|ip| ip.parse().unwrap()).collect());
            Arc::new(Self { answers: answers.collect(), asked: AtomicUsize::new(0) })
        }
    }

    impl Resolve for Rebinding {
        fn resolve(&self, _name: Name) -> Resolving {
            let nth = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
            let answer: Vec<_> = self.answers[nth].iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
            Box::pin(async move {
                let addresses: Addrs = Box::new(answer.into_iter());
                Ok(addresses)
            })
        }
    }

    #[tokio::test]
    async fn a_name_that_points_inwards_by_the_time_of_the_connect_is_not_connected_to() {
        let inside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        inside.set_nonblocking(true).unwrap();
        let port = inside.local_addr().unwrap().port();
        // Whoever checked the name beforehand saw the first answer.
        let names =
            Rebinding::answering(&[&["8.8.8.8"], &["127.0.0.1"], &["::ffff:127.0.0.1", "10.0.0.1"], &[]]);
        let name = "rebound.example".parse::<Name>().unwrap();
        assert_eq!(names.resolve(name).await.unwrap().count(), 1);
        let outbound = Outbound::resolving(&OutboundSettings::default(), names.clone());
        for asked in 2..=4 {
            let to = Destination::of_client(&format!("https://rebound.example:{port}/hook")).unwrap();
            let error = outbound.send(Request::get(to)).await.unwrap_err();
            assert!(matches!(error, OutboundError::Refused { .. }), "{error:?}");
            assert!(error.nothing_was_sent());
            assert_eq!(names.asked.load(Ordering::SeqCst), asked);
        }
        assert_eq!(inside.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn of_a_names_addresses_only_those_within_reach_are_left() {
        let mixed =
            ["127.0.0.1", "8.8.8.8", "169.254.169.254", "64:ff9b::7f00:1", "2606:4700::1111", "100.64.0.1"];
        for (reach, left) in
            [(Reach::Public, &["8.8.8.8", "2606:4700::1111"][..]), (Reach::Loopback, &["127.0.0.1"])]
        {
            let within = WithinReach { reach, resolver: Rebinding::answering(&[&mixed]) };
            let found = within.resolve("mixed.example".parse().unwrap()).await.unwrap();
            assert_eq!(found.map(|at| at.ip().to_string()).collect::<Vec<_>>(), left);
        }
    }

    #[tokio::test]
    async fn a_name_that_turns_out_to_be_this_machine_is_out_of_reach_where_only_public_addresses_are_within()
    {
        let localhost = || "localhost".parse::<Name>().unwrap();
        let of_system = |reach| WithinReach { reach, resolver: Arc::new(System) };
        let Err(error) = of_system(Reach::Public).resolve(localhost()).await else {
            panic!("an address came out")
        };
        assert!(error.is::<OutOfReach>());
        assert!(
            of_system(Reach::Loopback).resolve(localhost()).await.unwrap().all(|at| at.ip().is_loopback())
        );
    }
}
