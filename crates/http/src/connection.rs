//! What the HTTP layer (actix-http 3.20) leaves without a bound. It times the first head of a connection and no later
//! one; an answer may wait for ever until its client reads; and answers without a body are made however many of them
//! wait already. A second handle of each connection's socket mends that: who keeps a connection waiting is hung up on,
//! and who does not read is given nothing more to read.

use std::any::Any;
use std::cell::Cell;
use std::convert::Infallible;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::rt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

/// How often a socket that takes nothing is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long clients may keep a connection waiting.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// From an answer to the end of the next head.
    pub(crate) next_head: Duration,
    /// Without reading anything of an answer.
    pub(crate) reading: Duration,
}

/// A connection, as long as the HTTP layer has it.
pub(crate) struct Connection {
    watched: Rc<Watched>,
    /// Gone with the connection, which ends the watch.
    _open: oneshot::Sender<Infallible>,
}

/// A connection that is watched.
pub(crate) struct Watched {
    socket: TcpStream,
    patience: Patience,
    phase: Cell<Phase>,
}

/// Whom a connection waits for.
#[derive(Clone, Copy)]
enum Phase {
    /// The client, with its next request.
    Asking(Instant),
    /// Us.
    Answering,
    /// The client, to read.
    Reading(Instant),
}

/// Watches a connection that has just been made.
pub(crate) fn watch(stream: &dyn Any, data: &mut Extensions, patience: Patience) {
    let Some(stream) = stream.downcast_ref::<rt::net::TcpStream>() else { return };
    let socket = match stream.as_fd().try_clone_to_owned() {
        Ok(handle) => TcpStream::from(handle),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "a connection cannot be watched");
            return;
        }
    };
    let phase = Cell::new(Phase::Asking(Instant::now()));
    let watched = Rc::new(Watched { socket, patience, phase });
    let (open, closed) = oneshot::channel();
    rt::spawn(hang_up_in_time(Rc::clone(&watched), closed));
    data.insert(Connection { watched, _open: open });
}

async fn hang_up_in_time(watched: Rc<Watched>, mut closed: oneshot::Receiver<Infallible>) {
    loop {
        // Meanwhile the client may begin not to read, and that has the earlier end.
        let look_again = watched.deadline().min(Instant::now() + watched.patience.reading);
        tokio::select! {
            _ = &mut closed => return,
            () = sleep_until(look_again) => {}
        }
        if watched.deadline() <= Instant::now() {
            watched.hang_up();
            return;
        }
    }
}

impl Connection {
    /// The connection's next request is here.
    pub(crate) fn began(&self) -> Rc<Watched> {
        self.watched.phase.set(Phase::Answering);
        Rc::clone(&self.watched)
    }
}

impl Watched {
    fn deadline(&self) -> Instant {
        match self.phase.get() {
            Phase::Asking(since) => since + self.patience.next_head,
            Phase::Answering => Instant::now() + self.patience.reading,
            Phase::Reading(since) => since + self.patience.reading,
        }
    }

    fn hang_up(&self) {
        tracing::debug!("hung up on a client that keeps its connection waiting");
        // Fails where the client has left already.
        self.socket.shutdown(Shutdown::Both).ok();
    }

    /// Returns once the client has read enough of what was answered before, or is hung up on.
    pub(crate) async fn room(&self) {
        let deadline = Instant::now() + self.patience.reading;
        while !self.takes_more() {
            if Instant::now() >= deadline {
                self.hang_up();
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn takes_more(&self) -> bool {
        let mut socket = [PollFd::new(&self.socket, PollFlags::OUT)];
        // What cannot be asked is not waited for.
        poll(&mut socket, Some(&Timespec::default())) != Ok(0)
    }
}

/// An answer on its way through the HTTP layer.
pub(crate) struct Sending(Rc<Watched>);

impl Sending {
    pub(crate) fn on(watched: Rc<Watched>) -> Self {
        watched.phase.set(Phase::Reading(Instant::now()));
        Self(watched)
    }

    /// There was room for a part of it.
    pub(crate) fn went_on(&self) {
        self.0.phase.set(Phase::Reading(Instant::now()));
    }

    /// Its next part is not made yet.
    pub(crate) fn is_made(&self) {
        self.0.phase.set(Phase::Answering);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.phase.set(Phase::Asking(Instant::now()));
    }
}
