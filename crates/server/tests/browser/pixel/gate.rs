//! What stands between the pages and the service: it sees what leaves the browser, and can be out of order.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};

use super::web::{Request, Response, Server};

/// How the service does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Health {
    Well,
    /// Events are answered so, in the service's place.
    Answers(&'static str),
    /// Events get no answer: the connection is closed.
    HangsUp,
}

/// The way to the service for one site.
pub(crate) struct Gate {
    server: Server,
    health: Arc<Mutex<Health>>,
}

impl Gate {
    pub(crate) fn start(service: SocketAddr) -> Result<Self> {
        let health = Arc::new(Mutex::new(Health::Well));
        let shared = Arc::clone(&health);
        let server = Server::start(move |request| {
            let health = *shared.lock().unwrap_or_else(PoisonError::into_inner);
            match health {
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
                Health::Well | Health::Answers(_) | Health::HangsUp => {
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
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    /// Every request for anything so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// The requests that carry events.
    pub(crate) fn events(&self) -> Vec<Request> {
        self.requests().into_iter().filter(is_event).collect()
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
