//! Verifying finds every byte that is not as it was written, says whom it hits and when, and takes
//! nothing for damage that is none.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and a seed is printed"
)]

#[path = "support/camera.rs"]
mod camera;
#[path = "support/layout.rs"]
mod layout;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use camera::Random;
use camring::base::time::{TimeRange, Timestamp};
use camring::frame::{GapCause, Item, Recorded, StreamId};
use camring::reader::{Query, Reader, read_all};
use camring::volume::{
    CreateOptions, Damage, DamagedPart, VerifyOptions, VerifyReport, Volume, VolumeSize,
};
use camring::writer::{Writer, WriterOptions};
use layout::{Region, What};
use tempfile::TempDir;

const START_US: i64 = 1_700_000_000_000_000;
const FRAME_US: i64 = 40_000;
const BLOCK_LEN: usize = 256 << 10;
const STREAMS: u64 = 3;

fn volume(block_len: usize) -> TempDir {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let options = CreateOptions {
        size: VolumeSize::Blocks(16),
        block_len: Some(block_len as u32),
        replace: true,
    };
    Volume::create(dir.path(), &options, &mut |_, _| {}).unwrap();
    dir
}

/// Records frames `numbers` of each stream, and commits after every 20.
fn record(writer: &Writer, numbers: std::ops::Range<u64>) {
    let mut producer = writer.producer().unwrap();
    producer.set_waiting(true);
    for stream in 0..STREAMS {
        let setup = camera::setup(&format!("camera {stream}"));
        producer.add_stream(StreamId(stream), setup).unwrap();
    }
    for number in numbers {
        for stream in 0..STREAMS {
            let len = 500 + (number * 7919 + stream * 104_729) % 6000;
            let frame = camera::frame(stream, number, START_US, 25, len as usize);
            producer.push(StreamId(stream), frame).unwrap();
        }
        if number % 20 == 19 {
            writer.commit().unwrap();
        }
    }
}

/// A closed volume of 16 blocks that was written around, in lives of these numbers of frames.
fn recorded(lives: &[u64]) -> TempDir {
    let dir = volume(BLOCK_LEN);
    let mut next = 0;
    for count in lives {
        let writer = Writer::open(dir.path(), WriterOptions::default()).unwrap();
        record(&writer, next..next + count);
        writer.close().unwrap();
        next += count;
    }
    dir
}

fn verify(dir: &Path) -> VerifyReport {
    let volume = Volume::open(dir).unwrap();
    let mut last = (0, 1);
    let mut progress = |done, all| last = (done, all);
    let report = volume
        .verify(&VerifyOptions::default(), &mut progress)
        .unwrap();
    assert_eq!(last.0, last.1, "progress ends at the end");
    report
}

/// Stream and number of every frame that can be read, block by block.
fn readable(dir: &Path) -> BTreeSet<(u64, u64)> {
    let volume = Volume::open(dir).unwrap();
    let head = volume.table().head();
    let mut reader = Reader::open(&volume).unwrap();
    let all: Vec<_> = (1..=head).collect();
    let items = reader.read(Query::blocks(all)).unwrap();
    let frames = items.filter_map(|recorded| match recorded.item {
        Item::Frame(frame) => Some((recorded.stream.0, frame)),
        _ => None,
    });
    frames
        .map(|(stream, frame)| {
            let number = u64::from_le_bytes(frame.payload[8..16].try_into().unwrap());
            assert_eq!(
                frame,
                camera::frame(stream, number, START_US, 25, frame.payload.len())
            );
            (stream, number)
        })
        .collect()
}

fn data_path(dir: &Path) -> PathBuf {
    dir.join("data")
}

/// Changes the byte at `at`, runs `look`, and changes it back.
fn with_flip<T>(dir: &Path, at: usize, flip: u8, look: impl FnOnce() -> T) -> T {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(data_path(dir))
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ flip], at as u64).unwrap();
    let result = look();
    file.write_all_at(&byte, at as u64).unwrap();
    result
}

fn map(dir: &Path) -> Vec<Region> {
    layout::map(&std::fs::read(data_path(dir)).unwrap(), BLOCK_LEN)
}

fn time_of(number: u64) -> Timestamp {
    Timestamp(START_US + FRAME_US * number as i64)
}

fn times_of(numbers: &[u64]) -> Option<TimeRange> {
    let times = numbers.iter().map(|number| time_of(*number));
    let range = times.clone().min().zip(times.max());
    range.map(|(start, end)| TimeRange { start, end })
}

