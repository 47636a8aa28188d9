//! What is written, forward only; and, in a file, at the end its head once more.

use std::io::{self, Seek, SeekFrom, Write};

use crate::base::error::{Error, ErrorKind, Result};

/// How `W` finds a place, if it can.
type SeekFn<W> = fn(&mut W, SeekFrom) -> io::Result<u64>;

/// The file or pipe, and how far it is written.
#[derive(Debug)]
pub(super) struct Output<W> {
    pub(super) writer: W,
    /// None where nothing can be mended later, and readers read while it is written.
    seek: Option<SeekFn<W>>,
    /// Where our bytes begin in `writer`.
    start: u64,
    /// How many of them are written.
    pub(super) len: u64,
    failed: bool,
}

impl<W: Write> Output<W> {
    pub(super) fn file(writer: W) -> Self
    where
        W: Seek,
    {
        Self::new(writer, Some(W::seek))
    }

    pub(super) fn live(writer: W) -> Self {
        Self::new(writer, None)
    }

    fn new(writer: W, seek: Option<SeekFn<W>>) -> Self {
        Self {
            writer,
            seek,
            start: 0,
            len: 0,
            failed: false,
        }
    }

    /// Whether somebody reads while it is written.
    pub(super) fn is_live(&self) -> bool {
        self.seek.is_none()
    }

    /// Refuses to write behind bytes of which nobody knows how far they got.
    pub(super) fn check(&self) -> Result<()> {
        if self.failed {
            return Err(Error::new(
                ErrorKind::Failed,
                "writing the Matroska file failed before, and it takes no more",
            ));
        }
        Ok(())
    }

    pub(super) fn begin(&mut self) -> Result<()> {
        if let Some(seek) = self.seek {
            let position = seek(&mut self.writer, SeekFrom::Current(0));
            self.start = self.settle("find the position in the Matroska file", position)?;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        let written = self.writer.write_all(bytes);
        self.settle("write the Matroska file", written)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Hands what was written to the reader.
    pub(super) fn flush(&mut self) -> Result<()> {
        let flushed = self.writer.flush();
        self.settle("write the Matroska file", flushed)
    }

    /// Replaces the first bytes of a file, and returns to its end.
    pub(super) fn rewrite(&mut self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        let Some(seek) = self.seek else {
            return Ok(());
        };
        let written = (|| {
            seek(&mut self.writer, SeekFrom::Start(self.start))?;
            self.writer.write_all(bytes)?;
            seek(&mut self.writer, SeekFrom::Start(self.start + self.len))?;
            self.writer.flush()
        })();
        self.settle("complete the head of the Matroska file", written)
    }

    fn settle<T>(&mut self, doing: &str, outcome: io::Result<T>) -> Result<T> {
        outcome.map_err(|source| {
            self.failed = true;
            Error::io(doing, source)
        })
    }
}
