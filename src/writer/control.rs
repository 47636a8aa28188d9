//! The control socket: how other processes ask something of a recording.
//!
//! A Unix socket named `control` in the directory of the volume, for its owner alone. A request is
//! a line of JSON, `{"do":"commit"}`, and so is its answer, `{"ok":...}` or
//! `{"error":{"kind":...,"message":...}}`; any number of them follow one another on a connection.
//!
//! One thread accepts, and each of the few connections has one of its own, so a client that is
//! stuck holds up nobody. None of them shares a lock with the writer's thread: what they ask goes
//! through the same channel as the commands of the [`Writer`](super::Writer).

mod client;
mod place;
mod wire;

use std::io::{ErrorKind as IoKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

pub use self::client::{ControlClient, ControlStatus};

use self::place::Place;
use self::wire::{Committed, MAX_ANSWER_LEN, MAX_REQUEST_LEN, Request, Status};
use super::link::Link;
use super::options::RequestSink;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::sync::{Arc, AtomicBool, Ordering, lock};

/// How many connections there may be at a time.
const MAX_CONNECTIONS: usize = 8;
/// How long a connection may rest between two requests.
const IDLE_PATIENCE: Duration = Duration::from_secs(30);
/// How long a request may take to arrive once it has begun, and an answer to leave.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(5);
/// How long a commit may take.
const COMMIT_PATIENCE: Duration = Duration::from_mins(1);
/// The pause after the kernel has refused to accept, for want of descriptors for instance.
const REFUSAL_PAUSE: Duration = Duration::from_millis(100);

/// The server of a recording. Dropping it ends its threads and removes the socket.
#[derive(Debug)]
pub(super) struct ControlServer {
    listener: Arc<UnixListener>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    place: Place,
}

/// What the connections share.
struct Service {
    link: Link,
    on_request: Mutex<Option<RequestSink>>,
}

/// A connection, and the thread that serves it.
struct Connection {
    stream: UnixStream,
    thread: JoinHandle<()>,
}

impl ControlServer {
    /// Serves the recording behind `link`. What a killed process has left of its socket is
    /// replaced: the volume is locked by us.
    ///
    /// # Errors
    ///
    /// [`Exists`](ErrorKind::Exists) when something else has the name of the socket,
    /// [`Io`](ErrorKind::Io).
    pub(super) fn start(dir: &Path, link: Link, on_request: Option<RequestSink>) -> Result<Self> {
        let (place, listener) = Place::bind(dir)?;
        let listener = Arc::new(listener);
        let is_over = Arc::new(AtomicBool::new(false));
        let service = Arc::new(Service {
            link,
            on_request: Mutex::new(on_request),
        });
        let (own, over) = (listener.clone(), is_over.clone());
        let thread = spawn("camring-control", move || accept(&own, &over, &service))?;
        Ok(Self {
            listener,
            is_over,
            thread: Some(thread),
            place,
        })
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.place.remove();
        // Release: pairs with the load in `accept`. It is set before the thread is woken, which
        // finds the socket shut down from here on.
        self.is_over.store(true, Ordering::Release);
        if let Err(e) = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both) {
            tracing::warn!("the control socket cannot be shut down: {e}");
            return;
        }
        if let Some(thread) = self.thread.take() {
            // A panic there was told by its own message.
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder
        .spawn(work)
        .map_err(|e| Error::io("start a thread", e))
}

/// Accepts connections until the socket is shut down; then ends them.
fn accept(listener: &UnixListener, is_over: &AtomicBool, service: &Arc<Service>) {
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        let accepted = listener.accept();
        // Acquire: pairs with the store in `drop`.
        if is_over.load(Ordering::Acquire) {
            break;
        }
        connections.retain(|connection| !connection.thread.is_finished());
        match accepted {
            Ok((stream, _)) => connections.extend(open(stream, connections.len(), service)),
            Err(e) if e.kind() == IoKind::Interrupted => {}
            Err(e) => {
                tracing::warn!("the control socket accepts nobody: {e}");
                std::thread::sleep(REFUSAL_PAUSE);
            }
        }
    }
    for connection in connections {
        // Wakes a thread that waits for a request; one that has ended needs no waking.
        let _ = connection.stream.shutdown(Shutdown::Both);
        let _ = connection.thread.join();
    }
}

/// A thread for a new connection, if it is not one too many.
fn open(stream: UnixStream, count: usize, service: &Arc<Service>) -> Option<Connection> {
    let set_up = || {
        stream.set_write_timeout(Some(TRANSFER_PATIENCE))?;
        stream.try_clone()
    };
    let own = set_up()
        .inspect_err(|e| tracing::debug!("a control connection was lost: {e}"))
        .ok()?;
    if count >= MAX_CONNECTIONS {
        let text = format!("{MAX_CONNECTIONS} others talk to the recorder already");
        let error = Error::new(ErrorKind::Busy, text).with_remedy("Try again in a moment");
        // A new connection has room for a line, so this waits for nobody.
        let _ = send(&own, &wire::answer(Err(error)));
        return None;
    }
    let service = service.clone();
    let thread = spawn("camring-client", move || {
        if let Err(e) = converse(&own, &service) {
            tracing::debug!("a control connection has ended: {e}");
        }
        // Its other descriptor is kept for the end of the recording: the client sees the end now.
        let _ = own.shutdown(Shutdown::Both);
    });
    let thread = thread.inspect_err(|e| tracing::warn!("{e}")).ok()?;
    Some(Connection { stream, thread })
}

/// Answers requests until the client has had enough, or takes too long.
fn converse(stream: &UnixStream, service: &Service) -> std::io::Result<()> {
    let mut received = Vec::new();
    loop {
        let request = match receive(stream, &mut received)? {
            Received::Line(line) => line,
            Received::TooLong => {
                let text = format!("a request of more than {MAX_REQUEST_LEN} bytes");
                return send(stream, &wire::answer(Err(Error::invalid(text))));
            }
            Received::End => return Ok(()),
        };
        send(stream, &wire::answer(service.answer(&request)))?;
    }
}

enum Received {
    Line(Vec<u8>),
    TooLong,
    End,
}

/// The next line. `received` keeps what came behind it.
fn receive(stream: &UnixStream, received: &mut Vec<u8>) -> std::io::Result<Received> {
    let patience = |is_begun| {
        if is_begun {
            TRANSFER_PATIENCE
        } else {
            IDLE_PATIENCE
        }
    };
    let mut is_begun = !received.is_empty();
    let mut deadline = Instant::now() + patience(is_begun);
    loop {
        if let Some(end) = received.iter().position(|byte| *byte == b'\n') {
            let mut line: Vec<_> = received.drain(..=end).collect();
            line.truncate(end);
            return Ok(Received::Line(line));
        }
        if received.len() > MAX_REQUEST_LEN {
            return Ok(Received::TooLong);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(IoKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let mut bytes = [0; 4096];
        let mut stream = stream;
        match stream.read(&mut bytes) {
            Ok(0) => return Ok(Received::End),
            Ok(len) => received.extend_from_slice(bytes.get(..len).unwrap_or_default()),
            Err(e) if e.kind() == IoKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if !is_begun {
            is_begun = true;
            deadline = Instant::now() + patience(true);
        }
    }
}

fn send(mut stream: &UnixStream, answer: &[u8]) -> std::io::Result<()> {
    stream.write_all(answer)
}

impl Service {
    fn answer(&self, line: &[u8]) -> Result<Value> {
        let request: Request = serde_json::from_slice(line).map_err(|e| {
            Error::invalid("this is no request")
                .with_source(e)
                .with_remedy("A request is a line such as {\"do\":\"status\"}")
        })?;
        let answer = match request.name.as_str() {
            "status" => Status::of(&self.link).to_value(),
            "commit" => Committed::at(self.link.commit_within(COMMIT_PATIENCE)?).to_value(),
            name => self.other(name, &request.with)?,
        };
        Ok(answer)
    }

    /// What the embedding program has to answer.
    fn other(&self, name: &str, with: &Value) -> Result<Value> {
        let mut on_request = lock(&self.on_request);
        let Some(on_request) = on_request.as_mut() else {
            let text = format!("the recorder knows no request called {name}");
            return Err(Error::new(ErrorKind::Unsupported, text));
        };
        let answer = on_request(name, with)?;
        if answer.to_string().len() > MAX_ANSWER_LEN {
            let text = format!("the answer to {name} is longer than {MAX_ANSWER_LEN} bytes");
            return Err(Error::new(ErrorKind::Failed, text));
        }
        Ok(answer)
    }
}