/// Whether `damage` is what a flip in `region` must be told as.
fn tells(damage: &Damage, region: &Region) -> bool {
    let (part, stream, times) = (damage.part, damage.stream.map(|id| id.0), damage.times);
    let is_right = match &region.what {
        What::Header => part == DamagedPart::Header && times.is_some(),
        What::Run => part == DamagedPart::Run && times.is_some(),
        What::Index => part == DamagedPart::Index && times.is_some(),
        What::Trailer => part == DamagedPart::Trailer && times.is_some(),
        What::Chunk(own, numbers) => {
            part == DamagedPart::Chunk
                && stream == Some(*own)
                && (numbers.is_empty() || times == times_of(numbers))
        }
        What::Frame(own, number) => {
            part == DamagedPart::Frame && stream == Some(*own) && times == times_of(&[*number])
        }
        What::Record(own) => part == DamagedPart::Frame && stream == Some(*own),
        What::Unused => false,
    };
    is_right && damage.sequence == region.sequence
}

/// The frames that a flip in `region` takes. Headers, indexes and trailers can be done without.
fn hit(region: &Region) -> BTreeSet<(u64, u64)> {
    match &region.what {
        What::Chunk(stream, numbers) => numbers.iter().map(|n| (*stream, *n)).collect(),
        What::Frame(stream, number) => BTreeSet::from([(*stream, *number)]),
        _ => BTreeSet::new(),
    }
}

/// Splits `regions` into those of blocks that hold something, and what nobody misses: stretches
/// that were not written, blocks that the window has left, and headers without a run. The header
/// of the head is neither: it moves the window.
fn split(regions: &[Region]) -> (Vec<&Region>, Vec<&Region>) {
    let runs = regions.iter().filter(|region| region.what == What::Run);
    let held: BTreeSet<_> = runs.map(|region| region.sequence).collect();
    let newest = regions.iter().map(|region| region.sequence).max().unwrap();
    let counts = |region: &&Region| {
        let is_block = held.contains(&region.sequence) && region.sequence + 16 > newest;
        is_block && region.what != What::Unused
    };
    let is_newest = |region: &Region| region.sequence == newest && region.what == What::Header;
    let all = regions
        .iter()
        .filter(|r| !r.range.is_empty() && !is_newest(r));
    all.partition(counts)
}

fn any<'r>(regions: &[&'r Region], random: &mut Random) -> (&'r Region, usize) {
    let region = regions[random.below(regions.len() as u64) as usize];
    let at = random.below(region.range.len() as u64) as usize;
    (region, region.range.start + at)
}

/// A byte anywhere in a recorded volume changes. If it was of a block that counts, verifying tells
/// exactly that, with the right block, stream and time; if nothing was written there, it tells
/// nothing. Either way everything else can still be read.
#[test]
fn every_flipped_byte_is_told_and_costs_only_what_it_hits() {
    // The third life confirms all that came before.
    let dir = recorded(&[400, 200, 1]);
    let report = verify(dir.path());
    assert!(report.is_whole(), "{report:?}");
    let all = readable(dir.path());
    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let regions = map(dir.path());
    let (mut counting, unused) = split(&regions);
    let last_life = counting.iter().map(|region| region.sequence).max().unwrap();
    counting.retain(|region| region.sequence != last_life);
    let kinds: [fn(&What) -> bool; 7] = [
        |what| matches!(what, What::Header),
        |what| matches!(what, What::Run),
        |what| matches!(what, What::Chunk(..)),
        |what| matches!(what, What::Frame(..)),
        |what| matches!(what, What::Record(_)),
        |what| matches!(what, What::Index),
        |what| matches!(what, What::Trailer),
    ];
    for kind in kinds {
        let such: Vec<_> = counting.iter().copied().filter(|r| kind(&r.what)).collect();
        for _ in 0..25 {
            let ((region, at), flip) = (any(&such, &mut random), 1 << random.below(8));
            let look = || (verify(dir.path()), readable(dir.path()));
            let (report, left) = with_flip(dir.path(), at, flip, look);
            let place = format!("byte {at} ^ {flip}, {region:?}: {report:?}");
            assert!(
                report.damage.iter().any(|damage| tells(damage, region)),
                "{place}"
            );
            assert_eq!(report.damage_count, 1, "{place}");
            let lost: BTreeSet<_> = all.difference(&left).copied().collect();
            assert_eq!(lost, hit(region), "{place}");
        }
    }
    for _ in 0..50 {
        let (region, at) = any(&unused, &mut random);
        let report = with_flip(dir.path(), at, 0x80, || verify(dir.path()));
        assert!(report.is_whole(), "byte {at}, {region:?}: {report:?}");
    }
}

