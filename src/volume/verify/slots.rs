//! Reading whole slots, several reads at a time, into memory that is used again.

use crate::base::error::{Error, Result};
use crate::base::geometry::Geometry;
use crate::io::buffer::{Buffer, BufferPool};
use crate::io::direct::Access;
use crate::io::{Completion, Device, Op, Request};
use crate::volume::Volume;
use crate::volume::fetch::Fetcher;

/// Length of a read in bytes.
const READ_LEN: usize = 1 << 20;
/// How many reads are under way at a time: few, so that a recorder beside is not held up.
const READS_IN_FLIGHT: usize = 4;
/// Where a read fails, the stretch is read again in pieces of this length, in bytes, so that one
/// bad sector does not take a whole read along.
const RETRY_LEN: usize = 64 << 10;

/// Bytes of a slot that the device does not give back.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// The first of them, from the beginning of the slot.
    pub(super) offset: u32,
    /// How many, in pieces of [`RETRY_LEN`].
    pub(super) len: u64,
    /// Why the first of them cannot be read.
    pub(super) error: Error,
}

/// A device, and the bytes of the slot that was read last.
pub(super) struct SlotReader {
    device: Box<dyn Device>,
    pool: BufferPool,
    geometry: Geometry,
    bytes: Vec<u8>,
}

impl SlotReader {
    /// Opens the device of `volume`, and takes memory for one block.
    pub(super) fn new(volume: &Volume) -> Result<Self> {
        let pool = BufferPool::new(READS_IN_FLIGHT, READ_LEN)?;
        let geometry = volume.geometry();
        Ok(Self {
            device: volume.medium().open(Access::Read, &pool)?,
            pool,
            geometry,
            bytes: vec![0; geometry.block_len() as usize],
        })
    }

    /// The bytes of the slot that was read last; zeroes where they could not be read.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn fetch(&mut self) -> Fetcher<'_, dyn Device> {
        Fetcher::new(self.device.as_mut())
    }

    /// Reads `slot`, and says what of it cannot be read.
    pub(super) fn read(&mut self, slot: u64) -> Result<Option<Unreadable>> {
        let base = self.geometry.offset_of_slot(slot);
        let (mut next, mut failed) = (0, Vec::new());
        while next < self.bytes.len() || self.device.in_flight() > 0 {
            while next < self.bytes.len() && self.device.in_flight() < READS_IN_FLIGHT {
                let len = READ_LEN.min(self.bytes.len() - next);
                let buffer = match self.pool.take() {
                    Some(buffer) => buffer,
                    None => Buffer::allocate(len)?,
                };
                self.device.submit(Request {
                    token: next as u64,
                    op: Op::Read,
                    offset: base + next as u64,
                    len,
                    buffer: Some(buffer),
                });
                next += len;
            }
            match self.device.reap() {
                Some(done) => failed.extend(self.take(&done)),
                None => self.device.wait(None)?,
            }
        }
        failed.sort_unstable();
        Ok(self.retry(base, &failed))
    }

    /// Keeps the bytes of a read; returns its place if it failed.
    fn take(&mut self, done: &Completion) -> Option<usize> {
        let at = done.token as usize;
        let end = self.bytes.len().min(at + READ_LEN);
        let place = self.bytes.get_mut(at..end)?;
        let read = done.buffer.as_ref().filter(|_| done.result.is_ok());
        let Some(read) = read.and_then(|buffer| buffer.get(..place.len())) else {
            return Some(at);
        };
        place.copy_from_slice(read);
        None
    }

    fn retry(&mut self, base: u64, failed: &[usize]) -> Option<Unreadable> {
        let mut unreadable: Option<Unreadable> = None;
        for from in failed {
            let end = self.bytes.len().min(from + READ_LEN);
            for at in (*from..end).step_by(RETRY_LEN) {
                let len = RETRY_LEN.min(end - at);
                let result = self.fetch().read(base + at as u64, len);
                let place = self.bytes.get_mut(at..at + len).unwrap_or_default();
                match result {
                    Ok(bytes) => place.copy_from_slice(&bytes),
                    Err(error) => {
                        place.fill(0);
                        let unreadable = unreadable.get_or_insert(Unreadable {
                            offset: at as u32,
                            len: 0,
                            error,
                        });
                        unreadable.len += len as u64;
                    }
                }
            }
        }
        unreadable
    }
}
