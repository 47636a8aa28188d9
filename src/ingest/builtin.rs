//! The built-in cameras: four short clips, played for ever at real speed.
//!
//! They need no network, so `camring demo` and tests can record something at once. All have a key
//! frame every second. When something is due is pure code; only [`play`] sleeps.

use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::clip::Clip;
use crate::base::error::{ErrorKind, Result};
use crate::base::sync::{Arc, AtomicBool, Ordering};
use crate::base::time::{Clock, Now, Timestamp, US_PER_S};
use crate::frame::{Codec, Frame, FrameSink, Item, StreamId, StreamSetup};

/// The longest sleep of [`play`]: how long it takes at most to see that it shall stop.
const MAX_SLEEP_US: i64 = 20_000;

/// One clip, or one picture track and one sound track, played in an endless loop.
#[derive(Debug)]
pub struct BuiltinCamera {
    stream: StreamId,
    setup: Arc<StreamSetup>,
    setup_told: bool,
    reels: Vec<Reel>,
    started: Option<Now>,
}

/// Makes `count` cameras as streams 1 to `count`. The four clips are dealt out in turn, and
/// cameras with the same clip share its bytes.
///
/// # Errors
///
/// None but for a defect in the clips that are compiled in.
pub fn cameras(count: u32) -> Result<Vec<BuiltinCamera>> {
    let scenes = scenes()?;
    let numbers = 1..=u64::from(count);
    let cameras = numbers
        .zip(scenes.iter().cycle())
        .map(|(number, scene)| BuiltinCamera::new(StreamId(number), scene));
    Ok(cameras.collect())
}

/// Plays `cameras` into `sink` until `stop` is set. Frames that come due while the sink is slow are
/// told late, with the times that they should have had; none is left out. The sink's
/// [`Full`](ErrorKind::Full) is its own business, and the cameras go on.
///
/// # Errors
///
/// The sink's, but for [`Full`](ErrorKind::Full). The item that it was about is lost.
pub fn play(
    cameras: &mut [BuiltinCamera],
    clock: &dyn Clock,
    sink: &mut dyn FrameSink,
    stop: &AtomicBool,
) -> Result<()> {
    // Relaxed: nothing is handed over with the flag.
    while !stop.load(Ordering::Relaxed) {
        let now = clock.now();
        for camera in cameras.iter_mut() {
            while let Some(item) = camera.due(now) {
                match sink.accept(camera.stream, item) {
                    Err(error) if error.kind() != ErrorKind::Full => return Err(error),
                    _ => {}
                }
            }
        }
        let next_us = cameras.iter().filter_map(BuiltinCamera::next_due_us).min();
        let wait_us = next_us.map_or(MAX_SLEEP_US, |at| at.saturating_sub(clock.now().boot_us));
        let wait_us = wait_us.clamp(0, MAX_SLEEP_US);
        thread::sleep(Duration::from_micros(wait_us.unsigned_abs()));
    }
    Ok(())
}

impl BuiltinCamera {
    fn new(stream: StreamId, scene: &Scene) -> Self {
        let setup = StreamSetup {
            name: format!("{} {stream}", scene.name),
            tracks: scene.clips.iter().map(|clip| clip.setup.clone()).collect(),
        };
        Self {
            stream,
            setup: Arc::new(setup),
            setup_told: false,
            reels: scene.clips.iter().cloned().map(Reel::new).collect(),
            started: None,
        }
    }

    /// The stream that this camera is.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// How its frames are decoded.
    pub fn setup(&self) -> &Arc<StreamSetup> {
        &self.setup
    }

    /// The boot clock at which the next item is due, in microseconds; none before the camera was
    /// asked for an item for the first time, which starts it.
    pub fn next_due_us(&self) -> Option<i64> {
        let started = self.started?;
        let next = self.reels.iter().map(Reel::offset_us).min()?;
        Some(started.boot_us.saturating_add(next))
    }

