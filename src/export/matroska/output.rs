//! The file that is written: forward, and at the end its head once more.

use std::io::{Seek, SeekFrom, Write};

use crate::base::error::{Error, ErrorKind, Result};

/// The file, and how far it is written.
#[derive(Debug)]
pub(super) struct Output<W> {
    pub(super) file: W,
    /// Where our file begins in `file`.
    start: u64,
    /// How many bytes of it are written.
    pub(super) len: u64,
    failed: bool,
}

impl<W: Write + Seek> Output<W> {
    pub(super) fn new(file: W) -> Self {
        Self {
            file,
            start: 0,
            len: 0,
            failed: false,
        }
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
        let position = self.file.stream_position();
        self.start = self.settle("find the position in the Matroska file", position)?;
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        let written = self.file.write_all(bytes);
        self.settle("write the Matroska file", written)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Replaces the first bytes, and returns to the end.
    pub(super) fn rewrite(&mut self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        let written = (|| {
            self.file.seek(SeekFrom::Start(self.start))?;
            self.file.write_all(bytes)?;
            self.file.seek(SeekFrom::Start(self.start + self.len))?;
            self.file.flush()
        })();
        self.settle("complete the head of the Matroska file", written)
    }

    fn settle<T>(&mut self, doing: &str, outcome: std::io::Result<T>) -> Result<T> {
        outcome.map_err(|source| {
            self.failed = true;
            Error::io(doing, source)
        })
    }
}
