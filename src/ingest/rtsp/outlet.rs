//! Where one camera's items go, and the record of what is missing among them.
//!
//! Nothing here waits or knows of the network. The setup is told before the first frame and at
//! every change; a gap is told when it begins and when it ends. If the sink does not take one of
//! these, the frame that follows it counts as refused, so the order is never broken.

use std::fmt;
use std::sync::Mutex;

use super::status::CameraStatus;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::sync::Arc;
use crate::base::time::{Now, Timestamp};
use crate::frame::{Frame, FrameSink, Gap, GapCause, Item, StreamId, StreamSetup};

/// The sink of all cameras of a recorder. With a runtime of one thread the lock is always free.
pub(super) type SharedSink = Arc<Mutex<dyn FrameSink + Send>>;

pub(super) struct Outlet {
    stream: StreamId,
    sink: SharedSink,
    status: Arc<CameraStatus>,
    max_frame_len: usize,
    /// How the next frame is decoded.
    setup: Option<Arc<StreamSetup>>,
    /// The setup that the sink took last.
    told_setup: Option<Arc<StreamSetup>>,
    /// The start of the gap that lasts.
    silent_since: Option<Timestamp>,
    /// The last frame of each track.
    last_times: Vec<Timestamp>,
}

impl Outlet {
    pub(super) fn new(
        stream: StreamId,
        sink: SharedSink,
        status: Arc<CameraStatus>,
        max_frame_len: usize,
    ) -> Self {
        Self {
            stream,
            sink,
            status,
            max_frame_len,
            setup: None,
            told_setup: None,
            silent_since: None,
            last_times: Vec::new(),
        }
    }

    /// From now on frames are decoded by `setup`.
    pub(super) fn set_setup(&mut self, setup: StreamSetup) {
        if self.setup.as_deref() != Some(&setup) {
            self.setup = Some(Arc::new(setup));
        }
    }

    /// The camera sends nothing that can be kept. Begins a gap, unless one lasts already.
    ///
    /// # Errors
    ///
    /// The sink failed for good.
    pub(super) fn no_signal(&mut self, now: Now) -> Result<()> {
        if self.silent_since.is_some() {
            return Ok(());
        }
        let last = self.last_times.iter().max();
        let start = last.copied().unwrap_or(Timestamp(now.utc_us));
        self.silent_since = Some(start);
        let gap = gap(GapCause::NoSignal, start, None);
        self.offer(Item::Gap(gap)).map(|_| ())
    }

    /// Tells a frame, with all that must be told before it. `lost_packet_count` packets are missing
    /// between the frame and the one before it.
    ///
    /// # Errors
    ///
    /// The sink failed for good.
    pub(super) fn frame(&mut self, frame: Frame, lost_packet_count: u16) -> Result<()> {
        self.status.count_lost_packets(lost_packet_count);
        let (time, len) = (frame.time, frame.payload.len());
        let before = self.last_time(frame.track, time);
        let is_taken = self.end_silence(time)?
            && self.tell_loss(lost_packet_count, before, time)?
            && self.tell_setup()?
            && self.tell_frame(frame, before)?;
        if is_taken {
            self.status.count_frame(len, time);
        } else {
            self.status.count_refused();
        }
        Ok(())
    }

    /// The time of the last frame of `track`, which is replaced by `time`; `time` if there is none.
    fn last_time(&mut self, track: u8, time: Timestamp) -> Timestamp {
        let track = usize::from(track);
        if self.last_times.len() <= track {
            self.last_times.resize(track + 1, time);
        }
        let last = self.last_times.get_mut(track);
        last.map_or(time, |last| std::mem::replace(last, time))
    }

    fn end_silence(&mut self, time: Timestamp) -> Result<bool> {
        let Some(start) = self.silent_since else {
            return Ok(true);
        };
        let gap = gap(GapCause::NoSignal, start, Some(time));
        let is_taken = self.offer(Item::Gap(gap))?;
        if is_taken {
            self.silent_since = None;
        }
        Ok(is_taken)
    }

