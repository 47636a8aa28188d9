//! Blocking reads and writes for those who have nothing else to do meanwhile: opening, recovery,
//! verification. The writer and the readers drive their devices themselves.

use bytes::Bytes;

use crate::base::error::{Error, Result};
use crate::io::buffer::Buffer;
use crate::io::{Completion, Device, Op, Request};

/// How many reads [`Fetcher::read_pages`] keeps in flight.
const PAGES_IN_FLIGHT: usize = 32;

/// One request after another on a device.
#[derive(Debug)]
pub struct Fetcher<'d, D: Device + ?Sized> {
    device: &'d mut D,
}

impl<'d, D: Device + ?Sized> Fetcher<'d, D> {
    /// Uses `device`, which has nothing in flight.
    pub fn new(device: &'d mut D) -> Self {
        Self { device }
    }

    /// Length of the device in bytes.
    pub fn device_len(&self) -> u64 {
        self.device.len()
    }

    /// Reads `len` bytes from `offset`; more, and gives those, where the device wants it aligned.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io): the device failed, or ends before.
    pub fn read(&mut self, offset: u64, len: usize) -> Result<Bytes> {
        let place = Aligned::of(self.device.unit_len(), offset, len);
        let buffer = Buffer::allocate(place.len)?;
        self.submit(Op::Read, place.offset, place.len, Some(buffer));
        let done = self.next()?;
        place.bytes_of(done, len)
    }

    /// Reads `len` bytes from each of `offsets`, many at a time, and hands each to `take` with its
    /// number in `offsets`, in any order.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io) when the kernel refuses to wait. A page that cannot be read
    /// is handed over as its error.
    pub fn read_pages(
        &mut self,
        offsets: &[u64],
        len: usize,
        mut take: impl FnMut(usize, Result<Bytes>),
    ) -> Result<()> {
        let mut next = 0;
        while next < offsets.len() || self.device.in_flight() > 0 {
            while let Some(offset) = offsets.get(next) {
                if self.device.in_flight() >= PAGES_IN_FLIGHT {
                    break;
                }
                let place = Aligned::of(self.device.unit_len(), *offset, len);
                let buffer = Buffer::allocate(place.len)?;
                let request = Request {
                    token: next as u64,
                    op: Op::Read,
                    offset: place.offset,
                    len: place.len,
                    buffer: Some(buffer),
                };
                self.device.submit(request);
                next += 1;
            }
            let done = self.next()?;
            let number = done.token as usize;
            let offset = offsets.get(number).copied().unwrap_or_default();
            let place = Aligned::of(self.device.unit_len(), offset, len);
            take(number, place.bytes_of(done, len));
        }
        Ok(())
    }

    /// Writes the first `len` bytes of `buffer` at `offset`.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io): what is stored there is unknown then.
    pub fn write(&mut self, offset: u64, len: usize, buffer: Buffer) -> Result<()> {
        self.submit(Op::Write, offset, len, Some(buffer));
        let done = self.next()?;
        done.result
            .map_err(|e| Error::io(format_args!("write {len} bytes at {offset}"), e))
    }

    /// Puts all that was written on stable storage.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io): what was written since the last flush is lost or not,
    /// nobody knows; it must not be tried again and believed.
    pub fn flush(&mut self) -> Result<()> {
        self.submit(Op::Flush, 0, 0, None);
        let done = self.next()?;
        done.result.map_err(|e| Error::io("flush the device", e))
    }

    fn submit(&mut self, op: Op, offset: u64, len: usize, buffer: Option<Buffer>) {
        self.device.submit(Request {
            token: 0,
            op,
            offset,
            len,
            buffer,
        });
    }

    fn next(&mut self) -> Result<Completion> {
        loop {
            if let Some(done) = self.device.reap() {
                return Ok(done);
            }
            self.device.wait(None)?;
        }
    }
}

/// The aligned bytes around some that are wanted.
#[derive(Clone, Copy)]
struct Aligned {
    offset: u64,
    len: usize,
    /// Where the wanted bytes begin in them.
    from: usize,
}

impl Aligned {
    fn of(unit_len: u32, offset: u64, len: usize) -> Self {
        let unit_len = u64::from(unit_len.max(1));
        let start = offset / unit_len * unit_len;
        let from = (offset - start) as usize;
        let len = (from as u64 + len as u64).next_multiple_of(unit_len) as usize;
        Self {
            offset: start,
            len,
            from,
        }
    }

    fn bytes_of(self, done: Completion, len: usize) -> Result<Bytes> {
        let place = format_args!("read {} bytes at {}", self.len, self.offset).to_string();
        done.result.map_err(|e| Error::io(place, e))?;
        let missing = || Error::invalid("the device returned no buffer");
        let bytes = done.buffer.ok_or_else(missing)?.into_bytes(self.len);
        Ok(bytes.slice(self.from..self.from + len))
    }
}
