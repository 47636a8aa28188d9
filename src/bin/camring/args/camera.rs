//! The arguments of `camring record` and `camring camera`, and the form in which cameras are given.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use camring::frame::StreamId;
use camring::frame::setup::MAX_NAME_LEN;
use camring::ingest::rtsp::login_parameter;
use clap::builder::{StyledStr, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use super::format::LineFormat;
use crate::time;

/// Records cameras.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  camring record ./house --camera 1:door=rtsp://192.0.2.10/stream1
  camring record ./house --camera 1:door=rtsp://192.0.2.10/main --camera 2=rtsp://192.0.2.11/main \\
      --credentials cameras.secret
  camring record ./house --camera 1=rtsp://192.0.2.10/main --for 30s

The file of credentials has a line for each camera that wants some: its ID, a user, a password.
It must be readable by its owner only: chmod 600 cameras.secret. A URL with a login in it is refused:
before the host, or as one of its parameters (user, password, token and the like).

While it records, `camring camera add` and `camring camera remove` change the cameras, and
`camring commit` puts all that was received on stable storage.

SIGINT and SIGTERM end it in order; a second one ends it at once. SIGHUP makes it read the file of
credentials anew: cameras use their new logins from their next connection on, and none is stopped.
Without such a file, or on a terminal, whose end it is there, SIGHUP ends it like SIGTERM; under
nohup it is ignored.")]
pub(crate) struct Record {
    /// The volume's directory.
    pub(crate) dir: PathBuf,
    /// A camera: the stream's number, a name for it, and where it is. May be repeated.
    #[arg(long = "camera", value_name = "ID[:NAME]=URL", required = true,
          value_parser = CameraParser)]
    pub(crate) cameras: Vec<Camera>,
    /// A file with users and passwords.
    #[arg(
        long,
        value_name = "FILE",
        env = "CAMRING_CREDENTIALS",
        hide_env_values = true
    )]
    pub(crate) credentials: Option<PathBuf>,
    /// How cameras send their packets.
    #[arg(long, value_enum, default_value_t = Transport::Tcp, env = "CAMRING_TRANSPORT",
          hide_env_values = true)]
    pub(crate) transport: Transport,
    /// Stop after this long, such as 30s; without it, when interrupted.
    #[arg(long = "for", value_name = "DURATION", value_parser = time::parse_duration)]
    pub(crate) duration: Option<Duration>,
    #[command(flatten)]
    pub(crate) format: LineFormat,
}

/// Adds or removes a camera of a recording that goes on.
#[derive(Debug, Args)]
pub(crate) struct CameraChange {
    /// What to do.
    #[command(subcommand)]
    pub(crate) action: CameraAction,
}

/// What to do with a camera.
#[derive(Debug, Subcommand)]
pub(crate) enum CameraAction {
    /// Record one more camera, until the recording ends or the camera is removed.
    Add(AddCamera),
    /// Record a camera no more. What was recorded stays.
    Remove(RemoveCamera),
}

/// Records one more camera.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  camring camera add ./house 3:yard=rtsp://192.0.2.12/main

The recorder looks for its login in the file that it was given as --credentials, which it reads anew.")]
pub(crate) struct AddCamera {
    /// The directory of the volume that is being recorded.
    pub(crate) dir: PathBuf,
    /// The camera: the stream's number, a name for it, and where it is.
    #[arg(value_name = "ID[:NAME]=URL", value_parser = CameraParser)]
    pub(crate) camera: Camera,
    /// Another file with its user and password, which the recorder reads once.
    #[arg(long, value_name = "FILE")]
    pub(crate) credentials: Option<PathBuf>,
    /// How it sends its packets; by default as the recorder was told.
    #[arg(long, value_enum)]
    pub(crate) transport: Option<Transport>,
}

/// Records a camera no more.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  camring camera remove ./house 3")]
pub(crate) struct RemoveCamera {
    /// The directory of the volume that is being recorded.
    pub(crate) dir: PathBuf,
    /// The number of its stream.
    pub(crate) id: u64,
}

/// How cameras send their packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// Within the RTSP connection: nothing is lost on the way.
    Tcp,
    /// As datagrams of their own.
    Udp,
}

/// A camera to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Camera {
    /// The number of its stream.
    pub(crate) id: StreamId,
    /// The name of its stream, empty if none was given.
    pub(crate) name: String,
    /// Where it is; without user and password.
    pub(crate) url: url::Url,
}

