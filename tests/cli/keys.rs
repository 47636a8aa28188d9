//! `camring play` on a terminal: every key, as the status line tells what it has done.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::termios::{LocalModes, tcgetattr};

use crate::program::{Running, camring};
use crate::pseudo::Pseudo;
use crate::recording::{Recording, at};

/// How long the status line may take to say what is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A terminal with a program in it.
struct Terminal {
    /// The side where keys are pressed.
    keys: File,
    /// The side of the program.
    device: File,
    output: mpsc::Receiver<String>,
    running: Running,
    text: String,
}

impl Terminal {
    /// Starts the program with `args`.
    fn start(recording: &Recording, args: &str) -> Self {
        let Pseudo { controller, device } = Pseudo::open();
        let clone = || Stdio::from(device.try_clone().unwrap());
        let mut command = camring(&recording.dir(), args);
        command.env("TERM", "xterm");
        command.stdin(clone()).stdout(clone()).stderr(clone());
        let running = Running::start(&mut command);
        let keys = controller;
        let mut from = keys.try_clone().unwrap();
        let (tell, output) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = from.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                if tell.send(text).is_err() {
                    return;
                }
            }
        });
        Self {
            keys,
            device,
            output,
            running,
            text: String::new(),
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for a status line that `wanted` wants; returns its time, in microseconds since the
    /// beginning of the recording.
    fn wait_for(&mut self, what: &str, wanted: impl Fn(&str, i64) -> bool) -> i64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let text = self.output.recv_timeout(left).unwrap_or_else(|_| {
                self.running.signal(rustix::process::Signal::KILL);
                panic!("{what} is not told: {:?}", self.text)
            });
            self.text.push_str(&text);
            let end = self.text.rfind(['\r', '\n']).map_or(0, |end| end + 1);
            let lines: String = self.text.drain(..end).collect();
            for line in plain(&lines).split(['\r', '\n']).map(str::trim) {
                if let Some(us) = time_of(line).filter(|us| wanted(line, *us)) {
                    return us;
                }
            }
        }
    }
}

/// `text` without the sequences that control a terminal.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic());
        // A sequence that moves the cursor ends the line.
        plain.push('\n');
        plain.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    plain
}

/// The time with which a status line begins.
fn time_of(line: &str) -> Option<i64> {
    let clock = line.strip_prefix("2026-11-18T11:")?.get(..12)?;
    let (minutes, seconds) = (clock.get(..2)?, clock.get(3..5)?);
    let us: i64 = clock.get(6..)?.parse().ok()?;
    let seconds = minutes.parse::<i64>().ok()? * 60 + seconds.parse::<i64>().ok()?;
    Some((seconds - 6 * 60 - 40) * 1_000_000 + us)
}

#[test]
fn every_key_does_what_the_help_says() {
    let recording = Recording::new();
    let args = format!("play {{}} --stream 2 --at {}", at(2_000));
    let mut terminal = Terminal::start(&recording, &args);
    let is_picture = |us: i64| us % 40_000 == 0;
    terminal.wait_for("playing", |line, us| {
        line.contains("  playing 1x  cached -") && us > 2_000_000
    });
    terminal.press(" ");
    terminal.wait_for("pausing", |line, _| line.contains("  paused 1x"));

    terminal.press(".");
    let first = terminal.wait_for("a step", |line, us| {
        line.contains("paused") && is_picture(us)
    });
    terminal.press(".");
    terminal.wait_for("another step", |_, us| us == first + 40_000);
    terminal.press(",");
    terminal.wait_for("a step back", |_, us| us == first);

    terminal.press("\u{1b}[C");
    terminal.wait_for("an arrow to the right", |line, us| {
        line.contains("paused") && us == first + 10_000_000
    });
    terminal.press("\u{1b}[D");
    terminal.wait_for("an arrow to the left", |line, us| {
        line.contains("paused") && us == first
    });

    terminal.press("[");
    terminal.wait_for("half the speed", |line, _| line.contains("paused 0.5x"));
    terminal.press("[[[[");
    terminal.wait_for("the slowest", |line, _| line.contains("paused 0.125x"));
    terminal.press(" ");
    terminal.wait_for("playing slowly", |line, us| {
        line.contains("playing 0.125x") && us > first
    });
    terminal.press("]]]]]]]]]]");
    terminal.wait_for("the end", |line, us| {
        line.contains("paused 64x") && line.ends_with("end of the recording") && us >= 20_000_000
    });

    press_for_directions(&mut terminal);

    let hidden = LocalModes::ICANON | LocalModes::ECHO;
    let modes = || tcgetattr(&terminal.device).unwrap().local_modes;
    assert!(!modes().intersects(hidden), "keys come one by one, unseen");
    terminal.press("q");
    let Terminal {
        running, device, ..
    } = terminal;
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let modes = tcgetattr(&device).unwrap().local_modes;
    assert!(modes.contains(hidden), "the terminal is as it was");
}

/// From the end of the recording to its beginning, forward, backward, and to what is live.
fn press_for_directions(terminal: &mut Terminal) {
    terminal.press("r ");
    terminal.wait_for("the beginning", |line, us| {
        line.contains("64x") && line.ends_with("end of the recording") && us <= 0
    });
    terminal.press("[[[[[[r ");
    terminal.wait_for("forward again", |line, us| {
        line.contains("  playing 1x") && us > 0
    });
    terminal.press("\u{1b}[C");
    terminal.wait_for("an arrow while playing", |line, us| {
        line.contains("  playing 1x") && us > 10_000_000
    });
    terminal.press("r");
    terminal.wait_for("backward", |line, _| line.contains("  backward 1x"));
    terminal.press("l");
    terminal.wait_for("live", |line, us| {
        line.contains("  live 1x") && us > 19_000_000
    });
}

/// What is being written only goes on.
#[test]
fn no_key_jumps_while_a_file_is_written() {
    let recording = Recording::new();
    let path = recording.folder().join("yard.mkv");
    let args = format!("play {{}} --stream 2 --speed 0.5 --to {}", path.display());
    let mut terminal = Terminal::start(&recording, &args);
    terminal.wait_for("playing", |line, us| {
        line.contains("playing 0.5x") && us > 0
    });
    for key in ["\u{1b}[C", "\u{1b}[D", ",", "r", "l"] {
        terminal.press(key);
        terminal.wait_for("a refusal", |line, _| {
            line.ends_with("no jumps while a file is written")
        });
        terminal.press(" ");
        terminal.wait_for("pausing", |line, _| {
            line.contains("paused") && !line.contains("jumps")
        });
        terminal.press(" ");
        terminal.wait_for("playing on", |line, _| line.contains("playing"));
    }
    terminal.press("q");
    let ended = terminal.running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(path.metadata().unwrap().len() > 1_000);
}
