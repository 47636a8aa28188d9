//! The recorder that is killed: takes frames from its standard input, pushes them, and tells on its
//! standard error what it has done, a line each.

use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use camring::base::time::Timestamp;
use camring::frame::{Frame, StreamId};
use camring::writer::{Event, StreamSpan, Writer, WriterOptions};

use super::log::STREAM_COUNT;

/// Names the directory of the volume, and makes a process of this program a recorder.
pub(super) const DIR_VARIABLE: &str = "CAMRING_KILL_DIR";
/// Stream, number, time, clock, key mark and length of a frame, as eight bytes each.
pub(super) const HEAD_LEN: usize = 48;

pub(super) fn encode(stream: u64, number: u64, frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_LEN + frame.payload.len());
    let (time, clock) = (frame.time.0 as u64, frame.clock as u64);
    for word in [
        stream,
        number,
        time,
        clock,
        u64::from(frame.key),
        frame.payload.len() as u64,
    ] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(&frame.payload);
    bytes
}

fn tell(line: &str) {
    // One call per line, so that lines of two threads do not mix.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Records until the input ends, or, as a rule, until the process is killed.
pub(super) fn record(dir: &Path, commit_us: u64) {
    let start = Instant::now();
    let on_event = Box::new(|event: &Event| {
        if let Event::Committed { streams, .. } = event {
            for StreamSpan { stream, span, .. } in streams {
                tell(&format!("durable {stream} {}\n", span.end.0));
            }
        }
    });
    let options = WriterOptions {
        commit_us,
        on_event: Some(on_event),
        ..WriterOptions::default()
    };
    let writer = Writer::open(dir, options).unwrap();
    tell(&format!("open {}\n", start.elapsed().as_micros()));
    let mut producer = writer.producer().unwrap();
    producer.set_waiting(true);
    for stream in 0..STREAM_COUNT {
        let setup = super::camera::setup(&format!("camera {stream}"));
        producer.add_stream(StreamId(stream), setup).unwrap();
    }
    let mut input = BufReader::with_capacity(1 << 20, std::io::stdin());
    loop {
        let mut head = [0; HEAD_LEN];
        if input.read_exact(&mut head).is_err() {
            return;
        }
        let word = |at: usize| u64::from_le_bytes(head[8 * at..8 * at + 8].try_into().unwrap());
        let mut payload = vec![0; word(5) as usize];
        if input.read_exact(&mut payload).is_err() {
            return;
        }
        let frame = Frame {
            track: 0,
            key: word(4) == 1,
            leading: false,
            time: Timestamp(word(2) as i64),
            clock: word(3) as i64,
            payload: Bytes::from(payload),
        };
        producer.push(StreamId(word(0)), frame).unwrap();
        tell(&format!(
            "push {} {} {}\n",
            word(0),
            word(1),
            super::lives::boot_us()
        ));
    }
}