/// Behind the newest watermark on disk damage looks like the torn end of a crash. It may go
/// unnoticed, and take what lies behind it, but never anything that was committed before.
#[test]
fn damage_in_the_last_commit_costs_nothing_older() {
    let dir = recorded(&[200]);
    let all = readable(dir.path());
    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let regions = map(dir.path());
    let (used, _) = split(&regions);
    let newest = used.iter().map(|region| region.sequence).max().unwrap();
    let late: Vec<_> = used
        .into_iter()
        .filter(|r| r.sequence + 2 > newest)
        .collect();
    for _ in 0..100 {
        let (region, at) = any(&late, &mut random);
        let still = with_flip(dir.path(), at, 1, || readable(dir.path()));
        let lost: BTreeSet<_> = all.difference(&still).copied().collect();
        // The last commit, and the one whose runs carry the watermark of the one before.
        let is_old = |(stream, number): &(u64, u64)| {
            *number < 160 && !hit(region).contains(&(*stream, *number))
        };
        assert!(!lost.iter().any(is_old), "byte {at}, {region:?}: {lost:?}");
    }
}

/// A power cut can leave the header of a run without its chunks, and whole runs behind it. None of
/// these was committed: the life ends before the torn run, and what lies behind stays away.
#[test]
fn a_torn_run_ends_the_life() {
    let block_len = 4 << 20;
    let dir = volume(block_len);
    let options = WriterOptions {
        commit_us: 60_000_000,
        ..WriterOptions::default()
    };
    let writer = Writer::open(dir.path(), options).unwrap();
    record(&writer, 0..20);
    // Several runs between two commits: on disk the watermark stands before all of them.
    let mut producer = writer.producer().unwrap();
    producer
        .add_stream(StreamId(9), camera::setup("last"))
        .unwrap();
    for number in 0..30 {
        let frame = camera::frame(9, number, START_US, 25, 100_000);
        producer.push(StreamId(9), frame).unwrap();
    }
    writer.commit().unwrap();
    // What a kill would leave now.
    let crashed = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::copy(data_path(dir.path()), data_path(crashed.path())).unwrap();
    let whole = readable(crashed.path());
    assert_eq!(whole.iter().filter(|(stream, _)| *stream == 9).count(), 30);
    let data = std::fs::read(data_path(crashed.path())).unwrap();
    let regions = layout::map(&data, block_len);
    let own = regions
        .iter()
        .filter(|r| matches!(r.what, What::Frame(9, _)));
    let torn = own.clone().find(|r| r.what == What::Frame(9, 15)).unwrap();
    let run = |region: &Region| {
        let before = regions
            .iter()
            .filter(|r| r.range.start < region.range.start);
        before.filter(|r| r.what == What::Run).count()
    };
    let expected: BTreeSet<_> = own.filter(|r| run(r) < run(torn)).flat_map(hit).collect();
    assert!(
        (1..15).contains(&expected.len()),
        "the torn run holds more than its torn frame"
    );
    let left = with_flip(crashed.path(), torn.range.start + 100, 1, || {
        (readable(crashed.path()), verify(crashed.path()))
    });
    let found: BTreeSet<_> = left
        .0
        .into_iter()
        .filter(|(stream, _)| *stream == 9)
        .collect();
    assert_eq!(found, expected);
    assert!(left.1.is_whole(), "a torn end is no damage: {:?}", left.1);
}

