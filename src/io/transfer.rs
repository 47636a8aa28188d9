//! The bookkeeping between requests and the pieces that a kernel takes: pure, without a kernel.
//!
//! A request waits until its bytes fit under the cap, is cut into pieces that the device takes
//! whole, and is finished when all its pieces are. A piece that was transferred in part goes on
//! from where it stopped. How pieces reach the kernel is `ring`'s business.
//!
//! Every step is bounded: a piece is tried again without progress at most [`MAX_RETRY_COUNT`]
//! times, and each step of progress is at least one alignment unit.

use std::collections::VecDeque;
use std::io;

use rustix::io::Errno;

use super::align::Alignment;
use super::buffer::Buffer;
use super::{Completion, Op, Request};

/// How often a piece that makes no progress is tried again.
const MAX_RETRY_COUNT: u8 = 16;

/// What the device takes at once, and what it may be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The device's demand on offsets and lengths.
    pub(super) alignment: Alignment,
    /// Length of the device in bytes: nothing is written beyond.
    pub(super) device_len: u64,
    /// The longest piece in bytes: a positive multiple of the alignment unit below 2^31.
    pub(super) piece_len: usize,
    /// The most bytes in pieces at a time. A request that is longer goes alone.
    pub(super) cap_len: usize,
}

/// One transfer for the kernel.
pub(super) struct Piece<'a> {
    pub(super) op: &'a Op,
    /// Where on the device, in bytes.
    pub(super) offset: u64,
    /// The memory; none for a flush.
    pub(super) buffer: Option<&'a Buffer>,
    /// Where in the buffer, in bytes.
    pub(super) at: usize,
    /// How many bytes.
    pub(super) len: usize,
}

/// Names a piece that is due or with the kernel.
pub(super) type PieceId = usize;

/// All requests that were submitted and not reaped, and their pieces.
pub(super) struct Transfers {
    limits: Limits,
    /// Requests that do not fit under the cap yet, in order.
    waiting: VecDeque<Request>,
    active: Slab<Active>,
    active_len: usize,
    pieces: Slab<Part>,
    /// Pieces that the kernel has not got yet, or must get again.
    due: VecDeque<PieceId>,
    done: VecDeque<Completion>,
}

/// A request of which at least one piece is due or with the kernel.
struct Active {
    request: Request,
    open_count: usize,
    /// What went wrong first.
    error: Option<io::Error>,
}

#[derive(Clone, Copy)]
struct Part {
    owner: usize,
    at: usize,
    len: usize,
    retry_count: u8,
}

