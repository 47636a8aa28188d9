//! Filters between a source and its sinks: who gets which items, what each may lose, and what
//! others then notice. Compared with plain lists of what went in.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and a random test prints its seed"
)]

#[path = "support/camera.rs"]
mod camera;

use std::io::{Error as IoError, Write};
use std::sync::mpsc::TryRecvError;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use camring::base::time::Timestamp;
use camring::frame::filter::{
    ChannelLimits, Count, Discard, Fork, Inspect, Receiver, Renumber, RepeatSetups, Select,
    StreamCounts, channel,
};
use camring::frame::{Codec, Frame, FrameSink, Gap, GapCause, Item, StreamId, StreamSetup};
use camring::{Error, ErrorKind, Result};

const START_US: i64 = 1_700_000_000_000_000;
const KEY_EVERY: u64 = 10;
const A: StreamId = StreamId(1);
const B: StreamId = StreamId(2);

type Items = Vec<(StreamId, Item)>;

/// Keeps what it takes where the test can see it.
#[derive(Clone, Debug, Default)]
struct Keeper(Arc<Mutex<Items>>);

impl Keeper {
    fn items(&self) -> Items {
        self.0.lock().unwrap().clone()
    }
}

impl FrameSink for Keeper {
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        self.0.lock().unwrap().push((stream, item));
        Ok(())
    }
}

/// Refuses every third item.
#[derive(Debug, Default)]
struct Moody {
    offered_count: u64,
    keeper: Keeper,
}

impl FrameSink for Moody {
    fn accept(&mut self, stream: StreamId, item: Item) -> Result<()> {
        self.offered_count += 1;
        if self.offered_count.is_multiple_of(3) {
            return Err(Error::new(ErrorKind::Io, "every third item is too much"));
        }
        self.keeper.accept(stream, item)
    }
}

fn setup(name: &str) -> Item {
    Item::Setup(camera::setup(name).into())
}

/// A setup with pictures on track 0 and sound on track 1.
fn setup_with_sound(name: &str) -> Item {
    let mut setup = camera::setup(name);
    let mut sound = setup.tracks[0].clone();
    sound.codec = Codec::PcmMulaw;
    (sound.clock_rate_hz, sound.channel_count) = (8_000, 1);
    setup.tracks.push(sound);
    Item::Setup(setup.into())
}

fn frame(stream: StreamId, number: u64) -> Item {
    Item::Frame(picture(stream, number))
}

fn picture(stream: StreamId, number: u64) -> Frame {
    camera::frame(stream.0, number, START_US, KEY_EVERY, 100)
}

/// Sound at the time of picture `number`.
fn sound(stream: StreamId, number: u64) -> Item {
    Item::Frame(Frame {
        track: 1,
        key: true,
        ..picture(stream, number)
    })
}

fn time_of(number: u64) -> Timestamp {
    Timestamp(START_US + 40_000 * number.cast_signed())
}

fn lost_gap(from: u64, to: u64, lost_count: u64) -> Item {
    Item::Gap(Gap {
        cause: GapCause::QueueFull,
        start: time_of(from),
        end: Some(time_of(to)),
        lost_count: Some(lost_count),
    })
}

fn limits(item_count: usize) -> ChannelLimits {
    ChannelLimits {
        item_count,
        ..ChannelLimits::default()
    }
}

/// Offers all to `sink`, and returns how many it refused.
fn offer(sink: &mut impl FrameSink, items: impl IntoIterator<Item = (StreamId, Item)>) -> usize {
    let outcomes = items
        .into_iter()
        .map(|(stream, item)| sink.accept(stream, item));
    outcomes.filter(Result::is_err).count()
}

fn frames(stream: StreamId, numbers: std::ops::Range<u64>) -> Items {
    numbers.map(|n| (stream, frame(stream, n))).collect()
}

