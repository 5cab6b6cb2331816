//! A server whose connections are in the test's hand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How every request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// Not at all.
    Silent,
    /// By a body that stops, on a connection that stays open.
    Stops,
    /// By a body that stops, on a connection that is closed.
    BreaksOff,
    /// By a body without end.
    Endless,
    /// By nothing, in a good answer.
    Empty,
}

pub(crate) struct RawServer {
    address: SocketAddr,
    has_ended: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    accepting: Option<JoinHandle<()>>,
}

impl RawServer {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let has_ended = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&has_ended);
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let accepting = std::thread::spawn(move || {
            for connection in listener.incoming().take_while(|_| !ended.load(Ordering::SeqCst)).flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                // Ends with its connection, which the client may close only after the server was dropped.
                std::thread::spawn(move || answer(connection, manner));
            }
        });
        Self { address, has_ended, connections, accepting: Some(accepting) }
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::SeqCst);
        let _woken = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take()
            && accepting.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server's thread panicked");
        }
    }
}

fn answer(mut connection: TcpStream, manner: Manner) -> std::io::Result<()> {
    // Nobody waits for longer.
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut asked = [0; 4_096];
    if connection.read(&mut asked)? == 0 {
        return Ok(());
    }
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    match manner {
        Manner::Silent => {}
        Manner::Empty => {
            let body = r#"{"success":true,"data":[]}"#;
            let length = format!("content-length: {}\r\n\r\n", body.len());
            loop {
                connection.write_all(&[head, length.as_bytes(), body.as_bytes()].concat())?;
                // Requests without a body come in one piece.
                if connection.read(&mut asked)? == 0 {
                    return Ok(());
                }
            }
        }
        Manner::Stops | Manner::BreaksOff => {
            connection.write_all(head)?;
            connection.write_all(b"content-length: 90\r\n\r\n{\"success\":")?;
        }
        Manner::Endless => {
            connection.write_all(head)?;
            connection.write_all(b"transfer-encoding: chunked\r\n\r\n")?;
            let chunk = format!("{:x}\r\n{}\r\n", 65_536, "x".repeat(65_536));
            loop {
                connection.write_all(chunk.as_bytes())?;
            }
        }
    }
    if manner != Manner::BreaksOff {
        while connection.read(&mut asked)? > 0 {}
    }
    Ok(())
}