    /// The next item, if it is due at `now`: first the setup, then the frames of all tracks in the
    /// order of their times. The first call starts the camera: its first frame is taken at that
    /// `now`. Later steps of the wall clock do not move the times.
    pub fn due(&mut self, now: Now) -> Option<Item> {
        let started = *self.started.get_or_insert(now);
        if !self.setup_told {
            self.setup_told = true;
            return Some(Item::Setup(Arc::clone(&self.setup)));
        }
        if self.next_due_us()? > now.boot_us {
            return None;
        }
        let reels = (0u8..).zip(&mut self.reels);
        let (track, reel) = reels.min_by_key(|(_, reel)| reel.offset_us())?;
        let time = Timestamp(started.utc_us).plus_us(reel.offset_us());
        Some(Item::Frame(reel.take(track, time)?))
    }
}

/// A clip and the place where it is being played.
#[derive(Debug)]
struct Reel {
    clip: Arc<Clip>,
    /// How often it was played to the end.
    turn: i64,
    /// The frame to play next, less than the number of frames.
    next: usize,
}

impl Reel {
    fn new(clip: Arc<Clip>) -> Self {
        Self {
            clip,
            turn: 0,
            next: 0,
        }
    }

    /// The next frame's clock, which goes on growing over the end of the clip.
    fn clock(&self) -> i64 {
        let in_clip = self.clip.frames.get(self.next).map_or(0, |f| f.clock);
        self.turn * self.clip.clock_len + in_clip
    }

    /// When the next frame is due, in microseconds since the start.
    fn offset_us(&self) -> i64 {
        self.clock() * US_PER_S / i64::from(self.clip.setup.clock_rate_hz)
    }

    /// The next frame; moves on to the one after it.
    fn take(&mut self, track: u8, time: Timestamp) -> Option<Frame> {
        let source = self.clip.frames.get(self.next)?;
        let frame = Frame {
            track,
            key: source.key,
            leading: source.leading,
            time,
            clock: self.clock(),
            payload: source.payload.clone(),
        };
        self.next += 1;
        if self.next == self.clip.frames.len() {
            self.next = 0;
            self.turn += 1;
        }
        Some(frame)
    }
}

/// What a camera looks at.
struct Scene {
    name: &'static str,
    clips: Vec<Arc<Clip>>,
}

fn scenes() -> Result<[Scene; 4]> {
    const GATE: Bytes = Bytes::from_static(include_bytes!("clips/gate.h264"));
    const YARD: Bytes = Bytes::from_static(include_bytes!("clips/yard.h265"));
    const DOOR: Bytes = Bytes::from_static(include_bytes!("clips/door.h264"));
    const DOOR_SOUND: Bytes = Bytes::from_static(include_bytes!("clips/door.aac"));
    const LIFT: Bytes = Bytes::from_static(include_bytes!("clips/lift.mjpeg"));
    const LIFT_SOUND: Bytes = Bytes::from_static(include_bytes!("clips/lift.ul"));
    let scene = |name, clips: Vec<Clip>| Scene {
        name,
        clips: clips.into_iter().map(Arc::new).collect(),
    };
    Ok([
        scene("gate", vec![Clip::video(Codec::H264, &GATE, 25)?]),
        scene("yard", vec![Clip::video(Codec::H265, &YARD, 25)?]),
        scene(
            "door",
            vec![
                Clip::video(Codec::H264, &DOOR, 25)?,
                Clip::aac(&DOOR_SOUND)?,
            ],
        ),
        scene(
            "lift",
            vec![
                Clip::video(Codec::Mjpeg, &LIFT, 10)?,
                Clip::g711(Codec::PcmMulaw, &LIFT_SOUND)?,
            ],
        ),
    ])
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]
mod tests {
    use super::*;
    use crate::base::error::Error;
    use crate::base::time::SystemClock;

    const START: Now = Now {
        boot_us: 5_000_000,
        utc_us: 1_700_000_000_000_000,
    };

    fn after(us: i64) -> Now {
        Now {
            boot_us: START.boot_us + us,
            utc_us: START.utc_us + us,
        }
    }

    fn frames_until(camera: &mut BuiltinCamera, us: i64) -> Vec<Frame> {
        camera.due(START);
        let items = std::iter::from_fn(|| camera.due(after(us)));
        let frames = items.filter_map(|item| match item {
            Item::Frame(frame) => Some(frame),
            _ => None,
        });
        frames.collect()
    }

