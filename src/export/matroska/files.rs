//! A stream in as many files as it needs: one after each change of its parameters, and after each
//! time that its clock is set back.
//!
//! Where the files are and what they are called is their owner's decision; see [`FileSet`].

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use super::content::is_same_decoder;
use super::{MatroskaSink, Summary};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::sync::Arc;
use crate::base::time::{Timestamp, US_PER_S};
use crate::frame::{Frame, FrameSink, Item, StreamId, StreamSetup};

/// Sound that is later than this behind the pictures is not waited for.
const MAX_LATE_US: i64 = 10 * US_PER_S;

/// Where the files of a [`MatroskaFiles`] come from, and what becomes of them. They are numbered
/// from 1.
pub trait FileSet {
    /// An open file.
    type File: Write + Seek;

    /// Opens file `number`.
    ///
    /// # Errors
    ///
    /// Its own; the stream's item is then in no file.
    fn open(&mut self, number: u32) -> Result<Self::File>;

    /// Takes file `number` when it is complete.
    ///
    /// # Errors
    ///
    /// Its own.
    fn complete(&mut self, number: u32, file: Self::File, summary: Summary) -> Result<()>;

    /// File `number` stays without a frame, and is closed already.
    fn discard(&mut self, number: u32);
}

/// Writes one stream into files that each play from end to end.
///
/// A new file begins where [`MatroskaSink`] needs one, at a key frame. Sound that belongs before
/// that key frame and comes behind it still goes into the file before, so at most two files are
/// open. Every frame is in exactly one file, but for those that [`MatroskaSink`] skips.
#[derive(Debug)]
pub struct MatroskaFiles<F: FileSet> {
    files: F,
    setup: Option<Arc<StreamSetup>>,
    current: Part<F::File>,
    previous: Option<Previous<F::File>>,
    completed_count: u32,
}

#[derive(Debug)]
struct Part<W> {
    number: u32,
    sink: MatroskaSink<W>,
}

/// The file before the current one, for the sound that belongs into it.
#[derive(Debug)]
struct Previous<W> {
    part: Part<W>,
    setup: Arc<StreamSetup>,
    /// Where its pictures end.
    end: Timestamp,
    /// The tracks of which more may come.
    awaited: Vec<u8>,
}

impl<F: FileSet> MatroskaFiles<F> {
    /// Opens the first of `files`.
    ///
    /// # Errors
    ///
    /// Those of [`FileSet::open`].
    pub fn begin(mut files: F) -> Result<Self> {
        let current = Part::open(&mut files, 1)?;
        Ok(Self {
            files,
            setup: None,
            current,
            previous: None,
            completed_count: 0,
        })
    }

    /// The files, those that are complete among them.
    pub fn files(&self) -> &F {
        &self.files
    }

