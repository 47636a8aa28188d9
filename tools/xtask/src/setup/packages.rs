//! The Debian packages that the project needs, why, and whether they are here.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Purpose;
use crate::process::{on_path, output_of};

/// One package, named as in Debian 12 and its successors.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    /// What it is for, to print.
    pub(crate) reason: &'static str,
    purpose: Purpose,
    evidence: Evidence,
}

/// How to see that what a package brings is there, however it was installed.
#[derive(Debug)]
enum Evidence {
    /// A program on the search path.
    Program(&'static str),
    /// A file under `/usr/include`.
    Header(&'static str),
    /// A file under a library folder whose path begins like this.
    Library(&'static str),
}

use Evidence::{Header, Library, Program};
use Purpose::{Build, Test};

const fn package(
    purpose: Purpose,
    name: &'static str,
    evidence: Evidence,
    reason: &'static str,
) -> Package {
    Package {
        name,
        reason,
        purpose,
        evidence,
    }
}

const PACKAGES: &[Package] = &[
    package(
        Build,
        "libblkid-dev",
        Header("blkid/blkid.h"),
        "tells what a partition holds already (feature `blkid`)",
    ),
    package(
        Build,
        "libclang-dev",
        Library("libclang"),
        "reads libblkid's header for its Rust binding",
    ),
    package(
        Test,
        "ffmpeg",
        Program("ffprobe"),
        "decodes and probes exported files",
    ),
    package(
        Test,
        "mkvtoolnix",
        Program("mkvmerge"),
        "checks exported files against Matroska's rules",
    ),
    package(
        Test,
        "python3-gi",
        Library("python3/dist-packages/gi/"),
        "runs the test cameras",
    ),
    package(
        Test,
        "gir1.2-gstreamer-1.0",
        Library("girepository-1.0/Gst-1.0."),
        "runs the test cameras",
    ),
    package(
        Test,
        "gir1.2-gst-plugins-base-1.0",
        Library("girepository-1.0/GstApp-"),
        "runs the test cameras",
    ),
    package(
        Test,
        "gir1.2-gst-rtsp-server-1.0",
        Library("girepository-1.0/GstRtspServer-"),
        "the RTSP server of the test cameras",
    ),
    package(
        Test,
        "gstreamer1.0-plugins-base",
        Library("gstreamer-1.0/libgstapp."),
        "feeds frames into the test cameras",
    ),
    package(
        Test,
        "gstreamer1.0-plugins-good",
        Library("gstreamer-1.0/libgstrtp."),
        "packs H.264, H.265, MJPEG and audio into RTP",
    ),
    package(
        Test,
        "gstreamer1.0-plugins-bad",
        Library("gstreamer-1.0/libgstvideoparsersbad."),
        "splits H.264 and H.265 clips into pictures",
    ),
    package(
        Test,
        "qemu-utils",
        Program("qemu-img"),
        "an independent writer of disk images",
    ),
    package(
        Test,
        "fdisk",
        Program("sfdisk"),
        "writes partition tables into test images",
    ),
    package(
        Test,
        "e2fsprogs",
        Program("mkfs.ext4"),
        "makes file systems inside test images",
    ),
    package(
        Test,
        "xfsprogs",
        Program("mkfs.xfs"),
        "makes file systems that must not be destroyed",
    ),
    package(
        Test,
        "btrfs-progs",
        Program("mkfs.btrfs"),
        "makes file systems that must not be destroyed",
    ),
    package(
        Test,
        "dosfstools",
        Program("mkfs.vfat"),
        "makes file systems that must not be destroyed",
    ),
    package(
        Test,
        "mount",
        Program("losetup"),
        "loop devices, swap signatures",
    ),
    package(
        Test,
        "g++",
        Program("c++"),
        "builds libFuzzer's run-time part",
    ),
];

/// The packages for `purpose` of which nothing is to be seen.
pub(crate) fn missing(purpose: Purpose) -> Vec<&'static Package> {
    let wanted = PACKAGES.iter().filter(|package| package.purpose <= purpose);
    let absent: Vec<_> = wanted
        .filter(|package| !package.evidence.is_there())
        .collect();
    if absent.is_empty() {
        return absent;
    }
    let installed = installed();
    absent
        .into_iter()
        .filter(|package| !installed.contains(&package.name.to_owned()))
        .collect()
}

/// What dpkg holds for installed; nothing on a machine without dpkg.
fn installed() -> Vec<String> {
    let mut dpkg = Command::new("dpkg-query");
    dpkg.args([
        "--show",
        "--showformat",
        "${db:Status-Status} ${Package}\\n",
    ]);
    let list = output_of(dpkg).unwrap_or_default();
    list.lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .map(str::to_owned)
        .collect()
}

impl Evidence {
    fn is_there(&self) -> bool {
        match self {
            // Debian keeps mkfs and losetup out of the path of ordinary users.
            Program(name) => on_path(name) || Path::new("/usr/sbin").join(name).is_file(),
            Header(file) => ["/usr/include", "/usr/local/include"]
                .iter()
                .any(|folder| Path::new(folder).join(file).is_file()),
            Library(beginning) => library_folders()
                .iter()
                .any(|folder| begins_in(folder, beginning)),
        }
    }
}

/// `/usr/lib` and its folders for architectures and for LLVM.
fn library_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = ["/usr/lib", "/usr/lib64", "/usr/local/lib"]
        .map(PathBuf::from)
        .to_vec();
    for entry in std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with("-linux-gnu") {
            folders.push(entry.path());
        } else if name.starts_with("llvm-") {
            folders.push(entry.path().join("lib"));
        }
    }
    folders
}

/// Is there a file `folder/beginning...`?
fn begins_in(folder: &Path, beginning: &str) -> bool {
    let path = folder.join(beginning);
    if beginning.ends_with('/') {
        return path.is_dir();
    }
    let (Some(parent), Some(start)) = (path.parent(), path.file_name()) else {
        return false;
    };
    let start = start.to_string_lossy();
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .into_iter()
        .any(|entry| entry.file_name().to_string_lossy().starts_with(&*start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_machine_needs_all_that_a_build_machine_needs() {
        assert!(Build < Test);
        assert!(PACKAGES.iter().any(|package| package.purpose == Build));
    }

    #[test]
    fn every_package_is_named_once_and_says_what_it_is_for() {
        let mut names: Vec<_> = PACKAGES.iter().map(|package| package.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PACKAGES.len());
        assert!(PACKAGES.iter().all(|package| !package.reason.is_empty()));
    }

    #[test]
    fn what_is_nowhere_is_not_seen() {
        assert!(!Program("no-such-program-of-camring").is_there());
        assert!(!Header("no/such/header.h").is_there());
        assert!(!Library("libno-such-library").is_there());
        assert!(Program("sh").is_there());
    }
}
