//! A fork: branches that come and go, are slow, or fail.

use camring::frame::filter::{Count, Fork, channel};
use camring::frame::{Item, StreamSetup};

use crate::{
    A, B, Keeper, Moody, START_US, frame, frames, limits, offer, picture, setup, setup_with_sound,
    sound,
};

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
