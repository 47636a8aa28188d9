//! A channel: what a slow receiver loses, and what it is told.

use std::sync::mpsc::TryRecvError;

use bytes::Bytes;
use camring::ErrorKind;
use camring::frame::filter::{ChannelLimits, channel};
use camring::frame::{FrameSink, Gap, GapCause, Item};

use crate::{
    A, B, Items, KEY_EVERY, camera, frame, frames, limits, lost_gap, offer, picture, setup,
    setup_with_sound, sound, time_of, waiting,
};

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
