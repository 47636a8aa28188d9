//! Every request of a recording fails, one after another, once and for ever.

use camring::frame::StreamId;
use camring::io::sim::{Fault, FaultRule, FaultTarget, SimDisk, SimOptions};
use camring::volume::Volume;
use camring::writer::ManualWriter;

use crate::counts::Counts;
use crate::model::{Fate, Model};
use crate::simulated::{self, START_US};
use crate::trial::fresh_image;
use crate::{SLOT_COUNT, STREAM_COUNT, camera, options};

/// How many frames a recording pushes, so that the ring wraps.
const FRAME_COUNT: u64 = 700;

/// What fails.
const FAULTS: [(FaultTarget, bool); 6] = [
    (FaultTarget::Read, false),
    (FaultTarget::Read, true),
    (FaultTarget::Write, false),
    (FaultTarget::Write, true),
    (FaultTarget::Flush, false),
    (FaultTarget::Flush, true),
];

/// Two lives of the same recording on `disk`; a failing one ends the same way as a killed one.
fn record(disk: &SimDisk, model: &mut Model, frame_count: u64, counts: &mut Counts) {
    let clock = simulated::clock();
    let opened = ManualWriter::open_on(simulated::medium(disk), None, options(&clock));
    let Ok(mut writer) = opened else {
        counts.note("an opening for writing failed");
        return;
    };
    let mut producer = writer.producer();
    for stream in 0..STREAM_COUNT {
        let setup = camera::setup("swept");
        producer.add_stream(StreamId(stream), setup).unwrap();
        model.frames.entry(stream).or_default();
    }
    for number in 0..frame_count {
        let stream = number % STREAM_COUNT;
        let frames = model.frames.entry(stream).or_default();
        let frame = camera::frame(stream, frames.len() as u64, START_US, 5, 1500);
        if producer.push(StreamId(stream), frame.clone()).is_ok() {
            frames.push((frame, Fate::Pushed));
        }
        clock.advance_us(13_000);
        writer.turn();
        model.note(&mut writer);
        writer.wait().unwrap();
        if writer.is_failed() {
            counts.note("a volume failed");
            return;
        }
    }
    if writer.volume().table().head() > SLOT_COUNT {
        counts.note("wrap");
    }
}

/// The two lives, the second with a fault after `skip_count` requests; false when there were not
/// so many.
fn strike(target: FaultTarget, is_sticky: bool, skip_count: u64, counts: &mut Counts) -> bool {
    let context = format!("{target:?} {skip_count}, sticky: {is_sticky}");
    let options = SimOptions {
        seed: skip_count,
        ..SimOptions::default()
    };
    let mut model = Model::default();
    let disk = SimDisk::new(fresh_image(), options);
    record(&disk, &mut model, FRAME_COUNT / 2, counts);
    let image = disk.crash(skip_count);
    let served = model.check(&image, &context);
    model.settle(&served);
    let disk = SimDisk::new(image, options);
    let rule = FaultRule::next(target, Fault::Error(5)).after(skip_count);
    disk.add_fault(if is_sticky { rule.sticky() } else { rule });
    // What a failing read makes recovery overwrite must not be overwritten anyway.
    let is_read = target == FaultTarget::Read;
    let frame_count = if is_read { 40 } else { FRAME_COUNT };
    record(&disk, &mut model, frame_count, counts);
    let has_struck = disk.counters().fault_count > 0;
    disk.clear_faults();
    let image = disk.crash(skip_count + 1);
    let served = model.check(&image, &context);
    model.settle(&served);
    // A disk that works again is recorded on again.
    let disk = SimDisk::new(image, options);
    record(&disk, &mut model, 40, counts);
    model.check(&disk.crash(skip_count + 2), &context);
    has_struck
}

#[test]
fn nothing_durable_is_lost_whichever_request_of_a_recording_fails() {
    let mut counts = Counts::default();
    for (target, is_sticky) in FAULTS {
        let mut skip_count = 0;
        while strike(target, is_sticky, skip_count, &mut counts) {
            skip_count += 1;
        }
        println!("{target:?}, sticky: {is_sticky}: {skip_count} requests");
        assert!(skip_count > 1, "{target:?}: {counts}");
    }
    println!("{counts}");
    counts.require(&["an opening for writing failed", "a volume failed", "wrap"]);
}

#[test]
fn whichever_read_fails_what_is_missing_is_told() {
    let mut counts = Counts::default();
    let mut model = Model::default();
    let disk = SimDisk::new(fresh_image(), SimOptions::default());
    record(&disk, &mut model, FRAME_COUNT, &mut counts);
    let image = disk.crash(7);
    let served = model.check(&image, "whole");
    model.settle(&served);
    model.is_spoilt = true;
    for is_sticky in [false, true] {
        for skip_count in 0.. {
            let context = format!("read {skip_count}, sticky: {is_sticky}");
            let disk = SimDisk::new(image.clone(), SimOptions::default());
            let rule = FaultRule::next(FaultTarget::Read, Fault::Error(5)).after(skip_count);
            disk.add_fault(if is_sticky { rule.sticky() } else { rule });
            match Volume::open_on(simulated::medium(&disk), None) {
                Ok(volume) => {
                    let served = model.served_by(&volume, &context);
                    model.check_served(&served, &context);
                }
                Err(_) => counts.note("an opening for reading failed"),
            }
            if disk.counters().fault_count == 0 {
                println!("sticky: {is_sticky}: {skip_count} reads");
                break;
            }
        }
    }
    counts.require(&["an opening for reading failed"]);
}
