//! What other processes may ask of a recording beside what the library answers: to add cameras and
//! to remove them.
//!
//! The control socket asks on a thread of its own; the thread of the cameras answers between two
//! looks at the clock.

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use camring::frame::StreamId;
use camring::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::args::camera::Transport;

/// The name of [`AddCamera`] on the control socket.
pub(in crate::cmd) const ADD: &str = "add-camera";
/// The name of [`RemoveCamera`] on the control socket.
pub(in crate::cmd) const REMOVE: &str = "remove-camera";

/// How many requests may wait: one for each connection that the library accepts.
const QUEUE_LEN: usize = 8;
/// How long an answer may take: a camera that is removed has a second to say goodbye.
const PATIENCE: Duration = Duration::from_secs(10);

/// Records one more camera.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cmd) struct AddCamera {
    /// The number of its stream.
    pub(in crate::cmd) id: u64,
    /// A name for it.
    #[serde(default)]
    pub(in crate::cmd) name: String,
    /// Where it is; without user and password.
    pub(in crate::cmd) url: String,
    /// The file with its user and password; by default that of the recorder, which is read anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cmd) credentials: Option<PathBuf>,
    /// How it sends; by default as the recorder's other cameras.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cmd) transport: Option<Transport>,
}

/// Records a camera no more.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cmd) struct RemoveCamera {
    /// The number of its stream.
    pub(in crate::cmd) id: u64,
}

/// What is asked for.
#[derive(Debug)]
pub(super) enum Request {
    Add(AddCamera),
    Remove(StreamId),
}

/// A request, and where its answer goes.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    answer: SyncSender<Result<()>>,
}

impl Asked {
    /// Answers it.
    pub(super) fn answer(self, result: Result<()>) {
        // Whoever asked may have given up.
        let _ = self.answer.send(result);
    }
}

/// Takes requests from the control socket.
pub(super) struct Desk(Sender<Asked>);

impl Desk {
    /// The desk, and where its requests come out.
    pub(super) fn new() -> (Self, Receiver<Asked>) {
        let (sender, receiver) = channel(QUEUE_LEN);
        (Self(sender), receiver)
    }

    /// Has the thread of the cameras do what is asked for, and waits for it.
    ///
    /// # Errors
    ///
    /// What that thread says; [`Unsupported`](ErrorKind::Unsupported) for a request that nobody
    /// knows, [`Invalid`](ErrorKind::Invalid) where it is not of the right form, and
    /// [`Failed`](ErrorKind::Failed) when the recording has ended.
    pub(super) fn ask(&self, name: &str, with: &Value) -> Result<Value> {
        let request = parse(name, with)?;
        let (answer, answered) = sync_channel(1);
        let over = || Error::new(ErrorKind::Failed, "the recording has come to its end");
        let asked = Asked { request, answer };
        self.0.try_send(asked).map_err(|_| over())?;
        answered.recv_timeout(PATIENCE).map_err(|_| over())??;
        Ok(Value::Null)
    }
}

fn parse(name: &str, with: &Value) -> Result<Request> {
    let bad = |e: serde_json::Error| {
        Error::invalid(format!("{name} with something else than it takes")).with_source(e)
    };
    match name {
        ADD => AddCamera::deserialize(with).map(Request::Add).map_err(bad),
        REMOVE => RemoveCamera::deserialize(with)
            .map(|remove| Request::Remove(StreamId(remove.id)))
            .map_err(bad),
        _ => {
            let text = format!("the recorder knows no request called {name}");
            Err(Error::new(ErrorKind::Unsupported, text))
        }
    }
}
