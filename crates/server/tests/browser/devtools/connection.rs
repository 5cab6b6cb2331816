//! One page's connection: questions with answers, and the events in between.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

/// How long an answer may take; a promise that a test waits for is inside it.
const ANSWER_AT_MOST: Duration = Duration::from_secs(45);

/// What the page's events told so far.
#[derive(Default)]
pub(super) struct Seen {
    /// The loaders whose load event came.
    pub(super) loaded: BTreeSet<String>,
    pub(super) console: Vec<String>,
    pub(super) exceptions: Vec<String>,
    pub(super) dialogs: Vec<String>,
    /// Address and body of the requests that have a body.
    pub(super) sent: Vec<(String, String)>,
    /// The events of a recording.
    pub(super) recorded: Vec<Value>,
    /// Whether a recording is complete.
    pub(super) is_recorded: bool,
}

pub(super) struct Connection {
    socket: WebSocket<TcpStream>,
    last_id: u64,
    seen: Seen,
}

impl Connection {
    /// Connects to a target's `webSocketDebuggerUrl`.
    pub(super) fn open(url: &str) -> Result<Self> {
        let authority = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next());
        let authority = authority.with_context(|| format!("`{url}` is no WebSocket of this machine"))?;
        let stream = TcpStream::connect(authority).with_context(|| authority.to_owned())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_AT_MOST))?;
        let (socket, _response) =
            tungstenite::client(url, stream).map_err(|error| anyhow!("{url}: {error}"))?;
        Ok(Self { socket, last_id: 0, seen: Seen::default() })
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Asks and waits for the answer.
    pub(super) fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        let id = self.send(method, parameters)?;
        let deadline = Instant::now() + ANSWER_AT_MOST;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{method}: no answer within {} s", ANSWER_AT_MOST.as_secs());
            }
            let Some(mut message) = self.receive(left).context(method.to_owned())? else { continue };
            if message["id"] == id {
                if let Some(error) = message.get("error") {
                    bail!("{method}: {}", error["message"].as_str().unwrap_or("refused"));
                }
                return Ok(message["result"].take());
            }
            self.note(&message)?;
        }
    }

    /// Takes in events for a while.
    pub(super) fn listen(&mut self, lasting: Duration) -> Result<()> {
        let deadline = Instant::now() + lasting;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if let Some(message) = self.receive(left)? {
                self.note(&message)?;
            }
        }
    }

    fn send(&mut self, method: &str, parameters: &Value) -> Result<u64> {
        self.last_id += 1;
        let message = json!({"id": self.last_id, "method": method, "params": parameters});
        self.socket.send(Message::text(message.to_string())).context(method.to_owned())?;
        Ok(self.last_id)
    }

    /// The next message, if one comes in time.
    fn receive(&mut self, at_most: Duration) -> Result<Option<Value>> {
        // A time limit of zero would mean none.
        self.socket.get_ref().set_read_timeout(Some(at_most.max(Duration::from_millis(1))))?;
        match self.socket.read() {
            Ok(Message::Text(text)) => Ok(Some(serde_json::from_str(&text)?)),
            Ok(_control) => Ok(None),
            Err(Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                Ok(None)
            }
            Err(error) => Err(error).context("the page's connection"),
        }
    }

    fn note(&mut self, message: &Value) -> Result<()> {
        let parameters = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Page.lifecycleEvent" if parameters["name"] == "load" => {
                self.seen.loaded.extend(parameters["loaderId"].as_str().map(str::to_owned));
            }
            "Runtime.consoleAPICalled" => {
                let level = parameters["type"].as_str().unwrap_or_default();
                let words: Vec<String> =
                    parameters["args"].as_array().into_iter().flatten().map(shown).collect();
                self.seen.console.push(format!("{level}: {}", words.join(" ")));
            }
            "Log.entryAdded" => {
                let entry = &parameters["entry"];
                let level = entry["level"].as_str().unwrap_or_default();
                self.seen.console.push(format!("{level}: {}", entry["text"].as_str().unwrap_or_default()));
            }
            "Runtime.exceptionThrown" => {
                self.seen.exceptions.push(exception_text(&parameters["exceptionDetails"]));
            }
            "Network.requestWillBeSent" => {
                let request = &parameters["request"];
                if let (Some(url), Some(body)) = (request["url"].as_str(), request["postData"].as_str()) {
                    self.seen.sent.push((url.to_owned(), body.to_owned()));
                }
            }
            "Tracing.dataCollected" => {
                self.seen.recorded.extend(parameters["value"].as_array().into_iter().flatten().cloned());
            }
            "Tracing.tracingComplete" => self.seen.is_recorded = true,
            "Page.javascriptDialogOpening" => {
                self.seen.dialogs.push(parameters["message"].as_str().unwrap_or_default().to_owned());
                // The script stands still until somebody answers the dialog.
                self.send("Page.handleJavaScriptDialog", &json!({"accept": true}))?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// What an `ExceptionDetails` says.
pub(super) fn exception_text(details: &Value) -> String {
    let thrown = &details["exception"];
    if thrown.is_object() { shown(thrown) } else { details["text"].as_str().unwrap_or("unknown").to_owned() }
}

/// A `RemoteObject` as a console shows it.
fn shown(object: &Value) -> String {
    match (&object["value"], &object["description"]) {
        (Value::String(text), _) | (Value::Null, Value::String(text)) => text.clone(),
        (value, _) => value.to_string(),
    }
}

/// Asks the browser's HTTP endpoint.
pub(super) fn http(port: u16, method: &str, path: &str) -> Result<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("the browser's port")?;
    stream.set_read_timeout(Some(ANSWER_AT_MOST))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n")?;
    let mut answer = BufReader::new(stream);
    let mut length = None;
    loop {
        let mut line = String::new();
        answer.read_line(&mut line).with_context(|| format!("{method} {path}"))?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = Some(value.trim().parse().context("content-length")?);
            }
            None if line.trim_end().is_empty() => break,
            Some(_) | None => {}
        }
    }
    let mut body = vec![0; length.with_context(|| format!("{method} {path}: an answer without length"))?];
    answer.read_exact(&mut body).with_context(|| format!("{method} {path}"))?;
    serde_json::from_slice(&body)
        .with_context(|| format!("{method} {path}: {}", String::from_utf8_lossy(&body)))
}