    fn tell_loss(&mut self, count: u16, start: Timestamp, end: Timestamp) -> Result<bool> {
        if count == 0 {
            return Ok(true);
        }
        self.offer(Item::Gap(gap(GapCause::PacketLoss, start, Some(end))))
    }

    fn tell_setup(&mut self) -> Result<bool> {
        if self.setup == self.told_setup {
            return Ok(true);
        }
        let Some(setup) = self.setup.clone() else {
            return Ok(false);
        };
        let is_taken = self.offer(Item::Setup(Arc::clone(&setup)))?;
        if is_taken {
            self.told_setup = Some(setup);
        }
        Ok(is_taken)
    }

    fn tell_frame(&mut self, frame: Frame, before: Timestamp) -> Result<bool> {
        if frame.payload.len() <= self.max_frame_len {
            return self.offer(Item::Frame(frame));
        }
        let mut gap = gap(GapCause::Oversize, before, Some(frame.time));
        gap.lost_count = Some(1);
        self.offer(Item::Gap(gap))?;
        Ok(false)
    }

    /// Offers an item to the sink, and tells whether it took it.
    fn offer(&mut self, item: Item) -> Result<bool> {
        let Ok(mut sink) = self.sink.lock() else {
            let message = "the sink panicked when it took a frame of another camera";
            return Err(Error::new(ErrorKind::Failed, message));
        };
        match sink.accept(self.stream, item) {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.kind(), ErrorKind::Full | ErrorKind::Invalid) => {
                tracing::debug!(stream = self.stream.0, error = %e, "the sink refuses an item");
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }
}

/// A gap that ends no earlier than it starts: with B-frames, times go back.
fn gap(cause: GapCause, start: Timestamp, end: Option<Timestamp>) -> Gap {
    Gap {
        cause,
        start,
        end: end.map(|end| end.max(start)),
        lost_count: None,
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet")
            .field("stream", &self.stream)
            .field("silent_since", &self.silent_since)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]
mod tests {
    use super::*;

    const NOW: Now = Now {
        boot_us: 50,
        utc_us: 1_000,
    };

    /// Keeps what it takes; answers with `error` while there is one.
    #[derive(Default)]
    struct Keeper {
        items: Vec<Item>,
        error: Option<ErrorKind>,
    }

    impl FrameSink for Keeper {
        fn accept(&mut self, _: StreamId, item: Item) -> Result<()> {
            if let Some(kind) = self.error {
                return Err(Error::new(kind, "no"));
            }
            self.items.push(item);
            Ok(())
        }
    }

    struct Case {
        keeper: Arc<Mutex<Keeper>>,
        status: Arc<CameraStatus>,
        outlet: Outlet,
    }

    fn case() -> Case {
        let keeper = Arc::new(Mutex::new(Keeper::default()));
        let status = Arc::new(CameraStatus::new(StreamId(1), "door"));
        let sink: SharedSink = Arc::<Mutex<Keeper>>::clone(&keeper);
        let mut outlet = Outlet::new(StreamId(1), sink, Arc::clone(&status), 100);
        outlet.set_setup(setup("first"));
        Case {
            keeper,
            status,
            outlet,
        }
    }

    impl Case {
        /// What the sink took since the last call, in short.
        fn taken(&self) -> Vec<String> {
            let items = std::mem::take(&mut self.keeper.lock().unwrap().items);
            items.iter().map(short).collect()
        }

        fn answer(&self, error: Option<ErrorKind>) {
            self.keeper.lock().unwrap().error = error;
        }
    }

    fn short(item: &Item) -> String {
        match item {
            Item::Setup(setup) => format!("setup {}", setup.name),
            Item::Frame(frame) | Item::Preroll(frame) => format!("frame {}", frame.time.0),
            Item::Gap(gap) => {
                let end = gap.end.map_or("..".to_owned(), |end| end.0.to_string());
                format!("{} {} to {end}", gap.cause, gap.start.0)
            }
        }
    }

    fn setup(name: &str) -> StreamSetup {
        StreamSetup {
            name: name.to_owned(),
            tracks: Vec::new(),
        }
    }

    fn frame(time: i64, len: usize) -> Frame {
        Frame {
            track: 0,
            key: false,
            leading: false,
            time: Timestamp(time),
            clock: 0,
            payload: vec![0; len].into(),
        }
    }

    #[test]
    fn the_setup_comes_before_the_first_frame_and_at_every_change() {
        let mut case = case();
        case.outlet.frame(frame(1, 9), 0).unwrap();
        case.outlet.set_setup(setup("first"));
        case.outlet.frame(frame(2, 9), 0).unwrap();
        case.outlet.set_setup(setup("second"));
        case.outlet.frame(frame(3, 9), 0).unwrap();
        let expected = [
            "setup first",
            "frame 1",
            "frame 2",
            "setup second",
            "frame 3",
        ];
        assert_eq!(case.taken(), expected);
        let report = case.status.report();
        assert_eq!((report.frame_count, report.byte_count), (3, 27));
        assert_eq!(report.last_frame_us, Some(3));
    }

    #[test]
    fn silence_is_told_once_when_it_begins_and_once_when_it_ends() {
        let mut case = case();
        case.outlet.no_signal(NOW).unwrap();
        case.outlet.no_signal(NOW).unwrap();
        assert_eq!(case.taken(), ["no signal 1000 to .."]);
        case.outlet.frame(frame(5_000, 9), 3).unwrap();
        let expected = ["no signal 1000 to 5000", "packet loss 5000 to 5000"];
        assert_eq!(case.taken()[..2], expected);
        case.outlet.no_signal(NOW).unwrap();
        assert_eq!(case.taken(), ["no signal 5000 to .."]);
    }

    #[test]
    fn lost_packets_are_told_before_the_frame_and_times_may_go_back() {
        let mut case = case();
        case.outlet.frame(frame(80, 9), 0).unwrap();
        case.taken();
        case.outlet.frame(frame(120, 9), 2).unwrap();
        case.outlet.frame(frame(100, 9), 1).unwrap();
        let expected = [
            "packet loss 80 to 120",
            "frame 120",
            "packet loss 120 to 120",
            "frame 100",
        ];
        assert_eq!(case.taken(), expected);
        assert_eq!(case.status.report().lost_packet_count, 3);
    }

    #[test]
    fn a_frame_that_is_too_long_becomes_a_gap() {
        let mut case = case();
        case.outlet.frame(frame(1, 100), 0).unwrap();
        case.outlet.frame(frame(2, 101), 0).unwrap();
        case.outlet.frame(frame(3, 1), 0).unwrap();
        let taken = case.taken();
        assert_eq!(taken[1..], ["frame 1", "oversize 1 to 2", "frame 3"]);
        assert_eq!(case.status.report().refused_count, 1);
    }

    #[test]
    fn what_a_full_sink_refused_is_told_again_before_the_next_frame() {
        let mut case = case();
        case.outlet.no_signal(NOW).unwrap();
        case.taken();
        case.answer(Some(ErrorKind::Full));
        case.outlet.frame(frame(2_000, 9), 0).unwrap();
        case.answer(None);
        case.outlet.frame(frame(3_000, 9), 0).unwrap();
        let expected = ["no signal 1000 to 3000", "setup first", "frame 3000"];
        assert_eq!(case.taken(), expected);
        assert_eq!(case.status.report().refused_count, 1);
    }

    #[test]
    fn a_sink_that_fails_ends_the_camera() {
        let mut case = case();
        case.answer(Some(ErrorKind::Failed));
        let error = case.outlet.frame(frame(1, 9), 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
    }
}
