use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Once};
use std::thread::available_parallelism;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpRequest, HttpServer, web};
use tokio::sync::Semaphore;

use crate::collector::Collector;
use crate::connection::{self, Patience};
use crate::limits::{Client, Limiters};
use crate::measures::Measures;
use crate::sender::Sender;
use crate::{envelope, routes};

/// What every request is answered from.
pub(crate) struct State {
    pub(crate) collector: Collector,
    /// How often clients may still ask.
    pub(crate) limiters: Limiters,
    pub(crate) measures: Measures,
    /// Room for bodies larger than one event.
    pub(crate) large_bodies: Arc<Semaphore>,
    /// Done when a proxy that nobody trusts has been noticed.
    pub(crate) proxy_overlooked: Once,
}

impl State {
    /// Who sent a request.
    pub(crate) fn sender<'a>(&self, request: &'a HttpRequest) -> Sender<'a> {
        let proxies = &self.collector.settings.proxies;
        let peer = request.peer_addr();
        if peer.is_some_and(|peer| proxies.overlooks_one(peer.ip(), request.headers())) {
            self.proxy_overlooked.call_once(|| {
                tracing::warn!(
                    "a request came with X-Forwarded-For or Forwarded and no proxy is trusted: if one is in front, \
                     all visitors have its one address; list it in http.trusted_proxies"
                );
            });
        }
        Sender::of(request, proxies)
    }

    /// Whose request it is, by its address.
    pub(crate) fn client(&self, request: &HttpRequest) -> Client {
        let address = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        self.collector.settings.proxies.client(address, request.headers()).into()
    }

    /// Whether the client came over https: the service is reached by no other way, or a trusted proxy says so.
    pub(crate) fn is_https(&self, request: &HttpRequest) -> bool {
        let settings = &self.collector.settings;
        settings.is_https()
            || request.peer_addr().is_some_and(|peer| settings.proxies.is_https(peer.ip(), request.headers()))
    }
}

/// Binds `address` (port 0: any free one) and makes the server, which answers once it is awaited. Answers where it
/// listens.
///
/// It listens to no signals. `server.handle().stop(true)` closes the listener, answers what is under way with
/// `Connection: close` and ends the server, within [`shutdown_timeout`](crate::HttpSettings::shutdown_timeout) and a
/// second.
///
/// # Errors
/// The address cannot be bound.
pub fn listen(collector: Collector, address: SocketAddr) -> io::Result<(SocketAddr, Server)> {
    let settings = collector.settings.clone();
    let large_bodies = Arc::new(Semaphore::new(settings.large_bodies_max));
    let demo_site = settings.demo_site;
    let state = web::Data::new(State {
        limiters: Limiters::new(&settings.limits),
        collector,
        measures: Measures::new(),
        large_bodies,
        proxy_overlooked: Once::new(),
    });
    let patience =
        Patience { next_head: settings.keep_alive + settings.head_timeout, reading: settings.read_timeout };
    let workers = settings.workers.or_else(|| available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::clone(&state))
            .wrap(from_fn(envelope::stamp))
            .configure(|config| routes::register(config, demo_site))
    })
    .on_connect(move |stream, data| connection::watch(stream, data, patience))
    .workers(workers.get())
    .max_connections((settings.connections_max / workers).max(1))
    .client_request_timeout(settings.head_timeout)
    .keep_alive(settings.keep_alive)
    .shutdown_timeout(settings.shutdown_timeout.as_secs())
    .disable_signals()
    .bind(address)?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    Ok((bound, server.run()))
}