impl Transfers {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            active: Slab::new(),
            active_len: 0,
            pieces: Slab::new(),
            due: VecDeque::new(),
            done: VecDeque::new(),
        }
    }

    /// Takes `request` in; its pieces are due at once if it fits under the cap.
    pub(super) fn submit(&mut self, request: Request) {
        if let Err(error) = self.check(&request) {
            return self.done.push_back(Completion {
                token: request.token,
                result: Err(error),
                buffer: request.buffer,
            });
        }
        if matches!(request.op, Op::Flush) {
            // A flush moves no bytes, and a commit waits for it: it passes the queue.
            return self.start_flush(request);
        }
        self.waiting.push_back(request);
        self.admit();
    }

    /// A wrong request is the caller's mistake, but it must not reach the device.
    fn check(&self, request: &Request) -> io::Result<()> {
        let limits = &self.limits;
        let buffer_len = request.buffer.as_ref().map_or(0, |b| b.len());
        let end = request.offset.checked_add(request.len as u64);
        let fault = match request.op {
            Op::Flush => return Ok(()),
            _ if !limits.alignment.fits(request.offset, request.len) => "it is not aligned",
            _ if request.len == 0 => "it is empty",
            _ if request.len > buffer_len => "it is longer than its buffer",
            Op::Write if end.is_none_or(|end| end > limits.device_len) => "it passes the end",
            Op::Read | Op::Write => return Ok(()),
        };
        let message = format!("request {request:?} was not started: {fault}");
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }

    fn start_flush(&mut self, request: Request) {
        let owner = self.active.insert(Active {
            request,
            open_count: 1,
            error: None,
        });
        let id = self.pieces.insert(Part {
            owner,
            at: 0,
            len: 0,
            retry_count: 0,
        });
        self.due.push_front(id);
    }

    /// Starts requests, in order, as long as they fit under the cap.
    fn admit(&mut self) {
        while let Some(next) = self.waiting.front() {
            let fits = self.active_len.saturating_add(next.len) <= self.limits.cap_len;
            if !fits && self.active_len > 0 {
                return;
            }
            if let Some(request) = self.waiting.pop_front() {
                self.start_transfer(request);
            }
        }
    }

    fn start_transfer(&mut self, request: Request) {
        let len = request.len;
        let piece_len = self.limits.piece_len;
        self.active_len += len;
        let owner = self.active.insert(Active {
            request,
            open_count: len.div_ceil(piece_len),
            error: None,
        });
        for at in (0..len).step_by(piece_len) {
            let id = self.pieces.insert(Part {
                owner,
                at,
                len: piece_len.min(len - at),
                retry_count: 0,
            });
            self.due.push_back(id);
        }
    }

    /// The next piece that the kernel should get, if there is one. The caller says
    /// [`sent`](Self::sent) once the kernel is certain to see it.
    pub(super) fn next_due(&self) -> Option<(PieceId, Piece<'_>)> {
        let id = *self.due.front()?;
        let part = self.pieces.get(id)?;
        let request = &self.active.get(part.owner)?.request;
        Some((
            id,
            Piece {
                op: &request.op,
                offset: request.offset + part.at as u64,
                buffer: request.buffer.as_ref(),
                at: part.at,
                len: part.len,
            },
        ))
    }

    /// The piece that [`next_due`](Self::next_due) gave out is with the kernel now.
    pub(super) fn sent(&mut self) {
        self.due.pop_front();
    }

    /// The kernel is done with piece `id`: `result` is the number of bytes, or an error number.
    pub(super) fn finish(&mut self, id: PieceId, result: Result<usize, Errno>) {
        let Some(mut part) = self.pieces.get(id).copied() else {
            return tracing::error!(id, "the kernel completed a transfer that was never started");
        };
        let Some(active) = self.active.get(part.owner) else {
            return;
        };
        let unit_len = self.limits.alignment.unit_len() as usize;
        match part.advance(&active.request.op, result, unit_len) {
            Ok(true) => self.finish_piece(id, part.owner, None),
            Err(error) => self.finish_piece(id, part.owner, Some(error)),
            Ok(false) => {
                if let Some(place) = self.pieces.get_mut(id) {
                    *place = part;
                }
                self.due.push_front(id);
            }
        }
    }

    fn finish_piece(&mut self, id: PieceId, owner: usize, error: Option<io::Error>) {
        self.pieces.remove(id);
        let Some(active) = self.active.get_mut(owner) else {
            return;
        };
        active.error = active.error.take().or(error);
        active.open_count -= 1;
        if active.open_count > 0 {
            return;
        }
        if let Some(Active { request, error, .. }) = self.active.remove(owner) {
            self.active_len -= request.buffer.as_ref().map_or(0, |_| request.len);
            self.done.push_back(Completion {
                token: request.token,
                result: error.map_or(Ok(()), Err),
                buffer: request.buffer,
            });
            self.admit();
        }
    }

    /// A finished request, if there is one.
    pub(super) fn pop_done(&mut self) -> Option<Completion> {
        self.done.pop_front()
    }

    /// Whether a finished request is there.
    pub(super) fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    /// How many requests were submitted and not reaped.
    pub(super) fn in_flight(&self) -> usize {
        self.waiting.len() + self.active.len() + self.done.len()
    }

    /// How many bytes are in pieces that are due or with the kernel.
    pub(super) fn active_len(&self) -> usize {
        self.active_len
    }
}

