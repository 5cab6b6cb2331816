//! A client that knows which of its requests were answered.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take before the connection counts as broken.
const ANSWER_AT_MOST: Duration = Duration::from_secs(30);

/// What comes without a browser's name is dropped as a bot's.
pub(crate) const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// One connection that is kept open.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// JSON, or null where the answer is something else.
    pub(crate) body: Value,
    /// The answer as it is.
    pub(crate) text: String,
    /// Whether the service closes the connection now.
    pub(crate) closes: bool,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_AT_MOST))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends an event and reads the answer.
    pub(crate) fn track(&mut self, event: &str) -> io::Result<Reply> {
        self.send(event)?;
        self.reply()
    }

    /// Sends an event and leaves the answer where it is.
    pub(crate) fn send(&mut self, event: &str) -> io::Result<()> {
        let head = "POST /api/track HTTP/1.1\r\nHost: track.example\r\nContent-Type: application/json";
        let request =
            format!("{head}\r\nUser-Agent: {BROWSER}\r\nContent-Length: {}\r\n\r\n{event}", event.len());
        self.stream.get_mut().write_all(request.as_bytes())
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Reply> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: track.example\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.reply()
    }

    /// Sends a request as it is written, and reads the answer.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> io::Result<Reply> {
        self.stream.get_mut().write_all(request)?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| malformed(&status_line))?;
        let (mut length, mut closes) = (0, false);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    length = value.trim().parse().map_err(|_not_a_number| malformed(&line))?;
                }
                "connection" => closes = value.trim().eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Reply { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null), text, closes })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

fn malformed(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, line.to_owned())
}
