//! The one error type of the crate.
//!
//! An [`Error`] is opaque but for its [`kind`](Error::kind): the kind says what a caller can do
//! about it, the text says what was wrong, where, and what to do.

use std::error::Error as StdError;
use std::fmt;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument or an input is out of range. Nothing was changed.
    Invalid,
    /// There is no volume, stream, block or file at the place that was named.
    NotFound,
    /// Something is there already, and going on would destroy it.
    Exists,
    /// Another process or thread holds the volume or the device.
    Busy,
    /// The kernel, the file system or the version of the data does not allow it.
    Unsupported,
    /// Stored bytes fail their checks. Other data of the volume is unaffected.
    Damaged,
    /// The ring has overwritten the block since it was looked up.
    Overwritten,
    /// A bounded queue or a byte quota is full; the frame was counted as shed.
    Full,
    /// The volume takes no more data: its device failed, or it was closed. What was committed
    /// before stays readable.
    Failed,
    /// The operating system reported an error.
    Io,
}

/// What was wrong, where, and what to do about it.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    remedy: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` says what was wrong and where.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            remedy: None,
            source: None,
        }))
    }

    /// Shorthand for [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Shorthand for [`ErrorKind::Damaged`].
    pub fn damaged(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Damaged, message)
    }

    /// An error of the operating system; `doing` completes "could not ...".
    pub fn io(doing: impl fmt::Display, source: impl Into<std::io::Error>) -> Self {
        Self::new(ErrorKind::Io, format!("could not {doing}")).with_source(source.into())
    }

    /// Adds what to do about it: a full sentence without its final stop.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Adds the error that lies below this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Puts `place` and a colon before the message.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The error number of the operating system that lies below, if one does.
    pub fn raw_os_error(&self) -> Option<i32> {
        let source = self.0.source.as_ref()?;
        source
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::raw_os_error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        if let Some(remedy) = &self.0.remedy {
            write!(f, ". {remedy}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|e| e as &(dyn StdError + 'static))
    }
}
