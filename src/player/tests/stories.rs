//! Playing as it should go.

use super::*;

/// Two seconds at ten pictures a second, a key frame every half second; times in 100 ms.
fn short() -> Recording {
    let mut recording = Recording::default();
    recording.put(1, Item::Setup(setup(&[Codec::H264])));
    recording.pictures(1, 0, 20, 1, 5);
    scaled(recording)
}

/// A recording in units of 100 ms.
fn scaled(mut recording: Recording) -> Recording {
    for item in &mut recording.items {
        match &mut item.item {
            Item::Frame(frame) | Item::Preroll(frame) => frame.time.0 *= S / 10,
            Item::Gap(gap) => {
                gap.start.0 *= S / 10;
                gap.end = gap.end.map(|end| Timestamp(end.0 * S / 10));
            }
            Item::Setup(_) => {}
        }
    }
    recording
}

fn ds(told: &[String]) -> String {
    told.join(" ").replace("00000", "")
}

fn at(ds: i64) -> Command {
    Command::Seek(Timestamp(ds * S / 10))
}

#[test]
fn a_seek_delivers_from_the_key_frame_and_shows_the_picture_at_the_target() {
    let mut shell = Shell::mapped(vec![short()]);
    shell.command(at(8));
    assert_eq!(ds(&shell.take(1)), "setup p5 p6 p7 8");
    shell.run(S);
    assert_eq!(ds(&shell.take(1)), "", "it stands");
    shell.command(Command::Play);
    shell.run(S / 5);
    assert_eq!(ds(&shell.take(1)), "9 10");
}

#[test]
fn each_picture_comes_when_it_is_due_at_any_speed() {
    for speed in [125, 1000, 2500, 64_000] {
        let mut shell = Shell::mapped(vec![short()]);
        shell.command(Command::SetSpeed(Speed(speed)));
        shell.command(at(0));
        shell.command(Command::Play);
        let start = shell.now_us;
        shell.run(20 * S);
        assert_eq!(shell.out.len(), 21);
        for out in &shell.out[2..] {
            let Item::Frame(frame) = &out.item else {
                panic!("{out:?}");
            };
            let due = start + (frame.time.0 * 1000 + i64::from(speed) - 1) / i64::from(speed);
            assert_eq!((out.now_us, out.due_us), (due, due), "{speed}");
        }
        assert!(shell.has_ended());
        assert_eq!(shell.head(), 19 * S / 10);
    }
}

#[test]
fn pause_and_speed_take_effect_at_once() {
    let mut shell = Shell::mapped(vec![short()]);
    shell.command(at(0));
    shell.command(Command::Play);
    shell.run(S / 4);
    shell.command(Command::Pause);
    shell.run(10 * S);
    assert_eq!(shell.head(), S / 4);
    shell.command(Command::SetSpeed(Speed(2000)));
    shell.command(Command::Play);
    shell.run(S / 4);
    assert_eq!(shell.head(), 3 * S / 4);
    assert_eq!(ds(&shell.take(1)), "setup 0 1 2 3 4 5 6 7");
}

#[test]
fn pictures_that_are_decoded_early_come_early_and_are_shown() {
    let mut recording = Recording::default();
    recording.put(1, Item::Setup(setup(&[Codec::H264])));
    for (is_key, time) in [
        (true, 0),
        (false, 3),
        (false, 1),
        (false, 2),
        (true, 6),
        (false, 4),
        (false, 5),
        (true, 7),
        (false, 8),
        (false, 9),
    ] {
        recording.frame(1, 0, is_key, time, 10);
    }
    let mut shell = Shell::mapped(vec![scaled(recording)]);
    shell.command(at(1));
    assert_eq!(ds(&shell.take(1)), "setup p0 3 1");
    shell.command(Command::Play);
    shell.run(S / 10);
    assert_eq!(ds(&shell.take(1)), "2");
    shell.run(S / 10);
    assert_eq!(ds(&shell.take(1)), "");
    shell.run(S / 10);
    assert_eq!(ds(&shell.take(1)), "6 4");
    shell.command(at(5));
    assert_eq!(ds(&shell.take(1)), "setup p0 p3 p1 p2 6 p4 5");
}

