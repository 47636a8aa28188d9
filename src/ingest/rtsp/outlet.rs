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
use crate::base::time::{Now, Timestamp, US_PER_S};
use crate::frame::{Frame, FrameSink, Gap, GapCause, Item, StreamId, StreamSetup};

/// How far the times of pictures go back where they are stored in the order of decoding. More than
/// that is a clock that was set back.
const MAX_REORDER_US: i64 = 2 * US_PER_S;

/// The sink of all cameras of a recorder. With a runtime of one thread the lock is always free.
pub(super) type SharedSink = Arc<Mutex<dyn FrameSink + Send>>;

pub(super) struct Outlet {
    stream: StreamId,
    /// The camera's name.
    name: String,
    sink: SharedSink,
    status: Arc<CameraStatus>,
    max_frame_len: usize,
    /// How the next frame is decoded.
    setup: Option<Arc<StreamSetup>>,
    /// The setup that the sink took last.
    told_setup: Option<Arc<StreamSetup>>,
    /// The gap that lasts.
    silence: Option<Gap>,
    /// The last frame of each track.
    last_times: Vec<Timestamp>,
    /// The greatest time of a frame: with B-frames not that of the last one.
    greatest_time: Option<Timestamp>,
}

impl Outlet {
    pub(super) fn new(
        stream: StreamId,
        name: &str,
        sink: SharedSink,
        status: Arc<CameraStatus>,
        max_frame_len: usize,
    ) -> Self {
        Self {
            stream,
            name: name.to_owned(),
            sink,
            status,
            max_frame_len,
            setup: None,
            told_setup: None,
            silence: None,
            last_times: Vec::new(),
            greatest_time: None,
        }
    }

    /// The camera is recorded again, perhaps another one under the same number. The gap goes on
    /// until it sends something.
    pub(super) fn rejoin(&mut self, name: &str, status: Arc<CameraStatus>) {
        name.clone_into(&mut self.name);
        self.status = status;
        self.setup = None;
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
        if self.lasting_cause() == Some(GapCause::NoSignal) {
            return Ok(());
        }
        self.begin_gap(GapCause::NoSignal, now)
    }

    /// The camera is no longer recorded: from now on there is a gap by choice.
    ///
    /// # Errors
    ///
    /// The sink failed for good.
    pub(super) fn leave(&mut self, now: Now) -> Result<()> {
        self.begin_gap(GapCause::Idle, now)
    }

    fn lasting_cause(&self) -> Option<GapCause> {
        self.silence.map(|gap| gap.cause)
    }

    /// Begins a gap at the end of what was recorded, or where the gap ends that lasts.
    fn begin_gap(&mut self, cause: GapCause, now: Now) -> Result<()> {
        self.tell_name()?;
        let now = Timestamp(now.utc_us);
        let start = match self.silence {
            Some(lasting) => now.max(lasting.start),
            None => self.greatest_time.unwrap_or(now),
        };
        self.end_silence(start)?;
        let gap = gap(cause, start, None);
        self.silence = Some(gap);
        self.offer(Item::Gap(gap)).map(|_| ())
    }

    /// Tells how the camera is called, if that was not told: who looks for it by its name shall
    /// find that it sends nothing.
    fn tell_name(&mut self) -> Result<()> {
        let tracks = match &self.told_setup {
            Some(told) if told.name == self.name => return Ok(()),
            Some(told) => told.tracks.clone(),
            None => Vec::new(),
        };
        let name = self.name.clone();
        let setup = Arc::new(StreamSetup { name, tracks });
        if self.offer(Item::Setup(Arc::clone(&setup)))? {
            self.told_setup = Some(setup);
        }
        Ok(())
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
            self.note_time(time);
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

    fn note_time(&mut self, time: Timestamp) {
        let is_reordered =
            |greatest: &Timestamp| (0..MAX_REORDER_US).contains(&greatest.us_since(time));
        self.greatest_time = self.greatest_time.filter(is_reordered).or(Some(time));
    }

    fn end_silence(&mut self, time: Timestamp) -> Result<bool> {
        let Some(lasting) = self.silence else {
            return Ok(true);
        };
        let gap = gap(lasting.cause, lasting.start, Some(time));
        let is_taken = self.offer(Item::Gap(gap))?;
        if is_taken {
            self.silence = None;
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
            .field("silence", &self.silence)
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

    /// Of a camera called "first".
    fn case() -> Case {
        let keeper = Arc::new(Mutex::new(Keeper::default()));
        let status = Arc::new(CameraStatus::new(StreamId(1), "door"));
        let sink: SharedSink = Arc::<Mutex<Keeper>>::clone(&keeper);
        let mut outlet = Outlet::new(StreamId(1), "first", sink, Arc::clone(&status), 100);
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
        assert_eq!(case.taken(), ["setup first", "no signal 1000 to .."]);
        case.outlet.frame(frame(5_000, 9), 3).unwrap();
        let expected = ["no signal 1000 to 5000", "packet loss 5000 to 5000"];
        assert_eq!(case.taken()[..2], expected);
        case.outlet.no_signal(NOW).unwrap();
        assert_eq!(case.taken(), ["no signal 5000 to .."]);
    }

    /// The last picture in the order of decoding is not the last one to be shown.
    #[test]
    fn silence_begins_behind_everything_that_was_recorded() {
        let mut case = case();
        for time in [1_000_000, 1_160_000, 1_080_000, 1_040_000] {
            case.outlet.frame(frame(time, 9), 0).unwrap();
        }
        case.taken();
        case.outlet.no_signal(NOW).unwrap();
        assert_eq!(case.taken(), ["no signal 1160000 to .."]);
        // The camera's clock is set back by an hour: what counts is what came after that.
        let mut case = self::case();
        for time in [3_600_000_000, 5_000, 4_000] {
            case.outlet.frame(frame(time, 9), 0).unwrap();
        }
        case.taken();
        case.outlet.no_signal(NOW).unwrap();
        assert_eq!(case.taken(), ["no signal 5000 to .."]);
    }

    #[test]
    fn a_camera_that_is_removed_is_idle_until_it_sends_again() {
        let mut case = case();
        case.outlet.frame(frame(500, 9), 0).unwrap();
        case.taken();
        case.outlet.leave(NOW).unwrap();
        assert_eq!(case.taken(), ["idle 500 to .."]);
        case.outlet.rejoin("gate", Arc::clone(&case.status));
        // It cannot be reached at first.
        case.outlet.no_signal(NOW).unwrap();
        case.outlet.no_signal(NOW).unwrap();
        let expected = ["setup gate", "idle 500 to 1000", "no signal 1000 to .."];
        assert_eq!(case.taken(), expected);
        case.outlet.set_setup(setup("gate"));
        case.outlet.frame(frame(2_000, 9), 0).unwrap();
        let expected = ["no signal 1000 to 2000", "frame 2000"];
        assert_eq!(case.taken(), expected);
    }

    /// What is not there can still be asked for by its name.
    #[test]
    fn a_camera_that_never_sent_anything_has_a_name() {
        let mut case = case();
        case.outlet.leave(NOW).unwrap();
        assert_eq!(case.taken(), ["setup first", "idle 1000 to .."]);
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
        assert_eq!(case.taken(), ["setup first", "no signal 1000 to .."]);
        case.answer(Some(ErrorKind::Full));
        case.outlet.set_setup(setup("second"));
        case.outlet.frame(frame(2_000, 9), 0).unwrap();
        case.answer(None);
        case.outlet.frame(frame(3_000, 9), 0).unwrap();
        let expected = ["no signal 1000 to 3000", "setup second", "frame 3000"];
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
