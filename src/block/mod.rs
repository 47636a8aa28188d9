//! The bytes of a block: header page, runs of chunks, index, trailer page.
//!
//! A slot of the ring goes through four states: *ahead* (its header is written, nothing else),
//! *open* (runs are appended), *sealed* (index and trailer are written), *overwritten* (the header
//! of a later turn). No sector is written twice within a turn. `docs/FORMAT.md` draws every
//! structure; `cargo xtask tidy` fails when the layout here changes without it.
//!
//! Everything here is pure: bytes in, values out. When to write and what to believe after a crash
//! belong to `writer` and `volume`.

pub mod checksum;
pub mod chunk;
pub mod header;
pub mod identity;
pub mod index;
pub mod pack;
pub mod record;
pub mod run;
pub mod trailer;

pub use self::chunk::{ChunkView, FrameView};
pub use self::header::BlockHeader;
pub use self::identity::BlockId;
pub use self::index::{ChunkEntry, DecodeStart, IndexBuilder, StreamSection};
pub use self::run::RunHeader;
pub use self::trailer::BlockTrailer;

/// Length of the header page and of the trailer page, in bytes.
pub const PAGE_LEN: usize = 4096;
/// Chunks and run directories begin at multiples of this, in bytes.
pub const CHUNK_ALIGN: usize = 64;

/// Why bytes are not the structure that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The magic number is missing: never written, or something else.
    NoMagic,
    /// A later release wrote it; the version, or the unknown feature bits.
    Version(u64),
    /// A checksum fails: a torn write, or damage.
    Checksum,
    /// It is whole, but belongs to another volume, slot, block, life or place.
    Foreign,
    /// A length, count or number in it is impossible.
    Range(&'static str),
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoMagic => f.write_str("not written by camring"),
            Self::Version(v) => {
                write!(f, "written by a later release (version or features {v:#x})")
            }
            Self::Checksum => f.write_str("checksum fails"),
            Self::Foreign => f.write_str("belongs to another volume, block, life or place"),
            Self::Range(what) => write!(f, "impossible {what}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// The bytes from `at`, `len` long, if they are all there.
pub fn part(bytes: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(len)?)
}