/// Takes all that is in the queue now.
fn waiting(receiver: &Receiver) -> Items {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

// ---- fork ----

/// A viewer opens a window while two cameras are playing.
#[test]
fn a_branch_that_joins_gets_all_setups_first_and_begins_with_key_frames() {
    let early = Keeper::default();
    let late = Keeper::default();
    let mut fork = Fork::new();
    let _early = fork.connect(early.clone());
    let mut all = vec![(A, setup_with_sound("a")), (B, setup("b"))];
    for n in 0..15 {
        all.extend([(A, frame(A, n)), (A, sound(A, n)), (B, frame(B, n + 3))]);
    }
    offer(&mut fork, all.clone());
    let _late = fork.connect(late.clone());
    assert_eq!(
        late.items(),
        [],
        "all that a sink gets comes with the items"
    );
    let mut rest = Vec::new();
    for n in 15..30 {
        rest.extend([(A, sound(A, n)), (A, frame(A, n)), (B, frame(B, n + 3))]);
    }
    offer(&mut fork, rest.clone());

    // B's key frames are numbers 20 and 30, A's is 20; A's sound waits for its picture.
    let mut entered = [false; 2];
    let mut expected = vec![(A, setup_with_sound("a")), (B, setup("b"))];
    for (stream, item) in &rest {
        let Item::Frame(found) = item else {
            unreachable!()
        };
        let entered = &mut entered[(stream.0 - 1) as usize];
        *entered |= found.track == 0 && found.key;
        if *entered {
            expected.push((*stream, item.clone()));
        }
    }
    assert_eq!(late.items(), expected);
    assert_eq!(expected[2], (B, frame(B, 20)));
    all.extend(rest);
    // Its first sound came behind the first picture, so the first branch has everything but the
    // pictures of B before a key frame.
    all.retain(|item| !(3..10).any(|n| *item == (B, frame(B, n))));
    assert_eq!(early.items(), all);
}

#[test]
fn the_leading_pictures_behind_the_first_key_frame_are_not_for_who_joins_there() {
    let keeper = Keeper::default();
    let mut fork = Fork::new();
    let _branch = fork.connect(keeper.clone());
    let leading = |n| {
        let mut frame = picture(A, n);
        frame.leading = true;
        (A, Item::Frame(frame))
    };
    let setup = (A, setup("a"));
    let (key, later_key) = ((A, frame(A, 10)), (A, frame(A, 20)));
    let (plain, later_leading) = ((A, frame(A, 12)), leading(21));
    let all = [setup, key, leading(11), plain, later_key, later_leading];
    offer(&mut fork, all.clone());
    let mut expected = all.to_vec();
    expected.remove(2);
    assert_eq!(keeper.items(), expected);
}

#[test]
fn a_stream_without_pictures_is_joined_at_once() {
    let keeper = Keeper::default();
    let mut fork = Fork::new();
    let Item::Setup(both) = setup_with_sound("a") else {
        unreachable!()
    };
    let only = StreamSetup {
        tracks: both.tracks[1..].to_vec(),
        ..(*both).clone()
    };
    offer(&mut fork, [(A, Item::Setup(only.into()))]);
    let _branch = fork.connect(keeper.clone());
    offer(&mut fork, [(A, sound(A, 3))]);
    assert_eq!(keeper.items().len(), 2);
}

/// One branch refuses things, one is full, one is dead. The fourth has everything.
#[test]
fn a_branch_that_fails_loses_its_own_items_only() {
    let healthy = Keeper::default();
    let mut fork = Fork::new();
    let moody = fork.connect(Moody::default());
    let (slow_sink, slow) = channel(limits(20));
    let slow_branch = fork.connect(slow_sink);
    let (dead_sink, dead) = channel(limits(20));
    let dead_branch = fork.connect(dead_sink);
    drop(dead);
    let healthy_branch = fork.connect(healthy.clone());
    let mut all = vec![(A, setup("a"))];
    all.extend(frames(A, 0..50));
    assert_eq!(
        offer(&mut fork, all.clone()),
        0,
        "the source notices nothing"
    );

    assert_eq!(healthy.items(), all);
    let status = healthy_branch.status();
    assert_eq!((status.taken_count, status.lost_count), (50, 0));
    let status = moody.status();
    assert_eq!((status.taken_count, status.lost_count), (33, 17));
    assert!(status.last_error.unwrap().contains("every third item"));
    let status = slow_branch.status();
    assert_eq!((status.taken_count, status.lost_count), (19, 31));
    assert_eq!(slow.lost_count(), 31);
    let status = dead_branch.status();
    assert_eq!((status.taken_count, status.lost_count), (0, 50));
    let error = status.last_error.unwrap();
    assert!(
        error.contains("the receiver of the channel is gone"),
        "{error}"
    );
    let moody = moody.disconnect();
    assert_eq!(moody.keeper.items().len(), 34);
}

#[test]
fn a_branch_that_is_disconnected_gets_nothing_more_and_gives_its_sink_back() {
    let keeper = Keeper::default();
    let mut fork = Fork::new();
    let branch = fork.connect(Count::new(keeper.clone()));
    offer(&mut fork, frames(A, 0..3));
    assert_eq!(fork.branch_count(), 1);
    let count = branch.disconnect();
    offer(&mut fork, frames(A, 3..6));
    assert_eq!(fork.branch_count(), 0);
    assert_eq!(count.counts().of(A).frame_count, 3);
    assert_eq!(keeper.items(), frames(A, 0..3));
}

/// Item number `number` of a long stream: every eighth is a setup.
fn item_at(number: u64) -> Item {
    if number.is_multiple_of(8) {
        setup(&number.to_string())
    } else {
        frame(A, number)
    }
}

/// Which item of the long stream `item` is.
fn number_of(item: &Item) -> u64 {
    let number = match item {
        Item::Setup(setup) => setup.name.parse().unwrap(),
        Item::Frame(frame) => (frame.time.0 - START_US).cast_unsigned() / 40_000,
        _ => unreachable!(),
    };
    assert_eq!(*item, item_at(number));
    number
}

/// Windows open and close all the time. Each gets the setup in force, those that follow, and from
/// a key frame on everything, until it closes.
#[test]
fn branches_come_and_go_from_other_threads_while_items_flow() {
    let mut fork = Fork::new();
    let connector = fork.clone();
    offer(&mut fork, [(A, item_at(0))]);
    let windows = std::thread::spawn(move || {
        let mut all = Vec::new();
        for _ in 0..200 {
            let keeper = Keeper::default();
            let branch = connector.connect(keeper.clone());
            while keeper.items().len() < 30 {
                std::thread::yield_now();
            }
            branch.disconnect();
            all.push(keeper.items());
        }
        all
    });
    for number in 1.. {
        offer(&mut fork, [(A, item_at(number))]);
        if windows.is_finished() {
            break;
        }
    }
    for items in windows.join().unwrap() {
        let is_key = |item: &Item| matches!(item, Item::Frame(frame) if frame.key);
        let entry = items.iter().position(|(_, item)| is_key(item)).unwrap();
        let numbers: Vec<u64> = items.iter().map(|(_, item)| number_of(item)).collect();
        let setups = &numbers[..entry];
        assert_eq!(setups[0] % 8, 0, "the setup in force comes first");
        assert!(
            setups.windows(2).all(|two| two[1] == two[0] + 8),
            "{setups:?}"
        );
        assert!(
            numbers[entry] < setups[entry - 1] + 8,
            "no setup is missing"
        );
        let rest = &numbers[entry..];
        assert!(rest.windows(2).all(|two| two[1] == two[0] + 1), "{rest:?}");
    }
}

// ---- channel ----

/// The receiver sleeps for fifty frames. It gets what fitted, learns of the loss, and goes on at a
/// key frame.
#[test]
fn a_full_channel_drops_up_to_the_next_key_frame_with_room_and_tells_how_many() {
    let (mut sink, receiver) = channel(limits(16));
    offer(&mut sink, [(A, setup("a"))]);
    assert_eq!(offer(&mut sink, frames(A, 0..55)), 40);
    let error = sink.accept(A, frame(A, 55)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    let taken = waiting(&receiver);
    let mut expected = vec![(A, setup("a"))];
    expected.extend(frames(A, 0..15));
    assert_eq!(taken, expected);

    // There is room again, but frames 56 to 59 refer to lost ones.
    assert_eq!(offer(&mut sink, frames(A, 56..65)), 4);
    drop(sink);
    let taken: Items = receiver.collect();
    let mut expected = vec![(A, lost_gap(14, 60, 45))];
    expected.extend(frames(A, 60..65));
    assert_eq!(taken, expected);
}

#[test]
fn a_setup_that_finds_the_channel_full_comes_before_the_next_frame() {
    let (mut sink, receiver) = channel(limits(5));
    offer(&mut sink, [(A, setup("old"))]);
    offer(&mut sink, frames(A, 0..8));
    sink.accept(A, setup("new")).unwrap();
    sink.accept(A, setup("newest")).unwrap();
    let signal_gap = Item::Gap(Gap {
        cause: GapCause::NoSignal,
        start: time_of(8),
        end: None,
        lost_count: None,
    });
    sink.accept(A, signal_gap).unwrap();
    let taken = waiting(&receiver);
    assert_eq!(taken.len(), 5);
    offer(&mut sink, frames(A, 10..11));
    assert_eq!(receiver.recv(), Some((A, setup("newest"))));
    assert_eq!(receiver.recv(), Some((A, lost_gap(3, 10, 4))));
    assert_eq!(receiver.recv(), Some((A, frame(A, 10))));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    drop(sink);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(receiver.recv(), None);
}

/// Each stream has its own loss; sound of a stream with video waits for the picture.
#[test]
fn each_stream_comes_back_at_its_own_key_frame() {
    let (mut sink, receiver) = channel(limits(3));
    offer(&mut sink, [(A, setup_with_sound("a")), (B, setup("b"))]);
    offer(
        &mut sink,
        [(A, frame(A, 0)), (B, frame(B, 0)), (A, frame(A, 1))],
    );
    assert_eq!(waiting(&receiver).len(), 3);
    offer(&mut sink, [(A, sound(A, 2)), (B, frame(B, 10))]);
    assert_eq!(receiver.recv(), Some((B, lost_gap(0, 10, 1))));
    assert_eq!(receiver.recv(), Some((B, frame(B, 10))));
    offer(&mut sink, [(A, frame(A, 10)), (A, sound(A, 10))]);
    assert_eq!(receiver.recv(), Some((A, lost_gap(0, 10, 2))));
    assert_eq!(receiver.recv(), Some((A, frame(A, 10))));
    assert_eq!(receiver.recv(), Some((A, sound(A, 10))));
}

#[test]
fn bytes_are_bounded_too_and_a_longer_frame_goes_alone() {
    let (mut sink, receiver) = channel(ChannelLimits {
        item_count: 1_000,
        payload_len: 1_000,
    });
    let big = |n: u64, len: usize| {
        let mut frame = picture(A, n * KEY_EVERY);
        frame.payload = Bytes::from(vec![7; len]);
        (A, Item::Frame(frame))
    };
    assert_eq!(offer(&mut sink, [big(0, 5_000)]), 0);
    assert_eq!(offer(&mut sink, [big(1, 1)]), 1);
    assert!(receiver.recv().is_some());
    assert_eq!(offer(&mut sink, [big(2, 600), big(3, 400), big(4, 1)]), 1);
}

/// What is lost at the very end is told too.
#[test]
fn a_loss_at_the_end_is_told_without_an_end() {
    let (mut sink, receiver) = channel(limits(3));
    offer(&mut sink, frames(A, 0..9));
    drop(sink);
    let last = receiver.last().unwrap();
    let expected = Item::Gap(Gap {
        cause: GapCause::QueueFull,
        start: time_of(2),
        end: None,
        lost_count: Some(6),
    });
    assert_eq!(last, (A, expected));
}

/// A fast source and a slow reader on another thread: what arrives and what is told as lost is all
/// that was sent, for three random patterns.
#[test]
fn everything_that_was_sent_arrives_or_is_told_as_lost() {
    let seed = camera::seed();
    println!("CAMRING_SEED={seed}");
    let mut random = camera::Random::new(seed);
    for item_count in [3, 10, 100] {
        let (mut sink, receiver) = channel(limits(item_count));
        let pauses: Vec<u64> = (0..2_000).map(|_| random.below(40)).collect();
        let reader = std::thread::spawn(move || {
            let mut expected = 0;
            let mut lost = 0;
            for ((_, item), pause) in receiver.zip(pauses.iter().cycle()) {
                for _ in 0..pause * pause {
                    std::hint::spin_loop();
                }
                match item {
                    Item::Gap(gap) => lost = gap.lost_count.unwrap(),
                    Item::Frame(found) => {
                        let number = expected + lost;
                        assert_eq!(Item::Frame(found.clone()), frame(A, number));
                        assert!(lost == 0 || found.key, "frame {number}");
                        (expected, lost) = (number + 1, 0);
                    }
                    _ => {}
                }
            }
            expected + lost
        });
        sink.accept(A, setup("a")).unwrap();
        offer(&mut sink, frames(A, 0..20_000));
        drop(sink);
        assert_eq!(reader.join().unwrap(), 20_000);
    }
}

#[test]
fn a_sink_whose_receiver_is_gone_says_so() {
    let (mut sink, receiver) = channel(ChannelLimits::default());
    drop(receiver);
    let error = sink.accept(A, frame(A, 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
}

// ---- select, renumber, repeat, count, inspect ----

#[test]
fn only_chosen_streams_go_on_and_under_the_numbers_that_were_given() {
    let keeper = Keeper::default();
    let numbers = [(A, StreamId(70)), (B, A)];
    let renumber = Renumber::new(numbers, keeper.clone()).unwrap();
    let mut chain = Select::new([B, StreamId(3)], renumber);
    let preroll = Item::Preroll(picture(B, 5));
    offer(
        &mut chain,
        [
            (A, frame(A, 0)),
            (B, setup("b")),
            (StreamId(3), frame(A, 1)),
        ],
    );
    offer(&mut chain, [(B, preroll.clone())]);
    assert_eq!(keeper.items(), [(A, setup("b")), (A, preroll)]);
}

#[test]
fn numbers_that_would_mix_two_cameras_are_refused() {
    for numbers in [
        [(A, StreamId(9)), (B, StreamId(9))],
        [(A, StreamId(8)), (A, StreamId(9))],
    ] {
        let error = Renumber::new(numbers, Discard).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[test]
fn setups_are_repeated_before_key_frames() {
    let keeper = Keeper::default();
    let mut repeat = RepeatSetups::before_key_frames(keeper.clone());
    let mut sent = vec![(A, setup_with_sound("a"))];
    for n in 0..25 {
        sent.extend([(A, frame(A, n)), (A, sound(A, n))]);
    }
    offer(&mut repeat, sent.clone());
    let mut expected = sent;
    // Before frames 10 and 20; frame 0 has its setup.
    expected.insert(1 + 20, (A, setup_with_sound("a")));
    expected.insert(1 + 41, (A, setup_with_sound("a")));
    assert_eq!(keeper.items(), expected);
}

/// Also when the recording is played backwards.
#[test]
fn setups_are_repeated_after_a_while() {
    let keeper = Keeper::default();
    let mut repeat = RepeatSetups::every(200_000, keeper.clone());
    let forwards = frames(A, 20..26);
    let backwards: Items = frames(A, 15..25).into_iter().rev().collect();
    offer(&mut repeat, [(A, setup("a"))]);
    offer(&mut repeat, [forwards.clone(), backwards.clone()].concat());

    // Five frames are 200 ms: before frame 25, then back at 20 and at 15.
    let once = vec![(A, setup("a"))];
    let (twenty_to_24, twenty_five) = forwards.split_at(5);
    let (back_to_21, rest) = backwards.split_at(4);
    let (back_to_16, fifteen) = rest.split_at(5);
    let expected = [
        &once,
        twenty_to_24,
        &once,
        twenty_five,
        back_to_21,
        &once,
        back_to_16,
        &once,
        fifteen,
    ];
    assert_eq!(keeper.items(), expected.concat());
}

#[test]
fn counts_can_be_read_from_elsewhere_while_items_flow() {
    let mut count = Count::new(Moody::default());
    let counts = count.counts();
    assert_eq!(counts.of(A), StreamCounts::default());
    let gap = |end| {
        Item::Gap(Gap {
            cause: GapCause::NoSignal,
            start: time_of(3),
            end,
            lost_count: None,
        })
    };
    // Every third is refused: frame 1 and frame 10.
    let items = [
        setup("a"),
        frame(A, 0),
        frame(A, 1),
        gap(None),
        gap(Some(time_of(9))),
        frame(A, 10),
        Item::Preroll(picture(A, 11)),
    ];
    offer(&mut count, items.map(|item| (A, item)));
    offer(&mut count, [(B, frame(B, 7))]);
    let seen = std::thread::spawn(move || counts.all()).join().unwrap();
    let of_a = StreamCounts {
        frame_count: 2,
        key_count: 1,
        payload_len: 200,
        setup_count: 1,
        gap_count: 1,
        refused_count: 2,
        latest: Some(time_of(11)),
    };
    assert_eq!(seen[0], (A, of_a));
    assert_eq!((seen[1].0, seen[1].1.frame_count), (B, 1));
}

#[test]
fn inspection_writes_a_line_for_each_item() {
    let mut inspect = Inspect::new(Vec::new(), Discard);
    let mut key = picture(A, 0);
    key.payload = Bytes::from_static(&[0, 0, 0, 1, 0x67, 0, 0, 0, 2, 0x65, 0x88]);
    let leading = Frame {
        leading: true,
        key: false,
        ..key.clone()
    };
    let items = [
        setup_with_sound("Yard \x1b[2J"),
        Item::Frame(key.clone()),
        Item::Preroll(leading),
        sound(A, 1),
        lost_gap(1, 5, 3),
    ];
    offer(&mut inspect, items.map(|item| (A, item)));
    let (lines, _) = inspect.into_parts();
    let lines = String::from_utf8(lines).unwrap();
    let expected = "       1                               setup             Yard \\u{1b}[2J: H.264 640x360, G.711 mu-law 8000 Hz
       1      0  @1700000000.000000    KEY           11  SPS IDR
       1      0  @1700000000.000000    lead          11  preroll SPS IDR
       1      1  @1700000000.040000    KEY          100  G.711 mu-law
       1         @1700000000.040000    gap               queue full, to @1700000000.200000, 3 frames lost
";
    assert_eq!(lines, expected);
}

/// The pipe to `less` is closed. The recording goes on.
#[test]
fn items_go_on_when_lines_cannot_be_written() {
    #[derive(Debug)]
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(IoError::from_raw_os_error(32))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let keeper = Keeper::default();
    let mut inspect = Inspect::new(Closed, keeper.clone());
    assert_eq!(offer(&mut inspect, frames(A, 0..3)), 0);
    assert_eq!(keeper.items().len(), 3);
    let failure = inspect.failure().unwrap();
    assert_eq!(failure.raw_os_error(), Some(32));
}