/// Verifies again and again while the ring is being written around: as the recorder's own process
/// sees it, and as another one does. What the recorder overwrites is no damage, nor is what it has
/// not committed yet.
#[test]
fn a_volume_can_be_verified_while_it_is_recorded() {
    let dir = volume(BLOCK_LEN);
    let writer = Writer::open(dir.path(), WriterOptions::default()).unwrap();
    let (mut checked, mut overwritten) = (0, 0);
    std::thread::scope(|scope| {
        let recorder = scope.spawn(|| record(&writer, 0..3000));
        while !recorder.is_finished() {
            let elsewhere = Volume::open(dir.path()).unwrap();
            for volume in [writer.volume(), &elsewhere] {
                let report = volume
                    .verify(&VerifyOptions::default(), &mut |_, _| {})
                    .unwrap();
                assert!(report.is_whole(), "{report:?}");
                checked += report.frame_count;
                overwritten += report.overwritten_count;
            }
        }
    });
    let report = writer
        .volume()
        .verify(&VerifyOptions::default(), &mut |_, _| {})
        .unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert!(checked > 3000, "{checked} frames were checked meanwhile");
    println!("{overwritten} blocks were overwritten meanwhile");
}

/// Overwrites a part of the data file.
fn overwrite(dir: &Path, at: usize, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(data_path(dir)).unwrap();
    file.write_all_at(bytes, at as u64).unwrap();
}

fn parts(report: &VerifyReport) -> Vec<(u64, DamagedPart)> {
    report
        .damage
        .iter()
        .map(|damage| (damage.sequence, damage.part))
        .collect()
}

/// Nothing but the block itself says what it should be: the cache files are gone too.
#[test]
fn lost_headers_and_trailers_are_told_without_a_table() {
    for what in [What::Header, What::Trailer] {
        let dir = recorded(&[200, 1]);
        let all = readable(dir.path());
        let regions = map(dir.path());
        let lost = regions
            .iter()
            .find(|r| r.sequence == 2 && r.what == what)
            .unwrap();
        overwrite(dir.path(), lost.range.start, &vec![0; lost.range.len()]);
        std::fs::remove_file(dir.path().join("blocktable")).unwrap();
        std::fs::remove_file(dir.path().join("timeline")).unwrap();
        let report = verify(dir.path());
        assert_eq!(report.damage_count, 1, "{report:?}");
        assert!(tells(&report.damage[0], lost), "{report:?}");
        assert_eq!(readable(dir.path()), all, "they can be done without");
    }
}

/// A disk that has not written what it said it had leaves an older block in the slot, whole.
#[test]
fn a_block_that_a_disk_never_wrote_is_told() {
    let dir = volume(BLOCK_LEN);
    let writer = Writer::open(dir.path(), WriterOptions::default()).unwrap();
    record(&writer, 0..200);
    let before = std::fs::read(data_path(dir.path())).unwrap();
    record(&writer, 200..700);
    writer.close().unwrap();
    let region = |data: &[u8], at: usize| {
        let regions = layout::map(data, BLOCK_LEN);
        regions
            .iter()
            .find(|r| r.range.contains(&at))
            .unwrap()
            .sequence
    };
    let at = 3 * BLOCK_LEN;
    let lost = region(&std::fs::read(data_path(dir.path())).unwrap(), at);
    assert_eq!((region(&before, at), lost), (4, 20));
    overwrite(dir.path(), at, &before[at..at + BLOCK_LEN]);
    assert_eq!(parts(&verify(dir.path())), [(lost, DamagedPart::Header)]);
    std::fs::remove_file(dir.path().join("blocktable")).unwrap();
    let told = parts(&verify(dir.path()));
    assert_eq!(
        told,
        [(lost + 1, DamagedPart::Run)],
        "runs are missing before the next block"
    );
}

/// Everything was sealed and flushed at the end, and the row of the last block says so: damage there
/// is damage, and not a torn end, for verifying and for reading.
#[test]
fn damage_in_the_last_run_of_a_closed_volume_is_told() {
    let dir = recorded(&[200]);
    let regions = map(dir.path());
    let runs = regions.iter().filter(|region| region.what == What::Run);
    let last = runs
        .max_by_key(|run| (run.sequence, run.range.start))
        .unwrap();
    let report = with_flip(dir.path(), last.range.start + 30, 1, || verify(dir.path()));
    assert!(tells(&report.damage[0], last), "{report:?}");
    let chunks = regions.iter().filter(|r| r.range.start > last.range.start);
    let frame = chunks.clone().find(|r| matches!(r.what, What::Frame(..)));
    let frame = frame.unwrap();
    let report = with_flip(dir.path(), frame.range.start, 1, || verify(dir.path()));
    assert!(tells(&report.damage[0], frame), "{report:?}");
    with_flip(dir.path(), frame.range.start, 1, || {
        let volume = Volume::open(dir.path()).unwrap();
        let items = read_all(&volume, &Query::blocks([frame.sequence])).unwrap();
        let is_told = |item: &Recorded| matches!(&item.item, Item::Gap(gap) if gap.cause == GapCause::Damaged);
        assert!(items.iter().any(is_told));
    });
}