#[test]
fn sound_and_pictures_go_by_time_and_sound_before_the_target_is_left_out() {
    let mut recording = Recording::default();
    recording.put(1, Item::Setup(setup(&[Codec::H264, Codec::Aac])));
    for time in 0..10 {
        recording.frame(1, 0, time % 5 == 0, time * 10, 10);
        if time > 2 {
            recording.frame(1, 1, true, time * 10 - 25, 10);
            recording.frame(1, 1, true, time * 10 - 20, 10);
        }
    }
    let mut shell = Shell::mapped(vec![scaled(recording)]);
    shell.command(at(22));
    assert_eq!(ds(&shell.take(1)), "setup p0 p10 20");
    shell.command(Command::Play);
    shell.run(S * 2);
    assert_eq!(ds(&shell.take(1)), "25 30 30 35 40 40");
}

#[test]
fn a_seek_within_the_cache_reads_nothing() {
    let mut recording = Recording::default();
    recording.pictures(1, 0, 600, 1, 10);
    let mut shell = Shell::mapped(vec![scaled(recording)]);
    shell.command(at(100));
    shell.command(Command::Play);
    shell.run(10 * S);
    let loads = shell.loads.len();
    shell.command(at(123));
    shell.take(1);
    shell.command(at(151));
    assert_eq!(ds(&shell.take(1)), "p150 151");
    assert_eq!(shell.loads.len(), loads);
    shell.command(at(50));
    assert_eq!(ds(&shell.take(1)), "50");
    assert_eq!(shell.loads.len(), loads + 1);
}

#[test]
fn a_gap_stops_one_stream_and_not_the_others() {
    let mut recording = Recording::default();
    recording.pictures(1, 0, 600, 1, 10);
    recording.pictures(2, 0, 50, 1, 10);
    recording.gap(2, 49, Some(300));
    recording.pictures(2, 300, 600, 1, 10);
    let mut shell = Shell::mapped(vec![scaled(recording.by_time())]);
    shell.command(at(200));
    let burst: Vec<_> = (40..49).map(|t| format!("p{t}")).collect();
    assert_eq!(ds(&shell.take(2)), format!("{} 49 gap 49", burst.join(" ")));
    shell.command(Command::Play);
    shell.run(10 * S);
    assert_eq!(ds(&shell.take(2)), "300");
    assert_eq!(shell.take(1).len(), 101);
    assert_eq!(shell.head(), 30 * S);
    assert!(shell.out.iter().all(|out| out.now_us == out.due_us));
}

#[test]
fn a_target_before_the_first_key_frame_shows_nothing_until_it_is_due() {
    let mut recording = Recording::default();
    recording.pictures(1, 30, 60, 1, 10);
    let mut shell = Shell::mapped(vec![scaled(recording)]);
    shell.command(at(20));
    shell.command(Command::Play);
    shell.run(S);
    assert_eq!(ds(&shell.take(1)), "30");
}

#[test]
fn a_setup_comes_at_every_change_and_after_every_seek() {
    let mut recording = short();
    recording.put(1, Item::Setup(setup(&[Codec::H265])));
    recording.pictures(1, 20 * S / 10, 22 * S / 10, S / 10, 5);
    recording.put(1, Item::Setup(setup(&[Codec::H265])));
    recording.pictures(1, 22 * S / 10, 24 * S / 10, S / 10, 5);
    let mut shell = Shell::mapped(vec![recording]);
    shell.command(at(18));
    shell.command(Command::Play);
    shell.run(S);
    assert_eq!(
        ds(&shell.take(1)),
        "setup p15 p16 p17 18 19 setup 20 21 22 23"
    );
    shell.command(at(21));
    assert_eq!(ds(&shell.take(1)), "setup p20 21");
}

