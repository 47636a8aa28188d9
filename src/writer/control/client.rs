//! The other end of the control socket: for whoever wants something of a recording elsewhere.

use std::io::{BufRead, BufReader, ErrorKind as IoKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::Value;

use super::place::{open_directory, short_path};
use super::wire::{Answer, Committed, MAX_ANSWER_LEN, Request, Status};
use super::{COMMIT_PATIENCE, TRANSFER_PATIENCE};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::geometry::Position;
use crate::base::time::TimeRange;
use crate::volume::config;
use crate::writer::WriterStatus;

/// How long an answer may take: a commit, and then some.
const ANSWER_PATIENCE: Duration = COMMIT_PATIENCE.saturating_add(TRANSFER_PATIENCE);
/// How long a recorder that runs may take to say so. It waits for nothing then, but it may have to
/// wait for a processor.
const SIGN_PATIENCE: Duration = TRANSFER_PATIENCE.saturating_add(TRANSFER_PATIENCE);
/// The pause before another try to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);

/// A connection to the process that records a volume.
///
/// It is closed by the recorder when no request has come for 30 seconds.
#[derive(Debug)]
pub struct ControlClient {
    stream: BufReader<UnixStream>,
}

/// How a recording in another process goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ControlStatus {
    /// The identity of the volume.
    pub volume: String,
    /// How the recording goes.
    pub writer: WriterStatus,
    /// The presentation times of everything that is recorded; none where nothing is.
    pub times: Option<TimeRange>,
}

impl ControlClient {
    /// Connects to the process that records the volume in `dir`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when there is no volume, or nobody records it;
    /// [`Busy`](ErrorKind::Busy) when so many wait for a recorder that stands still that there is no
    /// room for one more; [`Io`](ErrorKind::Io), among others when the recorder belongs to another
    /// user.
    pub fn connect(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        config::data_path(dir)?;
        let directory = open_directory(dir).map_err(|e| Error::io("open the directory", e))?;
        let stream = connect(&short_path(dir, &directory)).map_err(|e| {
            if e.kind() == IoKind::WouldBlock {
                return silent(SIGN_PATIENCE).at(dir.display());
            }
            if !matches!(e.kind(), IoKind::NotFound | IoKind::ConnectionRefused) {
                return Error::io("connect to the recorder", e)
                    .with_remedy("Do this as the user who records")
                    .at(dir.display());
            }
            let text = format!("nobody records {}", dir.display());
            Error::new(ErrorKind::NotFound, text).with_remedy("Start to record it first")
        })?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// How the recording goes.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request).
    pub fn status(&mut self) -> Result<ControlStatus> {
        let value = self.request("status", Value::Null)?;
        let status: Status = serde_json::from_value(value).map_err(not_understood)?;
        Ok(ControlStatus {
            writer: status.writer(),
            times: status.times(),
            volume: status.volume,
        })
    }

    /// Puts everything that was pushed on stable storage and waits for it; returns the place up to
    /// which that is so. Seals nothing.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request); [`Busy`](ErrorKind::Busy) when it takes longer than a
    /// minute.
    pub fn commit(&mut self) -> Result<Position> {
        let value = self.request("commit", Value::Null)?;
        let committed: Committed = serde_json::from_value(value).map_err(not_understood)?;
        Ok(committed.position())
    }

    /// Asks the recording program for something that it has added itself
    /// ([`on_request`](crate::writer::WriterOptions::on_request)).
    ///
    /// # Errors
    ///
    /// Whatever the recorder answers; [`Unsupported`](ErrorKind::Unsupported) when it does not
    /// know the request, [`Busy`](ErrorKind::Busy) when too many others are connected, when the
    /// recorder gives no sign of life for 10 seconds, or when its answer takes longer than 65;
    /// [`Failed`](ErrorKind::Failed) when the recording has ended, [`Io`](ErrorKind::Io). The
    /// connection is useless after the last three.
    pub fn request(&mut self, name: &str, with: Value) -> Result<Value> {
        // A recorder that was stopped is not waited for as long as a disk may take.
        let status = self.ask("status", Value::Null, SIGN_PATIENCE)?;
        if name == "status" {
            return Ok(status);
        }
        self.ask(name, with, ANSWER_PATIENCE)
    }

    fn ask(&mut self, name: &str, with: Value, patience: Duration) -> Result<Value> {
        let stream = self.stream.get_ref();
        let set_up = stream.set_read_timeout(Some(patience));
        set_up.map_err(|e| Error::io("set up the connection to the recorder", e))?;
        let name = name.to_owned();
        let request = serde_json::to_string(&Request { name, with }).map_err(not_understood)?;
        // A recorder that has refused the connection has said why before it closed it.
        let sent = self
            .stream
            .get_mut()
            .write_all(format!("{request}\n").as_bytes());
        let mut line = Vec::new();
        let limit = MAX_ANSWER_LEN as u64 + 1024;
        let received = (&mut self.stream).take(limit).read_until(b'\n', &mut line);
        if line.last() != Some(&b'\n') {
            sent.and(received).map_err(|e| match e.kind() {
                IoKind::WouldBlock | IoKind::TimedOut => silent(patience),
                _ => Error::io("ask the recorder", e),
            })?;
            let text = "the recording has ended before it answered";
            return Err(Error::new(ErrorKind::Failed, text));
        }
        let answer: Answer = serde_json::from_slice(&line).map_err(not_understood)?;
        answer.into_result()
    }
}

/// Connects, unless it takes too long: where a recorder has stopped to accept, and many wait, the
/// kernel takes no more.
fn connect(path: &Path) -> std::io::Result<UnixStream> {
    let (family, flags) = (
        AddressFamily::UNIX,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
    );
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    let address = SocketAddrUnix::new(path)?;
    let deadline = Instant::now() + SIGN_PATIENCE;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => break,
            // The kernel does not tell when there is room again.
            Err(Errno::AGAIN | Errno::INTR) if Instant::now() < deadline => {
                std::thread::sleep(CONNECT_PAUSE);
            }
            Err(e) => return Err(e.into()),
        }
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(TRANSFER_PATIENCE))?;
    Ok(stream)
}

fn silent(patience: Duration) -> Error {
    let text = format!(
        "the recorder has not answered for {} s; it may have been stopped, or wait for its disk",
        patience.as_secs()
    );
    Error::new(ErrorKind::Busy, text)
        .with_remedy("Look at its process; `kill -CONT` lets one go on that was stopped")
}

fn not_understood(e: serde_json::Error) -> Error {
    Error::new(ErrorKind::Failed, "the recorder cannot be understood")
        .with_source(e)
        .with_remedy("Use the release of camring that records")
}
