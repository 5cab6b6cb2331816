//! A small HTTP server for a test: one request per connection, and it remembers each.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case, in their order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(of, _value)| of == name).map(|(_name, value)| value.as_str())
    }

    fn read(stream: &TcpStream) -> Result<Self> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = || {
            let mut line = String::new();
            reader.read_line(&mut line).map(|_bytes| line.trim_end().to_owned())
        };
        let first = line()?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, target) = words.next().zip(words.next()).context("no request line")?;
        let mut headers = Vec::new();
        while let Some((name, value)) = line()?.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Self { method, target, headers, body: String::new() };
        let length = request.header("content-length").map_or(Ok(0), str::parse)?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        request.body = String::from_utf8_lossy(&body).into_owned();
        Ok(request)
    }
}

/// An answer, as it goes over the wire; empty where the connection is closed without one.
pub(crate) struct Response(pub(crate) Vec<u8>);

impl Response {
    /// An answer with these headers and the length of its body.
    pub(crate) fn new(status: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut text =
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        Self((text + "\r\n" + body).into_bytes())
    }
}

/// What was asked for so far, and what is still being answered.
#[derive(Default)]
struct Log {
    requests: Vec<Request>,
    answered: usize,
}

/// A server that listens until the tests end.
pub(crate) struct Server {
    port: u16,
    log: Arc<(Mutex<Log>, Condvar)>,
}

impl Server {
    /// Answers each request as `answer` says, which is given the connection to see whether somebody still waits.
    pub(crate) fn start(
        answer: impl Fn(&Request, &TcpStream) -> Response + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let log = Arc::new((Mutex::new(Log::default()), Condvar::new()));
        let (answer, shared) = (Arc::new(answer), Arc::clone(&log));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&shared));
                // A browser opens connections ahead that it may never use.
                std::thread::spawn(move || {
                    let request = Request::read(&stream)?;
                    lock(&log.0).requests.push(request.clone());
                    let written = stream.write_all(&answer(&request, &stream).0);
                    lock(&log.0).answered += 1;
                    log.1.notify_all();
                    anyhow::Ok(written?)
                });
            }
        });
        Ok(Self { port, log })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Every request so far, in the order of arrival.
    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.log.0).requests.clone()
    }

    /// Waits until more than `count` requests are answered, for a while. Answers how many are.
    pub(crate) fn answered(&self, count: usize, at_most: Duration) -> usize {
        let is_waited_for = |log: &mut Log| log.answered <= count;
        let waited = self.log.1.wait_timeout_while(lock(&self.log.0), at_most, is_waited_for);
        waited.unwrap_or_else(PoisonError::into_inner).0.answered
    }

    /// Whether every request was answered.
    pub(crate) fn is_idle(&self) -> bool {
        let log = lock(&self.log.0);
        log.answered == log.requests.len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
