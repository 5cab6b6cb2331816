//! What stands between the pages and the service: it sees what leaves the browser, and can be out of order.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::web::{Request, Response, Server};
use crate::process::PATIENCE;

/// How the service does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Health {
    Well,
    /// Events are answered so, in the service's place.
    Answers(&'static str),
    /// Events get no answer: the connection is closed.
    HangsUp,
    /// Events get through when it is something else again, unless their sender has given up by then.
    HoldsBack,
}

/// The way to the service for one site.
pub(crate) struct Gate {
    server: Server,
    health: Arc<(Mutex<Health>, Condvar)>,
}

impl Gate {
    pub(crate) fn start(service: SocketAddr) -> Result<Self> {
        let health = Arc::new((Mutex::new(Health::Well), Condvar::new()));
        let shared = Arc::clone(&health);
        let server = Server::start(move |request, connection| {
            let (health, changed) = &*shared;
            let health = health.lock().unwrap_or_else(PoisonError::into_inner);
            let is_held = |health: &mut Health| *health == Health::HoldsBack && is_event(request);
            let waited = changed.wait_timeout_while(health, PATIENCE, is_held);
            let health = *waited.unwrap_or_else(PoisonError::into_inner).0;
            match health {
                _ if has_hung_up(connection) => Response(Vec::new()),
                Health::Answers(status) if is_event(request) => {
                    // As the service itself refuses: so that the page can read the status.
                    let origin = request.header("origin").unwrap_or("*");
                    let readable = [
                        ("Access-Control-Allow-Origin", origin),
                        ("Access-Control-Allow-Credentials", "true"),
                        ("Vary", "Origin"),
                    ];
                    Response::new(status, &readable, "")
                }
                Health::HangsUp if is_event(request) => Response(Vec::new()),
                Health::Well | Health::Answers(_) | Health::HangsUp | Health::HoldsBack => {
                    forward(service, request).unwrap_or_else(|_gone| Response(Vec::new()))
                }
            }
        })?;
        Ok(Self { server, health })
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    pub(crate) fn set(&self, health: Health) {
        let (current, changed) = &*self.health;
        *current.lock().unwrap_or_else(PoisonError::into_inner) = health;
        changed.notify_all();
    }

    /// Every request for anything so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// The requests that carry events.
    pub(crate) fn events(&self) -> Vec<Request> {
        self.requests().into_iter().filter(is_event).collect()
    }

    /// As of the [`Server`].
    pub(crate) fn answered(&self, count: usize, at_most: Duration) -> usize {
        self.server.answered(count, at_most)
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.server.is_idle()
    }

    /// No browser asked for leave before it sent something.
    pub(crate) fn saw_no_preflight(&self) -> Result<()> {
        let asked: Vec<Request> =
            self.requests().into_iter().filter(|request| request.method == "OPTIONS").collect();
        ensure!(asked.is_empty(), "a preflight: {asked:#?}");
        Ok(())
    }
}

fn is_event(request: &Request) -> bool {
    request.path().starts_with("/api/track") && request.method == "POST"
}

/// Whether the other side has closed a connection that waits for an answer.
fn has_hung_up(connection: &TcpStream) -> bool {
    let looked = connection.set_nonblocking(true).and_then(|()| connection.peek(&mut [0]));
    // Whether it is blocking again shows when the answer is written.
    connection.set_nonblocking(false).is_err() || matches!(looked, Ok(0))
}

fn forward(service: SocketAddr, request: &Request) -> Result<Response> {
    let mut head = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", request.method, request.target);
    for (name, value) in request.headers.iter().filter(|(name, _value)| name != "connection") {
        head.extend([name, ": ", value, "\r\n"]);
    }
    let mut stream = TcpStream::connect(service)?;
    stream.write_all((head + "\r\n" + &request.body).as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(Response(answer))
}