/// So much was cut off that one header is left. The file `volume.json` confirms it; without any, it
/// says what is missing, and nobody is told to create a volume there.
#[test]
fn a_file_that_was_cut_within_its_second_block_is_read_as_far_as_it_goes() {
    let dir = recorded(&[40]);
    let file = OpenOptions::new().write(true).open(data_path(dir.path()));
    let file = file.unwrap();
    let all = readable(dir.path());
    file.set_len(BLOCK_LEN as u64 - 4096).unwrap();
    let still = readable(dir.path());
    assert!(!still.is_empty() && still.is_subset(&all));
    let report = verify(dir.path());
    assert!(report.damage_count > 0 || report.missing_len > 0);
    file.set_len(4095).unwrap();
    let error = Volume::open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), camring::ErrorKind::Damaged, "{error}");
    assert!(error.to_string().contains("volume.json"), "{error}");
}

/// Two blocks have changed places, and nothing else says what belongs where.
#[test]
fn blocks_in_the_wrong_slots_are_told_without_a_table() {
    let dir = recorded(&[700]);
    let mut data = std::fs::read(data_path(dir.path())).unwrap();
    let regions = layout::map(&data, BLOCK_LEN);
    let newest = regions.iter().map(|region| region.sequence).max().unwrap();
    // The last two with runs: the newest header was written ahead.
    let slots = [newest - 1, newest - 2].map(|sequence| ((sequence - 1) % 16) as usize);
    let [a, b] = slots.map(|slot| slot * BLOCK_LEN..(slot + 1) * BLOCK_LEN);
    let (first, second) = (data[a.clone()].to_vec(), data[b.clone()].to_vec());
    data[a].copy_from_slice(&second);
    data[b].copy_from_slice(&first);
    std::fs::write(data_path(dir.path()), data).unwrap();
    std::fs::remove_file(dir.path().join("blocktable")).unwrap();
    let told = parts(&verify(dir.path()));
    for sequence in [newest - 1, newest - 2] {
        assert!(told.contains(&(sequence, DamagedPart::Header)), "{told:?}");
    }
}

/// A file that was cut short, by a copy that ran out of space or by hand.
#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_checked() {
    let dir = recorded(&[400, 1]);
    let all = verify(dir.path());
    let file = OpenOptions::new()
        .write(true)
        .open(data_path(dir.path()))
        .unwrap();
    file.set_len((15 * BLOCK_LEN + 100_000) as u64).unwrap();
    let report = verify(dir.path());
    let first = &report.damage[0];
    assert_eq!(first.part, DamagedPart::Unreadable, "{report:?}");
    assert!(
        first.offset <= 100_000 && first.times.is_some(),
        "{first:?}"
    );
    let sequence = first.sequence;
    assert!(
        report
            .damage
            .iter()
            .all(|damage| damage.sequence == sequence),
        "{report:?}"
    );
    assert!(report.frame_count + 200 > all.frame_count);
}

/// A report about a ruined volume stays as short as was asked for; the count is true.
#[test]
fn the_list_of_damage_is_bounded() {
    let dir = recorded(&[400, 1]);
    let regions = map(dir.path());
    let mut frames = regions.iter().filter(|r| matches!(r.what, What::Frame(..)));
    let frames: Vec<_> = frames.by_ref().take(50).collect();
    for frame in &frames {
        overwrite(dir.path(), frame.range.start + 30, &[0; 64]);
    }
    let volume = Volume::open(dir.path()).unwrap();
    let options = VerifyOptions { damage_limit: 7 };
    let report = volume.verify(&options, &mut |_, _| {}).unwrap();
    assert_eq!((report.damage.len(), report.damage_count), (7, 50));
    let json = serde_json::to_value(&report).unwrap();
    let first = &json["damage"][0];
    assert_eq!(
        (&json["damage_count"], &first["part"]),
        (&50.into(), &"frame".into())
    );
    let What::Frame(stream, number) = frames[0].what else {
        unreachable!()
    };
    let at = time_of(number).0;
    assert_eq!(
        (&first["stream"], &first["times"]),
        (&stream.into(), &vec![at, at].into())
    );
}