#[test]
fn steps_go_from_picture_to_picture_in_both_directions() {
    let mut shell = Shell::mapped(vec![short()]);
    shell.command(at(9));
    shell.take(1);
    shell.command(Command::Step(1));
    assert_eq!(ds(&shell.take(1)), "10");
    assert_eq!(shell.head(), S);
    shell.command(Command::Step(2));
    assert_eq!(ds(&shell.take(1)), "11 12");
    shell.command(Command::Step(-1));
    assert_eq!(ds(&shell.take(1)), "setup p10 11");
    shell.command(Command::Step(-2));
    assert_eq!(shell.head(), 9 * S / 10);
    assert_eq!(shell.player.state(), State::Standing);
    shell.take(1);
    shell.command(Command::Step(-1));
    assert_eq!(ds(&shell.take(1)), "setup p5 p6 p7 8");
    shell.command(Command::Step(-100));
    assert_eq!(shell.head(), 0);
    assert!(shell.has_ended());
    shell.events.clear();
    shell.command(Command::Step(100));
    assert_eq!(shell.head(), 19 * S / 10);
    assert!(shell.has_ended());
}

#[test]
fn a_stream_that_is_mapped_while_playing_joins_and_the_others_do_not_notice() {
    let mut recording = Recording::default();
    recording.pictures(1, 0, 600, 1, 10);
    recording.pictures(2, 0, 600, 1, 10);
    let mut shell = Shell::new(Limits::default(), vec![scaled(recording.by_time())]);
    shell.player.map(key(0, 1));
    shell.command(at(100));
    shell.command(Command::Play);
    shell.run(S / 2);
    shell.player.map(key(0, 2));
    shell.run(S / 5);
    assert_eq!(ds(&shell.take(2)), "p100 p101 p102 p103 p104 105 106 107");
    let mine = shell.take(1);
    assert_eq!(ds(&mine), "100 101 102 103 104 105 106 107");
    shell.player.unmap(key(0, 1));
    shell.run(S / 5);
    assert_eq!(ds(&shell.take(1)), "");
    assert_eq!(ds(&shell.take(2)), "108 109");
}

#[test]
fn live_delivers_at_once_and_a_pause_leaves_it() {
    let mut recording = Recording::default();
    recording.pictures(1, 0, 600, 1, 10);
    let mut shell = Shell::mapped(vec![scaled(recording)]);
    shell.growing = true;
    shell.counts.insert(SourceId(0), 105);
    shell.command(Command::Live { uncommitted: true });
    assert_eq!(ds(&shell.take(1)), "100 101 102 103 104");
    shell.run(S);
    assert_eq!(
        shell.player.wake_at(),
        None,
        "nothing to do before it grows"
    );
    shell.grow(0, 107);
    assert_eq!(ds(&shell.take(1)), "105 106");
    assert_eq!(shell.player.state(), State::Live);
    shell.command(Command::Pause);
    shell.grow(0, 120);
    shell.run(S);
    assert_eq!(ds(&shell.take(1)), "");
    shell.command(Command::Play);
    shell.run(S / 5);
    assert_eq!(ds(&shell.take(1)), "107 108");
    assert_eq!(shell.player.state(), State::Playing);
}

#[test]
fn playing_at_the_live_edge_follows_what_comes() {
    let mut recording = Recording::default();
    recording.pictures(1, 0, 600, 1, 10);
    let mut shell = Shell::mapped(vec![scaled(recording)]);
    shell.growing = true;
    shell.counts.insert(SourceId(0), 100);
    shell.command(at(95));
    shell.command(Command::Play);
    shell.run(10 * S);
    assert_eq!(shell.head(), 99 * S / 10);
    shell.take(1);
    for count in [105, 110, 115] {
        shell.grow(0, count);
        shell.run(S / 2);
    }
    assert_eq!(shell.head(), 114 * S / 10);
    assert_eq!(shell.take(1).len(), 15);
    assert!(!shell.has_ended());
    assert!(shell.out.iter().all(|out| out.now_us == out.due_us));
}

