//! Playing when something is wrong: stalls, clocks that were set back, too little memory.

use super::*;

fn pictures(streams: &[u64], count: i64, gop: i64) -> Recording {
    let mut recording = Recording::default();
    for stream in streams {
        recording.pictures(*stream, 0, count * S / 10, S / 10, gop);
    }
    recording.by_time()
}

fn at(ds: i64) -> Command {
    Command::Seek(Timestamp(ds * S / 10))
}

fn ds(told: &[String]) -> String {
    told.join(" ").replace("00000", "")
}

fn small(cache_len: u64) -> Limits {
    Limits {
        cache_len,
        ..Limits::default()
    }
}

#[test]
fn the_clock_waits_for_a_source_and_goes_on_without_it_when_it_stalls() {
    let both = vec![pictures(&[1], 900, 10), pictures(&[2], 900, 10)];
    let mut shell = Shell::mapped(both);
    shell.command(at(0));
    shell.command(Command::Play);
    shell.run(S);
    shell.stuck = vec![SourceId(1)];
    shell.run(4 * S);
    let stood = shell.head();
    assert!(stood < 5 * S, "{stood}");
    assert!(shell.events.contains(&Event::Waiting(true)));
    shell.run(6 * S + S / 3);
    assert!(shell.head() > stood + S, "it went on");
    assert!(shell.events.contains(&Event::Waiting(false)));
    shell.take(1);
    shell.take(2);
    shell.stuck.clear();
    shell.run(S);
    let back = shell.take(2);
    assert!(back[0].starts_with('p'), "{back:?}");
    let left_out = shell.events.iter().find_map(|event| match event {
        Event::LeftOut { key, range } => Some((key.stream.0, range.start < range.end)),
        _ => None,
    });
    assert_eq!(left_out, Some((2, true)));
    let head = shell.head();
    assert_eq!(
        back.last().unwrap(),
        &(head / (S / 10) * (S / 10)).to_string()
    );
}

#[test]
fn a_source_that_stalls_during_a_seek_joins_later() {
    let both = vec![pictures(&[1], 900, 10), pictures(&[2], 900, 10)];
    let mut shell = Shell::mapped(both);
    shell.stuck = vec![SourceId(1)];
    shell.command(at(105));
    assert_eq!(shell.player.state(), State::Seeking);
    shell.run(6 * S);
    assert_eq!(ds(&shell.take(1)), "p100 p101 p102 p103 p104 105");
    assert_eq!(shell.player.state(), State::Standing);
    shell.stuck.clear();
    shell.run(1);
    assert_eq!(ds(&shell.take(2)), "p100 p101 p102 p103 p104 105");
}

#[test]
fn a_group_of_pictures_longer_than_the_cache_still_plays() {
    let mut shell = Shell::with(small(3_000), vec![pictures(&[1, 2], 100, 1000)]);
    shell.command(at(50));
    let mine = shell.take(1);
    assert_eq!(mine.len(), 51);
    assert_eq!(mine.iter().filter(|told| !told.starts_with('p')).count(), 1);
    assert_eq!(mine.last().unwrap(), "5000000");
    shell.command(Command::Play);
    shell.run(10 * S);
    assert!(shell.has_ended());
    assert_eq!(shell.take(1).len(), 49);
    assert!(shell.peak_len < 3_000 + 2 * 228, "{}", shell.peak_len);
}

#[test]
fn a_recorder_clock_that_was_set_back_takes_the_head_along() {
    let mut recording = pictures(&[1, 2], 100, 10);
    for time in 0..60 {
        for stream in [1, 2] {
            recording.frame(stream, 0, time % 10 == 0, (50 + time) * S / 10, 100);
        }
    }
    let mut other = pictures(&[3], 101, 10);
    for time in 0..60 {
        other.frame(3, 0, time % 10 == 0, (51 + time) * S / 10, 100);
    }
    let calm = pictures(&[4], 200, 10);
    let mut shell = Shell::mapped(vec![recording, other, calm]);
    shell.command(at(90));
    shell.command(Command::Play);
    shell.run(8 * S);
    assert_eq!(shell.jumps(), [(99 * S / 10, 5 * S)]);
    for stream in [1, 2] {
        let told = shell.take(stream);
        assert_eq!(told.len(), 10 + 60, "{told:?}");
    }
    assert_eq!(shell.take(3).len(), 11 + 60);
    // Nobody set this clock back: it waited for the others.
    let calm = shell.take(4);
    let seen: Vec<_> = (90..=121).map(|t| (t * S / 10).to_string()).collect();
    assert!(calm.len() > 10 && seen.starts_with(&calm), "{calm:?}");
    let late = |out: &&Out| out.now_us > out.due_us + S / 10;
    assert_eq!(shell.out.iter().filter(late).count(), 0);
}

