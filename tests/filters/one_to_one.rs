//! The filters with one sink behind them.

use std::io::{Error as IoError, Write};

use bytes::Bytes;
use camring::ErrorKind;
use camring::frame::filter::{
    Count, Discard, Inspect, Renumber, RepeatSetups, Select, StreamCounts,
};
use camring::frame::{Frame, Gap, GapCause, Item, StreamId};

use crate::{
    A, B, Items, Keeper, Moody, frame, frames, lost_gap, offer, picture, setup, setup_with_sound,
    sound, time_of,
};

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
