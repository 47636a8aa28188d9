//! A whole volume, recorded by the engine on a simulated disk, with edits: what a hostile or broken
//! disk may hold.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use camring::base::geometry::{Geometry, VolumeId};
use camring::base::time::{ManualClock, Now, TimeRange, Timestamp};
use camring::block::PAGE_LEN;
use camring::frame::{Codec, Frame, Item, StreamId, StreamSetup, TrackSetup};
use camring::io::sim::{Image, SimDisk, SimOptions};
use camring::reader::{Query, read_all};
use camring::volume::Volume;
use camring::volume::create::write_first_headers;
use camring::volume::locate::Located;
use camring::volume::medium::SimMedium;
use camring::volume::verify::VerifyOptions;
use camring::writer::{ManualWriter, Producer, WriterOptions};

use super::seal;

const BLOCK_LEN: u32 = 64 << 10;
const SLOT_COUNT: u64 = 16;
const STREAM_COUNT: u64 = 2;
/// Turns after which a writer that is closed must have ended.
const TURN_COUNT: usize = 5_000;

/// Opens, verifies and reads an edited volume, records into it, and reads again. `data` is a list of
/// edits: three bytes of offset, one of length, the bytes; the first byte of all says whether the
/// checksums of edited pages are put right. Every frame that comes out was recorded, byte for byte.
pub(crate) fn whole_image(data: &[u8]) -> bool {
    let mut image = recorded().clone();
    edit(&mut image, data);
    let disk = SimDisk::new(image, SimOptions::default());
    let Some(held) = look(&disk) else {
        return false;
    };
    record(&disk);
    held
}

/// The volume before any edit: the ring has been around once, and a life has ended in a crash.
fn recorded() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let geometry = Geometry::new(BLOCK_LEN, SLOT_COUNT, 4096).expect("a legal geometry");
        let disk = SimDisk::new(Image::new(geometry.device_len()), SimOptions::default());
        let located = Located {
            volume: VolumeId([7; 16]),
            geometry,
        };
        write_first_headers(&mut disk.open(), &located).expect("a healthy disk");
        let mut writer = open(&disk).expect("a fresh volume");
        let mut producer = writer.producer();
        announce(&mut producer);
        for number in 0..900 {
            let _ = producer.push(StreamId(number % STREAM_COUNT), frame(number));
            if number % 10 == 0 {
                writer.begin_commit();
            }
            writer.turn();
            let _ = writer.wait();
        }
        disk.crash(3)
    })
}

fn open(disk: &SimDisk) -> camring::Result<ManualWriter> {
    let clock = ManualClock::new(Now {
        boot_us: 1_000_000,
        utc_us: 1_700_000_000_000_000,
    });
    let options = WriterOptions {
        clock: Arc::new(clock),
        control: false,
        ..WriterOptions::default()
    };
    ManualWriter::open_on(Arc::new(SimMedium::new(disk.clone())), None, options)
}

fn announce(producer: &mut Producer) {
    for stream in 0..STREAM_COUNT {
        let track = TrackSetup {
            codec: Codec::H264,
            clock_rate_hz: 90_000,
            width_px: 320,
            height_px: 240,
            channel_count: 0,
            extra: Bytes::from_static(b"configuration"),
        };
        let setup = StreamSetup {
            name: "fuzzed".to_owned(),
            tracks: vec![track],
        };
        let _ = producer.add_stream(StreamId(stream), setup);
    }
}

/// Frame number `number`, whose bytes tell the number again and again.
fn frame(number: u64) -> Frame {
    let words = 32 + number % 200;
    let payload: Vec<u8> = (0..words)
        .flat_map(|word| (number ^ word << 32).to_le_bytes())
        .collect();
    Frame {
        track: 0,
        key: number % 10 < STREAM_COUNT,
        leading: false,
        time: Timestamp(1_700_000_000_000_000 + 20_000 * number.cast_signed()),
        clock: 1800 * number.cast_signed(),
        payload: Bytes::from(payload),
    }
}

fn edit(image: &mut Image, data: &[u8]) {
    let Some((flags, mut data)) = data.split_first() else {
        return;
    };
    while let Some(([a, b, c, len], rest)) = data.split_first_chunk() {
        let (bytes, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        let device_len = u64::from(BLOCK_LEN) * SLOT_COUNT;
        let offset = u64::from(u32::from_le_bytes([*a, *b, *c, 0])) % device_len;
        let bytes = bytes
            .get(..bytes.len().min((device_len - offset) as usize))
            .unwrap_or_default();
        image.write(offset, bytes);
        if flags & 1 != 0 {
            repair(image, offset);
        }
        data = rest;
    }
}

/// Puts the checksum of the page around `offset` right, if it is a header, run or trailer.
fn repair(image: &mut Image, offset: u64) {
    let start = offset / PAGE_LEN as u64 * PAGE_LEN as u64;
    let mut page = [0; PAGE_LEN];
    image.read(start, &mut page);
    seal::any_page(&mut page);
    image.write(start, &page);
}

/// Opens, verifies and reads; says whether frames came out, none where it does not open.
fn look(disk: &SimDisk) -> Option<bool> {
    let volume = Volume::open_on(Arc::new(SimMedium::new(disk.clone())), None).ok()?;
    let options = VerifyOptions::default();
    let _ = volume.verify(&options, &mut |_, _| {});
    let streams: Vec<_> = volume.streams().iter().map(|stream| stream.id).collect();
    for stream in streams {
        let _ = volume.timeline(stream, TimeRange::ALL);
    }
    let sequences: Vec<_> = volume.table().blocks().map(|row| row.sequence).collect();
    let everything = Query::time(Vec::new(), TimeRange::ALL);
    let mut held = false;
    for query in [everything, Query::blocks(sequences)] {
        for recorded in read_all(&volume, &query).unwrap_or_default() {
            if let Item::Frame(found) = recorded.item {
                let number = found
                    .payload
                    .first_chunk()
                    .map_or(0, |n| u64::from_le_bytes(*n));
                assert_eq!(found.payload, frame(number).payload, "a frame has changed");
                held = true;
            }
        }
    }
    Some(held)
}

/// Records a few frames and closes: whatever the disk holds, that ends.
fn record(disk: &SimDisk) {
    let Ok(mut writer) = open(disk) else {
        return;
    };
    let mut producer = writer.producer();
    announce(&mut producer);
    for number in 2000..2020 {
        let _ = producer.push(StreamId(number % STREAM_COUNT), frame(number));
    }
    writer.begin_close();
    for _ in 0..TURN_COUNT {
        writer.turn();
        if writer.is_idle() || writer.is_failed() {
            let held = look(disk);
            assert!(
                writer.is_failed() || held == Some(true),
                "what was recorded is not there"
            );
            return;
        }
        let _ = writer.wait();
    }
    panic!("closing does not end");
}