impl Camera {
    /// Reads `ID[:NAME]=URL`. Its errors never quote the URL, which may hold a password.
    fn parse(text: &str) -> Result<Self, String> {
        let form = "a camera is given as ID[:NAME]=URL, such as 1:door=rtsp://192.0.2.10/main";
        let (label, url) = text.split_once('=').ok_or(form)?;
        let (id, name) = label.split_once(':').unwrap_or((label, ""));
        let id = id
            .parse()
            .map_err(|_| format!("its ID is not a number; {form}"))?;
        Self::new(StreamId(id), name, url)
    }

    /// The camera at `url`. Its errors never quote the URL.
    pub(crate) fn new(id: StreamId, name: &str, url: &str) -> Result<Self, String> {
        if name.len() > MAX_NAME_LEN {
            return Err(format!("its name is longer than {MAX_NAME_LEN} bytes"));
        }
        let form = "a URL is of the form rtsp://HOST[:PORT]/PATH";
        let url = url::Url::parse(url).map_err(|e| format!("its URL has a fault: {e}; {form}"))?;
        if url.scheme() != "rtsp" || url.host().is_none() {
            return Err(format!("its URL does not begin with rtsp://HOST; {form}"));
        }
        let instead = format!(
            "which every process of the machine could read; \
             put a line '{id} USER PASSWORD' into a file, and give it as --credentials FILE"
        );
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("its URL holds credentials, {instead}"));
        }
        if let Some(parameter) = login_parameter(&url) {
            return Err(format!(
                "its URL holds credentials, as '{parameter}=', {instead}"
            ));
        }
        Ok(Self {
            id,
            name: name.into(),
            url,
        })
    }
}

/// Reads cameras for clap, whose own messages would quote the whole argument.
#[derive(Clone, Debug)]
struct CameraParser;

impl TypedValueParser for CameraParser {
    type Value = Camera;

    fn parse_ref(
        &self,
        cmd: &clap::Command,
        _arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Camera, clap::Error> {
        let text = value.to_str().ok_or("it is not UTF-8".to_owned());
        text.and_then(Camera::parse).map_err(|reason| {
            let message = StyledStr::from(format!("the camera is refused: {reason}\n"));
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(cmd)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Command;
    use crate::args::tests::{parse, refusal};

    #[test]
    fn a_camera_has_a_number_perhaps_a_name_and_a_place() {
        let line = "camring record d --camera 7:front_door=rtsp://192.0.2.1:8554/a?b=c:d \
                    --camera 8=rtsp://[2001:db8::1]/main --for 30s";
        let Ok(Command::Record(record)) = parse(line) else {
            panic!("it can be recorded");
        };
        let found: Vec<_> = record
            .cameras
            .iter()
            .map(|c| (c.id.0, c.name.as_str(), c.url.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                (7, "front door", "rtsp://192.0.2.1:8554/a?b=c:d"),
                (8, "", "rtsp://[2001:db8::1]/main"),
            ]
        );
        assert_eq!(record.duration, Some(Duration::from_secs(30)));
        for bad in [
            "7",
            "=rtsp://a/b",
            "x=rtsp://a/b",
            "7=",
            "7=http://a/b",
            "7=rtsp:///b",
            "-7=rtsp://a/b",
        ] {
            refusal(&format!("camring record d --camera={bad}"));
        }
    }

    /// Neither the terminal nor a log of it gets to see the password.
    #[test]
    fn credentials_in_a_url_are_refused_and_not_repeated() {
        for url in [
            "rtsp://admin:hunter2@192.0.2.1/main",
            "rtsp://hunter2@192.0.2.1/main",
            "rtsp://:hunter2@192.0.2.1/main",
        ] {
            let message = refusal(&format!("camring record d --camera 7:door={url}"));
            assert!(message.contains("'7 USER PASSWORD'"), "{message}");
            assert!(message.contains("--credentials"), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
        for query in [
            "user=admin&password=hunter2",
            "channel=1&PWD=hunter2",
            "Token=hunter2",
        ] {
            let line = format!("camring record d --camera 7=rtsp://192.0.2.1/main?{query}");
            let message = refusal(&line);
            assert!(message.contains("--credentials"), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
        assert!(parse("camring record d --camera 7=rtsp://192.0.2.1/main?channel=1").is_ok());
        let with_fault = refusal("camring record d --camera 7=rtsp://admin:hunter2@[/main");
        assert!(!with_fault.contains("hunter2"), "{with_fault}");
    }
}
