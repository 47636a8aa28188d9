//! Users and passwords of cameras, from a file that only its owner can read.
//!
//! ```text
//! # ID USER PASSWORD; the password is the rest of the line
//! 1 admin correct horse battery staple
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use camring::frame::StreamId;
use camring::{Error, ErrorKind, Result};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// The longest file that is read, in bytes.
const MAX_FILE_LEN: u64 = 1 << 20;
/// The permissions of a file that others can read or write.
const OTHERS_MODE: u32 = 0o077;

/// A text that is not shown, and is wiped from memory when it is dropped.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    /// The text itself, for the camera alone.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// How to log in to a camera.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    /// The user.
    pub(crate) user: String,
    /// The password.
    pub(crate) password: Secret,
}

/// Reads the credentials of all cameras in a file.
///
/// # Errors
///
/// [`ErrorKind::Io`] if the file cannot be read, and [`ErrorKind::Invalid`] if others can read
/// it, if it is a directory or a pipe, or if a line has another form. No error quotes what is in the file.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<StreamId, Credentials>> {
    let place = path.display();
    let doing = format!("read the credentials in {place}");
    // A pipe would be waited for until somebody writes into it.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path);
    let file = opened.map_err(|e| Error::io(&doing, e))?;
    // Asked of the open file, so that it cannot be another one by the time it is read.
    let metadata = file.metadata().map_err(|e| Error::io(&doing, e))?;
    if !metadata.is_file() {
        return Err(Error::invalid(format!("{place} is no regular file"))
            .with_remedy("Credentials are in a file with a line for each camera"));
    }
    if metadata.permissions().mode() & OTHERS_MODE != 0 {
        return Err(Error::invalid(format!("others can read or write {place}"))
            .with_remedy(format!("Run: chmod 600 {place}")));
    }
    // Room for all of it, as growing would leave copies in memory.
    let room = metadata.len().min(MAX_FILE_LEN) + 1;
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(room).unwrap_or(0)));
    file.take(MAX_FILE_LEN + 1)
        .read_to_string(&mut text)
        .map_err(|e| Error::io(&doing, e))?;
    if text.len() as u64 > MAX_FILE_LEN {
        return Err(Error::invalid(format!("{place} is longer than 1 MiB")));
    }
    parse(&text).map_err(|error| error.at(place))
}

fn parse(text: &str) -> Result<BTreeMap<StreamId, Credentials>> {
    let mut all = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let (id, credentials) = parse_line(line).ok_or_else(|| {
            Error::invalid(format!(
                "line {number} is not of the form: ID USER PASSWORD"
            ))
        })?;
        if all.insert(id, credentials).is_some() {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("line {number}: camera {id} has a line before"),
            ));
        }
    }
    Ok(all)
}

fn parse_line(line: &str) -> Option<(StreamId, Credentials)> {
    let (id, rest) = line.trim_start().split_once([' ', '\t'])?;
    let (user, password) = rest.trim_start().split_once([' ', '\t'])?;
    let credentials = Credentials {
        user: user.into(),
        password: Secret(Zeroizing::new(password.into())),
    };
    Some((StreamId(id.parse().ok()?), credentials))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::fs::{self, Permissions};

    use super::*;

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn each_camera_has_a_line_and_the_password_is_the_rest_of_it() {
        let text = "# cameras\n\n1 admin correct horse  battery staple \n  42\tviewer\t#1\r\n";
        let all = read(file(text, 0o600).path()).unwrap();
        assert_eq!(all.len(), 2);
        let first = all.get(&StreamId(1)).unwrap();
        assert_eq!(first.user, "admin");
        assert_eq!(first.password.reveal(), "correct horse  battery staple ");
        let second = all.get(&StreamId(42)).unwrap();
        assert_eq!(
            (second.user.as_str(), second.password.reveal()),
            ("viewer", "#1")
        );
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        for mode in [0o644, 0o640, 0o604, 0o620] {
            let error = read(file("1 admin secret\n", mode).path()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        assert!(read(file("1 admin secret\n", 0o400).path()).is_ok());
    }

    #[test]
    fn a_fault_is_named_by_its_line_and_nothing_is_quoted() {
        for (text, line) in [
            ("1 admin hunter2\nadmin hunter2\n", "line 2"),
            ("hunter2\n", "line 1"),
            ("#\n-1 admin hunter2\n", "line 2"),
            ("1 admin hunter2\n\n1 admin hunter2\n", "line 3"),
        ] {
            let error = read(file(text, 0o600).path()).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let absent = read(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(absent.kind(), ErrorKind::Io);
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for path in [folder.path(), &pipe] {
            let error = read(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let text = error.to_string();
            assert!(text.contains("no regular file"), "{text}");
            assert!(!text.contains("chmod"), "{text}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let all = parse("1 admin hunter2").unwrap();
        let shown = format!("{all:?} {all:#?}");
        assert!(
            shown.contains("admin") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn a_file_that_is_too_long_is_refused() {
        let text = "#\n".repeat(1 << 20);
        let error = read(file(&text, 0o600).path()).unwrap_err();
        assert!(error.to_string().contains("longer than 1 MiB"), "{error}");
    }
}