#[test]
fn one_wrong_time_does_not_stop_a_stream() {
    for wrong in [i64::MAX, 3_000 * S] {
        let mut recording = pictures(&[1], 50, 10);
        recording.frame(1, 0, false, wrong, 10);
        for time in 51..100 {
            recording.frame(1, 0, time % 10 == 0, time * S / 10, 10);
        }
        let mut shell = Shell::mapped(vec![recording]);
        shell.command(at(0));
        shell.command(Command::Play);
        shell.run(12 * S);
        assert!(shell.has_ended(), "{wrong}");
        assert_eq!(shell.take(1).len(), 100, "{wrong}");
    }
}

#[test]
fn a_read_that_fails_is_told_and_the_other_sources_play_on() {
    let both = vec![pictures(&[1], 100, 10), pictures(&[2], 100, 10)];
    let mut shell = Shell::mapped(both);
    shell.stuck = vec![SourceId(1)];
    shell.command(at(0));
    let load = shell.player.sources[&SourceId(1)].load.unwrap();
    let error = Error::invalid("gone");
    shell.command(Command::Play);
    shell.player.ended(SourceId(1), load, Some(error));
    shell.run(11 * S);
    let message = "gone".to_owned();
    let source = SourceId(1);
    assert!(shell.events.contains(&Event::Failed { source, message }));
    assert!(shell.has_ended());
    assert_eq!(shell.take(1).len(), 100);
}

#[test]
fn after_a_read_that_failed_play_reads_again_and_tells_what_was_left_out() {
    let both = vec![pictures(&[1], 900, 10), pictures(&[2], 900, 10)];
    let mut shell = Shell::mapped(both);
    shell.command(at(0));
    shell.command(Command::Play);
    shell.run(S);
    let load = shell.player.sources[&SourceId(1)].load.unwrap();
    let error = Error::invalid("gone");
    shell.player.ended(SourceId(1), load, Some(error));
    shell.run(9 * S);
    let last = shell.take(2).pop().unwrap().parse::<i64>().unwrap();
    assert!(last < 5 * S, "{last}");
    shell.command(Command::Play);
    shell.run(S);
    let left_out = shell.events.iter().find_map(|event| match event {
        Event::LeftOut { key, range } => Some((key.stream.0, range.start.0, range.end.0)),
        _ => None,
    });
    assert_eq!(left_out, Some((2, last, 10 * S)));
    let back = shell.take(2);
    assert!(back[0].starts_with('p') || back.len() > 5, "{back:?}");
    assert_eq!(back.last(), shell.take(1).last());
}

#[test]
fn what_an_older_read_brings_is_ignored() {
    let mut shell = Shell::mapped(vec![pictures(&[1], 900, 10)]);
    shell.command(at(100));
    let old = shell.player.sources[&SourceId(0)].load.unwrap();
    shell.command(at(500));
    shell.take(1);
    let late = shell.recordings[&SourceId(0)].items[101].clone();
    shell.player.feed(SourceId(0), old, late);
    shell.player.ended(SourceId(0), old, None);
    shell.command(Command::Play);
    shell.run(S / 5);
    assert_eq!(ds(&shell.take(1)), "501 502");
    assert!(!shell.has_ended());
}

#[test]
fn commands_that_make_no_sense_change_nothing() {
    let mut player = Player::new(Limits::default());
    for speed in [0, 124, 64_001, u32::MAX] {
        let answer = player.command(0, Command::SetSpeed(Speed(speed)));
        assert!(answer.unwrap_err().to_string().contains("64000"));
    }
    let range = TimeRange::new(Timestamp(5), Timestamp(5));
    assert!(player.command(0, Command::Loop(Some(range))).is_err());
    assert_eq!(player.poll(0), None);
    assert_eq!(player.wake_at(), None);
}

#[test]
fn stop_forgets_everything() {
    let mut shell = Shell::mapped(vec![pictures(&[1], 900, 10)]);
    shell.command(at(100));
    shell.command(Command::Play);
    shell.run(S);
    shell.command(Command::Stop);
    assert_eq!(shell.player.cached_len(), 0);
    assert_eq!(shell.player.time(shell.now_us), None);
    assert_eq!(shell.loads.last().unwrap().1, Load::Nothing);
    shell.take(1);
    let extent = TimeRange::new(Timestamp(S), Timestamp(90 * S));
    shell.player.set_extent(SourceId(0), Some(extent));
    shell.command(Command::Play);
    assert_eq!(ds(&shell.take(1)), "10");
}
