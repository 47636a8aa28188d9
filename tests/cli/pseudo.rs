//! Pseudo-terminals: a side where somebody types and reads, and a side for a program.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A pseudo-terminal of 24 lines.
pub(crate) struct Pseudo {
    /// The side where keys are pressed and the screen is read.
    pub(crate) controller: File,
    /// The side of the program.
    pub(crate) device: File,
}

impl Pseudo {
    pub(crate) fn open() -> Self {
        // Inherited by a program, its side of the controller would keep the terminal from hanging up.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let name = name.into_string().unwrap();
        // Without O_NOCTTY it would become the terminal of a test that has none.
        let mut options = OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::custom_flags(
            &mut options,
            rustix::fs::OFlags::NOCTTY.bits().cast_signed(),
        );
        let device = options.read(true).write(true).open(name).unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: 200,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&device, size).unwrap();
        let controller = File::from(controller);
        Self { controller, device }
    }

    /// Gives `command` the terminal for stdin and stderr; its stdout is a pipe.
    pub(crate) fn attach(&self, command: &mut Command) {
        let clone = || Stdio::from(self.device.try_clone().unwrap());
        command.env("TERM", "xterm");
        command
            .stdin(clone())
            .stderr(clone())
            .stdout(Stdio::piped());
    }

    /// What is on the screen up to and with `text`; it is waited for.
    pub(crate) fn read_until(&mut self, text: &str) -> String {
        let mut screen = String::new();
        let mut bytes = [0; 4096];
        while !screen.contains(text) {
            let count = self.controller.read(&mut bytes).unwrap();
            screen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        screen
    }

    /// What is still on its way to the screen. No program may have the terminal any more.
    pub(crate) fn rest(mut self) -> String {
        drop(self.device);
        let mut bytes = Vec::new();
        // A terminal without a program ends with an error.
        let _ = self.controller.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