    /// Completes what is open, and returns the files.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there was no frame that could begin a file;
    /// those of [`MatroskaSink::finish`] and [`FileSet::complete`].
    pub fn finish(mut self) -> Result<F> {
        self.complete_previous()?;
        let Part { number, sink } = self.current;
        match sink.finish() {
            Ok((file, summary)) => self.files.complete(number, file, summary)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.files.discard(number);
                if self.completed_count == 0 {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(self.files)
    }

    /// Begins a new file, and keeps the one before for what is late.
    fn turn_over(&mut self, stream: StreamId) -> Result<()> {
        self.complete_previous()?;
        let mut next = Part::open(&mut self.files, self.current.number.saturating_add(1))?;
        if let Some(setup) = &self.setup {
            let setup = Item::Setup(Arc::clone(setup));
            next.sink.accept(stream, setup)?;
        }
        let part = std::mem::replace(&mut self.current, next);
        self.previous = Previous::of(part);
        Ok(())
    }

    fn complete_previous(&mut self) -> Result<()> {
        if let Some(Previous { part, .. }) = self.previous.take() {
            let (file, summary) = part.sink.finish()?;
            self.files.complete(part.number, file, summary)?;
            self.completed_count += 1;
        }
        Ok(())
    }

    /// The file before, if `frame` belongs into it.
    fn previous_for(&mut self, frame: &Frame) -> Option<&mut Part<F::File>> {
        let start = self.current.sink.start();
        let tracks = &self.setup.as_ref()?.tracks;
        let track = tracks.get(usize::from(frame.track))?;
        let previous = self.previous.as_mut()?;
        let old_track = previous.setup.tracks.get(usize::from(frame.track))?;
        let is_awaited = previous.awaited.contains(&frame.track);
        let fits = is_awaited && is_same_decoder(old_track, track);
        let is_early = start.is_none_or(|start| is_before(frame.time, previous.end, start));
        (fits && is_early).then_some(&mut previous.part)
    }

    /// Takes note that `frame` goes into the current file. Whether nothing more is to come for the
    /// one before.
    fn is_previous_over(&mut self, frame: &Frame) -> bool {
        let Some(previous) = &mut self.previous else {
            return false;
        };
        let Some(start) = self.current.sink.start() else {
            return false;
        };
        previous.awaited.retain(|track| *track != frame.track);
        previous.awaited.is_empty() || frame.time.us_since(start) > MAX_LATE_US
    }
}

/// After an error of the file it takes no more; after others the item is in no file, and it goes
/// on.
impl<F: FileSet> FrameSink for MatroskaFiles<F> {
    /// Takes the next item of the one stream.
    ///
    /// # Errors
    ///
    /// Those of [`MatroskaSink`], but that it never needs a new file, and those of [`FileSet`].
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        if self.current.sink.needs_new_file(&item) {
            self.turn_over(stream)?;
        }
        match &item {
            Item::Setup(setup) => self.setup = Some(Arc::clone(setup)),
            Item::Frame(frame) | Item::Preroll(frame) => {
                if let Some(previous) = self.previous_for(frame) {
                    return previous.sink.accept(stream, item);
                }
                if self.is_previous_over(frame) {
                    self.complete_previous()?;
                }
            }
            Item::Gap(_) => {}
        }
        self.current.sink.accept(stream, item)
    }
}

impl<W: Write + Seek> Part<W> {
    fn open<F: FileSet<File = W>>(files: &mut F, number: u32) -> Result<Self> {
        Ok(Self {
            number,
            sink: MatroskaSink::new(files.open(number)?),
        })
    }
}

impl<W: Write> Previous<W> {
    /// None if `part` has not begun.
    fn of(part: Part<W>) -> Option<Self> {
        let content = part.sink.content.as_ref()?;
        let setup = Arc::clone(content.setup());
        let lead = content.lead();
        let count = u8::try_from(setup.tracks.len()).unwrap_or(u8::MAX);
        Some(Self {
            end: content.latest_of_lead().timestamp(),
            setup,
            awaited: (0..count).filter(|track| *track != lead).collect(),
            part,
        })
    }
}

/// Whether `time` is of the pictures up to `end`, and not of those from `start` on.
fn is_before(time: Timestamp, end: Timestamp, start: Timestamp) -> bool {
    if start > end {
        return time < start;
    }
    // The clock was set back, and both have such times: the nearer one it is.
    time.us_since(end).saturating_abs() < time.us_since(start).saturating_abs()
}

/// Files beside each other: `yard.mkv`, `yard-2.mkv` and so on. None replaces a file that is
/// there, and none is flushed to stable storage.
#[derive(Clone, Debug)]
pub struct NumberedFiles {
    path: PathBuf,
    done: Vec<(PathBuf, Summary)>,
}

impl NumberedFiles {
    /// Files of which the first is at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            done: Vec::new(),
        }
    }

    /// The complete files, and what they hold.
    pub fn done(&self) -> &[(PathBuf, Summary)] {
        &self.done
    }
}

impl FileSet for NumberedFiles {
    type File = File;

    fn open(&mut self, number: u32) -> Result<File> {
        let path = numbered(&self.path, number);
        File::create_new(&path).map_err(|source| {
            if source.kind() != io::ErrorKind::AlreadyExists {
                return Error::io(format_args!("make the file {}", path.display()), source);
            }
            let text = format!("{} is there already", path.display());
            Error::new(ErrorKind::Exists, text).with_remedy("Choose another name")
        })
    }

    fn complete(&mut self, number: u32, _: File, summary: Summary) -> Result<()> {
        self.done.push((numbered(&self.path, number), summary));
        Ok(())
    }

    fn discard(&mut self, number: u32) {
        let path = numbered(&self.path, number);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "an empty file stays behind");
        }
    }
}

/// The name of file `number` of those that begin at `path`: the path itself for 1, with the number
/// before the extension for others.
pub fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 1 {
        return path.to_owned();
    }
    let mut name: OsString = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_files_have_a_number_before_the_extension() {
        for (path, third) in [
            ("yard.mkv", "yard-3.mkv"),
            ("/a/b.c/yard", "/a/b.c/yard-3"),
            ("a/.mkv", "a/.mkv-3"),
            ("x.y.mkv", "x.y-3.mkv"),
        ] {
            let path = Path::new(path);
            assert_eq!(numbered(path, 1), path);
            assert_eq!(numbered(path, 3), Path::new(third));
        }
    }

    #[test]
    fn sound_belongs_to_the_pictures_whose_time_it_has() {
        let at = |s: i64| Timestamp(s * US_PER_S);
        assert!(is_before(at(9), at(10), at(11)));
        assert!(!is_before(at(11), at(10), at(11)));
        // The clock was set back from 100 to 10.
        assert!(is_before(at(99), at(100), at(10)));
        assert!(!is_before(at(11), at(100), at(10)));
        assert!(!is_before(at(9), at(100), at(10)));
    }
}
