//! What requests and answers look like on the socket.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::geometry::Position;
use crate::base::time::{TimeRange, Timestamp};
use crate::writer::WriterStatus;
use crate::writer::link::Link;

/// The longest request in bytes.
pub(super) const MAX_REQUEST_LEN: usize = 64 << 10;
/// The longest answer in bytes.
pub(super) const MAX_ANSWER_LEN: usize = 1 << 20;

/// Kinds of errors and their names.
const KINDS: [(ErrorKind, &str); 10] = [
    (ErrorKind::Invalid, "invalid"),
    (ErrorKind::NotFound, "not-found"),
    (ErrorKind::Exists, "exists"),
    (ErrorKind::Busy, "busy"),
    (ErrorKind::Unsupported, "unsupported"),
    (ErrorKind::Damaged, "damaged"),
    (ErrorKind::Overwritten, "overwritten"),
    (ErrorKind::Full, "full"),
    (ErrorKind::Failed, "failed"),
    (ErrorKind::Io, "io"),
];

/// A request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// What to do.
    #[serde(rename = "do")]
    pub(super) name: String,
    /// With what.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) with: Value,
}

/// An answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer {
    /// It was done.
    Ok(Value),
    /// It was not.
    Error {
        /// The name of its kind.
        kind: String,
        /// The error in words.
        message: String,
    },
}

/// The line that answers a request.
pub(super) fn answer(result: Result<Value>) -> Vec<u8> {
    let answer = match result {
        Ok(value) => json!({ "ok": value }),
        Err(error) => {
            let known = KINDS.iter().find(|(kind, _)| *kind == error.kind());
            let kind = known.map_or("failed", |(_, name)| name);
            json!({ "error": { "kind": kind, "message": error.to_string() } })
        }
    };
    let mut line = answer.to_string().into_bytes();
    line.push(b'\n');
    line
}

impl Answer {
    /// The value, or the error that was meant.
    pub(super) fn into_result(self) -> Result<Value> {
        match self {
            Self::Ok(value) => Ok(value),
            Self::Error { kind, message } => {
                let known = KINDS.iter().find(|(_, name)| *name == kind);
                let kind = known.map_or(ErrorKind::Failed, |(kind, _)| *kind);
                Err(Error::new(kind, message))
            }
        }
    }
}

/// The durable watermark; no run stands for the whole block.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Committed {
    durable_block: u64,
    durable_run: Option<u64>,
}

impl Committed {
    pub(super) fn at(position: Position) -> Self {
        Self {
            durable_block: position.sequence,
            durable_run: Some(position.run).filter(|run| *run != Position::WHOLE),
        }
    }

    pub(super) fn position(self) -> Position {
        Position {
            sequence: self.durable_block,
            run: self.durable_run.unwrap_or(Position::WHOLE),
        }
    }

    pub(super) fn to_value(self) -> Value {
        json!(self)
    }
}

/// How a recording goes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) volume: String,
    #[serde(flatten)]
    durable: Committed,
    lag_us: u64,
    queued_len: u64,
    written_len: u64,
    flush_count: u64,
    shed_count: u64,
    is_failed: bool,
    /// The first and the last presentation time, in microseconds since 1970.
    times_us: Option<(i64, i64)>,
}

impl Status {
    pub(super) fn of(link: &Link) -> Self {
        let volume = link.volume();
        let WriterStatus {
            durable,
            lag_us,
            queued_len,
            written_len,
            flush_count,
            shed_count,
            is_failed,
        } = link.status();
        Self {
            volume: volume.id().to_string(),
            durable: Committed::at(durable),
            lag_us,
            queued_len,
            written_len,
            flush_count,
            shed_count,
            is_failed,
            times_us: volume
                .time_range()
                .map(|times| (times.start.0, times.end.0)),
        }
    }

    pub(super) fn to_value(&self) -> Value {
        json!(self)
    }

    pub(super) fn writer(&self) -> WriterStatus {
        WriterStatus {
            durable: self.durable.position(),
            lag_us: self.lag_us,
            queued_len: self.queued_len,
            written_len: self.written_len,
            flush_count: self.flush_count,
            shed_count: self.shed_count,
            is_failed: self.is_failed,
        }
    }

    pub(super) fn times(&self) -> Option<TimeRange> {
        self.times_us
            .map(|(start, end)| TimeRange::new(Timestamp(start), Timestamp(end)))
    }
}