impl Part {
    /// Takes in what the kernel did; returns whether the piece is finished. If not, it stands for
    /// what is left to do.
    fn advance(
        &mut self,
        op: &Op,
        result: Result<usize, Errno>,
        unit_len: usize,
    ) -> io::Result<bool> {
        let done_len = match result {
            Ok(done_len) => done_len,
            Err(Errno::INTR | Errno::AGAIN) if self.retry_count < MAX_RETRY_COUNT => {
                self.retry_count += 1;
                return Ok(false);
            }
            Err(errno) => return Err(errno.into()),
        };
        if done_len >= self.len || matches!(op, Op::Flush) {
            return Ok(true);
        }
        // Direct I/O can go on at a unit only; a transfer that stopped within one repeats it.
        let kept_len = done_len - done_len % unit_len;
        if done_len == 0 || (kept_len == 0 && self.retry_count >= MAX_RETRY_COUNT) {
            return Err(match op {
                Op::Write => io::Error::from(io::ErrorKind::WriteZero),
                Op::Read | Op::Flush => io::Error::from(io::ErrorKind::UnexpectedEof),
            });
        }
        if kept_len == 0 {
            self.retry_count += 1;
        }
        self.at += kept_len;
        self.len -= kept_len;
        Ok(false)
    }
}

