//! `camring demo-record`: records the built-in cameras. Started, and killed, by `demo`.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use anyhow::Context as _;
use camring::Writer;
use camring::base::time::SystemClock;
use camring::ingest::builtin;
use camring::writer::WriterOptions;

use crate::args::DemoRecord;
use crate::error::{Exit, Outcome};

/// How many cameras there are: one for each clip that is built in.
pub(super) const CAMERA_COUNT: u32 = 4;

/// The line on stdout that says that recording has begun.
pub(super) const READY: &str = "recording";

pub(super) fn run(args: &DemoRecord) -> Outcome {
    let writer = Writer::open(&args.dir, WriterOptions::default())?;
    let mut producer = writer.producer()?;
    let mut cameras = builtin::cameras(CAMERA_COUNT)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{READY}").and_then(|()| out.flush())?;
    let stop = AtomicBool::new(false);
    let played = thread::scope(|scope| {
        let player =
            scope.spawn(|| builtin::play(&mut cameras, &SystemClock, &mut producer, &stop));
        wait(args);
        // Relaxed: nothing is handed over with the flag.
        stop.store(true, Ordering::Relaxed);
        player.join()
    });
    played.map_err(|_| anyhow::anyhow!("the cameras have panicked"))??;
    drop(producer);
    writer.close().context("closing the recording")?;
    Ok(Exit::Ok)
}

/// Waits until recording is to end.
fn wait(args: &DemoRecord) {
    let (end, ended) = channel::<()>();
    if args.until_input_ends {
        thread::spawn(move || {
            // However it ends, and whatever comes: there is nobody any more.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            drop(end);
        });
        // It has ended, or it was long enough.
        let _ = ended.recv_timeout(args.duration);
        return;
    }
    thread::sleep(args.duration);
}
