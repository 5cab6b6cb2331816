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
#[derive(Debug)]
pub struct Outbound {
    settings: OutboundSettings,
    // Made when first needed: a machine without root certificates can still talk to itself.
    anywhere: OnceLock<Result<reqwest::Client, Arc<reqwest::Error>>>,
    loopback: OnceLock<Result<reqwest::Client, Arc<reqwest::Error>>>,
    public: OnceLock<Result<reqwest::Client, Arc<reqwest::Error>>>,
}

impl Outbound {
    /// A client; nothing is opened yet.
    pub fn new(settings: &OutboundSettings) -> Self {
        Self {
            settings: settings.clone(),
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
        slot.get_or_init(|| self.settings.build(reach).map_err(Arc::new))
            .as_ref()
            .map_err(|source| OutboundError::Tls { source: Arc::clone(source) })
    }
}

impl OutboundSettings {
    fn build(&self, reach: Reach) -> reqwest::Result<reqwest::Client> {
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
            .dns_resolver(WithinReach(reach));
        match reach {
            // Only http goes there, so no root certificates are loaded.
            Reach::Loopback => builder.tls_certs_only([]).build(),
            Reach::Anywhere | Reach::Public => builder.https_only(true).build(),
        }
    }
}

/// The system's resolver, less the addresses out of reach. It answers each connect, so a name that points elsewhere
/// by then does not get past it.
struct WithinReach(Reach);

impl Resolve for WithinReach {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_turns_out_to_be_this_machine_is_out_of_reach_where_only_public_addresses_are_within()
    {
        let localhost = || "localhost".parse::<Name>().unwrap();
        let Err(error) = WithinReach(Reach::Public).resolve(localhost()).await else {
            panic!("an address came out")
        };
        assert!(error.is::<OutOfReach>());
        assert!(
            WithinReach(Reach::Loopback).resolve(localhost()).await.unwrap().all(|at| at.ip().is_loopback())
        );
    }
}