/// A table whose free places are used again.
struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Slab<T> {
    fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    fn insert(&mut self, value: T) -> usize {
        let Some(index) = self.free.pop() else {
            self.places.push(Some(value));
            return self.places.len() - 1;
        };
        if let Some(place) = self.places.get_mut(index) {
            *place = Some(value);
        }
        index
    }

    fn get(&self, index: usize) -> Option<&T> {
        self.places.get(index)?.as_ref()
    }

    fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.places.get_mut(index)?.as_mut()
    }

    fn remove(&mut self, index: usize) -> Option<T> {
        let value = self.places.get_mut(index)?.take()?;
        self.free.push(index);
        Some(value)
    }

    fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(all(test, not(camring_loom)))]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    const UNIT_LEN: usize = 4096;

    fn transfers() -> Transfers {
        Transfers::new(Limits {
            alignment: Alignment::PAGE,
            device_len: 1 << 20,
            piece_len: 4 * UNIT_LEN,
            cap_len: 8 * UNIT_LEN,
        })
    }

    fn request(token: u64, op: Op, offset: u64, len: usize) -> Request {
        let buffer = Some(Buffer::allocate(len).unwrap());
        Request {
            token,
            op,
            offset,
            len,
            buffer,
        }
    }

    fn flush(token: u64) -> Request {
        Request {
            token,
            op: Op::Flush,
            offset: 0,
            len: 0,
            buffer: None,
        }
    }

    /// Sends all that is due; returns what a kernel would see: id, offset, place, length.
    fn send(transfers: &mut Transfers) -> Vec<(PieceId, u64, usize, usize)> {
        std::iter::from_fn(|| {
            let (id, piece) = transfers.next_due()?;
            let seen = (id, piece.offset, piece.at, piece.len);
            transfers.sent();
            Some(seen)
        })
        .collect()
    }

    #[test]
    fn a_long_request_is_cut_and_finishes_with_its_last_piece() {
        let mut transfers = transfers();
        transfers.submit(request(1, Op::Write, 65536, 6 * UNIT_LEN));
        let sent = send(&mut transfers);
        let places: Vec<_> = sent
            .iter()
            .map(|&(_, offset, at, len)| (offset, at, len))
            .collect();
        assert_eq!(places, [(65536, 0, 16384), (65536 + 16384, 16384, 8192)]);

        transfers.finish(sent[1].0, Ok(8192));
        assert!(!transfers.has_done());
        transfers.finish(sent[0].0, Ok(16384));
        transfers.pop_done().unwrap().result.unwrap();
        assert_eq!((transfers.in_flight(), transfers.active_len()), (0, 0));
    }

    #[test]
    fn bytes_beyond_the_cap_wait_in_order_and_a_flush_passes_them() {
        let mut transfers = transfers();
        for token in 1..=4 {
            transfers.submit(request(token, Op::Write, token << 16, 3 * UNIT_LEN));
        }
        transfers.submit(flush(5));
        let sent = send(&mut transfers);
        let offsets: Vec<_> = sent.iter().map(|piece| piece.1).collect();
        assert_eq!(offsets, [0, 1 << 16, 2 << 16], "the flush, and two writes");
        assert_eq!(transfers.in_flight(), 5);

        transfers.finish(sent[2].0, Ok(3 * UNIT_LEN));
        let sent = send(&mut transfers);
        assert_eq!(sent[0].1, 3 << 16);
        assert_eq!(transfers.active_len(), 6 * UNIT_LEN);
    }

    #[test]
    fn a_request_longer_than_the_cap_goes_alone() {
        let mut transfers = transfers();
        transfers.submit(request(1, Op::Read, 0, UNIT_LEN));
        transfers.submit(request(2, Op::Read, 0, 10 * UNIT_LEN));
        transfers.submit(request(3, Op::Read, 0, UNIT_LEN));
        let first = send(&mut transfers);
        assert_eq!(first.len(), 1);
        transfers.finish(first[0].0, Ok(UNIT_LEN));
        let second = send(&mut transfers);
        assert_eq!(second.len(), 3, "three pieces of one request");
        for (id, _, _, len) in second {
            transfers.finish(id, Ok(len));
        }
        assert_eq!(send(&mut transfers).len(), 1);
    }

    #[test]
    fn a_short_transfer_goes_on_at_the_unit_where_it_stopped() {
        let mut transfers = transfers();
        transfers.submit(request(1, Op::Read, 8192, 4 * UNIT_LEN));
        let id = send(&mut transfers)[0].0;
        transfers.finish(id, Ok(UNIT_LEN + 512));
        assert_eq!(send(&mut transfers), [(id, 12288, UNIT_LEN, 3 * UNIT_LEN)]);
        transfers.finish(id, Ok(3 * UNIT_LEN));
        transfers.pop_done().unwrap().result.unwrap();
    }

    #[test]
    fn a_transfer_of_nothing_is_the_end() {
        for (op, kind) in [
            (Op::Read, io::ErrorKind::UnexpectedEof),
            (Op::Write, io::ErrorKind::WriteZero),
        ] {
            let mut transfers = transfers();
            transfers.submit(request(1, op, 0, UNIT_LEN));
            let id = send(&mut transfers)[0].0;
            transfers.finish(id, Ok(0));
            assert_eq!(
                transfers.pop_done().unwrap().result.unwrap_err().kind(),
                kind
            );
        }
    }

    #[test]
    fn transfers_without_progress_are_given_up() {
        for result in [Err(Errno::AGAIN), Err(Errno::INTR), Ok(512)] {
            let mut transfers = transfers();
            transfers.submit(request(1, Op::Read, 0, UNIT_LEN));
            let mut try_count = 0;
            while let [(id, ..)] = send(&mut transfers)[..] {
                transfers.finish(id, result);
                try_count += 1;
            }
            assert_eq!(try_count, 17);
            assert!(transfers.pop_done().unwrap().result.is_err());
        }
    }

    #[test]
    fn the_first_error_of_a_request_is_told_after_its_last_piece() {
        let mut transfers = transfers();
        transfers.submit(request(1, Op::Write, 0, 8 * UNIT_LEN));
        let sent = send(&mut transfers);
        transfers.finish(sent[0].0, Err(Errno::IO));
        assert!(!transfers.has_done(), "the kernel still has the buffer");
        transfers.finish(sent[1].0, Err(Errno::NOSPC));
        let completion = transfers.pop_done().unwrap();
        assert_eq!(completion.result.unwrap_err().raw_os_error(), Some(5));
        assert!(completion.buffer.is_some());
    }

    #[test]
    fn a_wrong_request_never_reaches_the_device() {
        let mut longer_than_buffer = request(0, Op::Read, 0, UNIT_LEN);
        longer_than_buffer.len = 2 * UNIT_LEN;
        let mut without_buffer = request(0, Op::Write, 0, UNIT_LEN);
        without_buffer.buffer = None;
        let wrong = [
            longer_than_buffer,
            without_buffer,
            request(0, Op::Read, 512, UNIT_LEN),
            request(0, Op::Read, 0, 0),
            request(0, Op::Write, 1 << 20, UNIT_LEN),
            request(0, Op::Write, u64::MAX - 4095, UNIT_LEN),
        ];
        for request in wrong {
            let text = format!("{request:?}");
            let mut transfers = transfers();
            transfers.submit(request);
            assert!(transfers.next_due().is_none(), "{text}");
            let error = transfers.pop_done().unwrap().result.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{text}");
        }
    }
}