#[test]
fn backward_the_key_frames_come_newest_first_and_forward_again_at_once() {
    let mut recording = Recording::default();
    recording.put(1, Item::Setup(setup(&[Codec::H264])));
    recording.pictures(1, 0, 600, 1, 10);
    recording.pictures(2, 0, 600, 1, 7);
    let mut shell = Shell::mapped(vec![scaled(recording.by_time())]);
    shell.command(at(305));
    shell.command(Command::Play);
    shell.run(S / 2);
    shell.take(1);
    shell.take(2);
    shell.command(Command::SetReverse(true));
    shell.run(5 * S);
    assert_eq!(ds(&shell.take(1)), "setup 310 300 290 280 270 260");
    assert_eq!(ds(&shell.take(2)), "308 301 294 287 280 273 266");
    assert_eq!(shell.head(), 26 * S);
    shell.command(Command::SetReverse(false));
    shell.run(S / 10);
    assert_eq!(ds(&shell.take(1)), "setup 260 261");
    shell.command(Command::SetReverse(true));
    shell.command(Command::SetSpeed(Speed(8000)));
    shell.run(5 * S);
    assert!(shell.has_ended());
    let keys: Vec<_> = (0..=26).rev().map(|k| (10 * k).to_string()).collect();
    assert_eq!(
        ds(&shell.take(1)),
        format!("setup {}", keys.join(" ")).replace(" 0", " 0")
    );
    assert_eq!(shell.head(), 0);
}

#[test]
fn a_seek_while_playing_backward_shows_the_picture_of_its_target_first() {
    let mut recording = Recording::default();
    recording.put(1, Item::Setup(setup(&[Codec::H264])));
    recording.pictures(1, 0, 100, 1, 10);
    let mut shell = Shell::mapped(vec![scaled(recording)]);
    shell.command(Command::SetReverse(true));
    shell.command(at(85));
    shell.command(Command::Play);
    shell.run(S);
    shell.take(1);
    shell.command(at(42));
    shell.run(S);
    assert_eq!(ds(&shell.take(1)), "setup p40 p41 42 setup 40");
}

#[test]
fn skipping_gaps_jumps_only_where_nobody_has_anything() {
    let mut recording = Recording::default();
    recording.pictures(1, 0, 20, 1, 10);
    recording.pictures(1, 2000, 2020, 1, 10);
    let mut other = Recording::default();
    other.pictures(1, 0, 50, 1, 10);
    other.pictures(1, 2100, 2120, 1, 10);
    let mut shell = Shell::mapped(vec![scaled(recording), scaled(other)]);
    shell.command(Command::SkipGaps(true));
    shell.command(at(0));
    shell.command(Command::Play);
    shell.run(30 * S);
    assert_eq!(
        shell.jumps(),
        [(49 * S / 10, 200 * S), (2019 * S / 10, 210 * S)]
    );
    assert!(shell.has_ended());
    assert_eq!(shell.take(1).len(), 20 + 20 + 50 + 20);
}

#[test]
fn a_loop_goes_round_and_round() {
    let mut shell = Shell::mapped(vec![short()]);
    let range = TimeRange::new(Timestamp(S / 2), Timestamp(7 * S / 10));
    shell.command(Command::Loop(Some(range)));
    shell.command(at(5));
    shell.command(Command::Play);
    shell.run(S / 2);
    assert_eq!(ds(&shell.take(1)), "setup 5 6 7 setup 5 6 7 setup 5 6");
    shell.command(Command::SetReverse(true));
    shell.run(S / 2);
    assert_eq!(ds(&shell.take(1)), "setup 5 setup 5 setup 5");
}
