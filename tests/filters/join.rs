//! Several streams as one.

use camring::frame::filter::Join;
use camring::frame::{Frame, Item, StreamId, StreamSetup};

use crate::{A, B, Items, Keeper, frame, lost_gap, offer, picture, setup, setup_with_sound, sound};

/// The number of what several streams become.
const ALL: StreamId = StreamId(9);

fn inner(item: &Item) -> std::sync::Arc<StreamSetup> {
    let Item::Setup(setup) = item else {
        unreachable!("it is a setup");
    };
    setup.clone()
}

/// The items of `keeper`: a setup by its number of tracks, a frame by its track and its time.
fn kept(keeper: &Keeper) -> Vec<(Option<usize>, u8, i64)> {
    let what = |(stream, item)| {
        assert_eq!(stream, ALL);
        match item {
            Item::Setup(setup) => (Some(setup.tracks.len()), 0, 0),
            Item::Frame(frame) | Item::Preroll(frame) => (None, frame.track, frame.time.0),
            Item::Gap(_) => unreachable!("a gap of one is no gap of all"),
        }
    };
    keeper.items().into_iter().map(what).collect()
}

fn at(stream: StreamId, number: u64, track: u8) -> (Option<usize>, u8, i64) {
    (None, track, picture(stream, number).time.0)
}

#[test]
fn the_tracks_of_all_streams_are_there_and_each_begins_at_a_key_frame() {
    let keeper = Keeper::default();
    let members = [(A, setup_with_sound("a")), (B, setup("b"))];
    let members = members.map(|(stream, setup)| (stream, inner(&setup)));
    let mut join = Join::new(ALL, members, keeper.clone());
    let other = StreamId(3);
    let mut items: Items = vec![(A, setup_with_sound("a")), (other, setup("c"))];
    // A begins at its key frame 10, B at 20: frame 10 of B comes before A has begun.
    items.extend([(A, frame(A, 8)), (A, sound(A, 8)), (A, frame(A, 9))]);
    items.extend([(A, frame(A, 10)), (B, setup("b")), (A, sound(A, 10))]);
    items.extend([(B, frame(B, 9)), (B, frame(B, 11)), (A, frame(A, 11))]);
    items.extend([(other, frame(other, 20)), (B, lost_gap(12, 20, 7))]);
    let leading = Frame {
        leading: true,
        ..picture(B, 19)
    };
    items.extend([(B, frame(B, 20)), (B, Item::Frame(leading.clone()))]);
    items.extend([(B, frame(B, 30)), (B, Item::Preroll(leading))]);
    assert_eq!(offer(&mut join, items), 0);
    let expected = [
        (Some(3), 0, 0),
        at(A, 10, 0),
        at(A, 10, 1),
        at(A, 11, 0),
        at(B, 20, 2),
        at(B, 30, 2),
        at(B, 19, 2),
    ];
    assert_eq!(kept(&keeper), expected);
}

/// A camera is told to send larger pictures: the file ends there, and all begin again in another.
#[test]
fn a_change_of_one_stream_is_a_change_of_all() {
    let keeper = Keeper::default();
    let members = [(A, setup("a")), (B, setup("b"))];
    let members = members.map(|(stream, setup)| (stream, inner(&setup)));
    let mut join = Join::new(ALL, members, keeper.clone());
    offer(&mut join, [(A, frame(A, 0)), (B, frame(B, 0))]);
    // The same once more, or another name, changes no track.
    offer(&mut join, [(A, setup("gate")), (B, frame(B, 1))]);
    offer(&mut join, [(A, setup_with_sound("a")), (B, frame(B, 2))]);
    offer(&mut join, [(A, frame(A, 10)), (B, frame(B, 10))]);
    let expected = [
        (Some(2), 0, 0),
        at(A, 0, 0),
        at(B, 0, 1),
        at(B, 1, 1),
        (Some(3), 0, 0),
        at(A, 10, 0),
        at(B, 10, 2),
    ];
    assert_eq!(kept(&keeper), expected);
}