    #[test]
    fn the_setup_comes_first_and_the_first_frame_at_once() {
        let mut camera = cameras(1).unwrap().remove(0);
        assert_eq!(camera.next_due_us(), None);
        assert!(matches!(camera.due(START), Some(Item::Setup(setup)) if setup.name == "gate 1"));
        let Some(Item::Frame(first)) = camera.due(START) else {
            panic!("no frame");
        };
        assert!(first.key);
        assert_eq!(first.time, Timestamp(START.utc_us));
        assert_eq!(camera.due(START), None);
        assert_eq!(camera.next_due_us(), Some(START.boot_us + 40_000));
        assert_eq!(camera.due(after(39_999)), None);
        assert!(camera.due(after(40_000)).is_some());
    }

    #[test]
    fn times_grow_evenly_over_the_end_of_the_clip() {
        let mut camera = cameras(1).unwrap().remove(0);
        let frames = frames_until(&mut camera, 60 * US_PER_S);
        assert_eq!(frames.len(), 60 * 25 + 1);
        let frame_in_clip = |number: i64| usize::try_from(number % 50).unwrap();
        for (number, frame) in (0..).zip(&frames) {
            assert_eq!(
                frame.time.us_since(Timestamp(START.utc_us)),
                number * 40_000
            );
            assert_eq!(frame.clock, number * 3_600);
            assert_eq!(frame.key, number % 25 == 0, "frame {number}");
            assert_eq!(frame.payload, frames[frame_in_clip(number)].payload);
        }
    }

    #[test]
    fn the_tracks_of_a_camera_come_in_the_order_of_their_times() {
        let mut camera = cameras(4).unwrap().remove(2);
        let frames = frames_until(&mut camera, 10 * US_PER_S);
        assert!(frames.is_sorted_by_key(|frame| frame.time));
        let count = |track| frames.iter().filter(|f| f.track == track).count();
        assert_eq!(count(0), 251);
        // 16,000 samples per second, 1,024 in a frame.
        assert_eq!(count(1), 10 * 16_000 / 1_024 + 1);
    }

    #[test]
    fn every_camera_has_a_key_picture_within_each_second() {
        for mut camera in cameras(4).unwrap() {
            let frames = frames_until(&mut camera, 8 * US_PER_S);
            let keys = frames.iter().filter(|f| f.track == 0 && f.key);
            let times: Vec<i64> = keys.map(|f| f.time.0).collect();
            assert!(times.len() >= 8, "{}", camera.setup().name);
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= US_PER_S));
        }
    }

    #[test]
    fn many_cameras_share_the_bytes_of_four_clips() {
        let mut cameras = cameras(9).unwrap();
        assert_eq!(cameras[8].stream(), StreamId(9));
        assert_eq!(cameras[8].setup().name, "gate 9");
        let first = frames_until(&mut cameras[0], 0).remove(0);
        let ninth = frames_until(&mut cameras[8], 0).remove(0);
        assert_eq!(first.payload.as_ptr(), ninth.payload.as_ptr());
    }

    /// Sets `stop` when it has `wanted` items; is full for every third one, fails at `fail_at`.
    struct Counter<'a> {
        stop: &'a AtomicBool,
        taken_count: u32,
        wanted: u32,
        fail_at: u32,
    }

    impl FrameSink for Counter<'_> {
        fn accept(&mut self, _: StreamId, _: Item) -> Result<()> {
            self.taken_count += 1;
            if self.taken_count == self.wanted {
                self.stop.store(true, Ordering::Relaxed);
            }
            if self.taken_count == self.fail_at {
                return Err(Error::new(ErrorKind::Failed, "the disk is gone"));
            }
            if self.taken_count.is_multiple_of(3) {
                return Err(Error::new(ErrorKind::Full, "no room"));
            }
            Ok(())
        }
    }

    #[test]
    fn playing_goes_on_when_the_sink_is_full_and_ends_when_it_fails_or_on_demand() {
        let stop = AtomicBool::new(false);
        let mut sink = Counter {
            stop: &stop,
            taken_count: 0,
            wanted: 20,
            fail_at: 0,
        };
        let mut cameras = cameras(4).unwrap();
        play(&mut cameras, &SystemClock, &mut sink, &stop).unwrap();
        assert!(sink.taken_count >= 20);

        stop.store(false, Ordering::Relaxed);
        sink.fail_at = sink.taken_count + 5;
        let error = play(&mut cameras, &SystemClock, &mut sink, &stop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert_eq!(sink.taken_count, sink.fail_at);
    }
}
