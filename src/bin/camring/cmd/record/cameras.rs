//! The cameras of a recording: as they are given, with their logins, and added and removed while it
//! goes on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use camring::frame::StreamId;
use camring::ingest::rtsp::{self, CameraReport, CameraStatus, Recorder, RtspCamera};
use camring::{Error, ErrorKind, Result};

use super::requests::{AddCamera, Request};
use crate::args::camera::{Camera, Record, Transport};
use crate::credentials::{self, Credentials};

/// The cameras of a recording.
#[derive(Debug)]
pub(super) struct Cameras {
    /// The directory of the volume, for those who ask.
    dir: PathBuf,
    recorder: Recorder,
    /// Where their logins are by default.
    credentials: Option<PathBuf>,
    transport: Transport,
    statuses: BTreeMap<StreamId, Arc<CameraStatus>>,
    /// What cameras had come to that were removed.
    removed: BTreeMap<StreamId, CameraReport>,
}

/// The cameras that were asked for, ready to be recorded.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid) when two are the same, and what the file of credentials has to
/// say.
pub(super) fn asked_for(args: &Record) -> Result<Vec<RtspCamera>> {
    let logins = match &args.credentials {
        Some(path) => credentials::read(path)?,
        None => BTreeMap::new(),
    };
    let mut seen: Vec<&Camera> = Vec::new();
    for camera in &args.cameras {
        for other in &seen {
            check_apart(camera.id, &camera.name, other.id, &other.name)?;
        }
        seen.push(camera);
    }
    for id in logins.keys() {
        if !args.cameras.iter().any(|camera| camera.id == *id) {
            warn_of_unused(*id);
        }
    }
    let made = args.cameras.iter().map(|camera| {
        let login = logins.get(&camera.id);
        make(camera, login, args.transport)
    });
    made.collect()
}

impl Cameras {
    /// Begins to record `cameras`.
    pub(super) fn start(
        mut recorder: Recorder,
        cameras: Vec<RtspCamera>,
        args: &Record,
    ) -> Result<Self> {
        let mut statuses = BTreeMap::new();
        for camera in cameras {
            statuses.insert(camera.stream(), recorder.add(camera)?);
        }
        Ok(Self {
            dir: args.dir.clone(),
            recorder,
            credentials: args.credentials.clone(),
            transport: args.transport,
            statuses,
            removed: BTreeMap::new(),
        })
    }

    /// Does what another process has asked for.
    pub(super) async fn serve(&mut self, request: &Request) -> Result<()> {
        match request {
            Request::Add(camera) => self.add(camera),
            Request::Remove(id) => self.remove(*id).await,
        }
    }

    fn add(&mut self, asked: &AddCamera) -> Result<()> {
        let id = StreamId(asked.id);
        let camera = Camera::new(id, &asked.name, &asked.url).map_err(Error::invalid)?;
        for (other, status) in &self.statuses {
            check_apart(id, &camera.name, *other, &status.report().name)?;
        }
        let path = asked.credentials.as_deref().or(self.credentials.as_deref());
        let login = path.map(|path| login_in(path, id)).transpose()?.flatten();
        let transport = asked.transport.unwrap_or(self.transport);
        let camera = make(&camera, login.as_ref(), transport)?;
        self.statuses.insert(id, self.recorder.add(camera)?);
        tracing::info!("camera {id} was added");
        Ok(())
    }

    async fn remove(&mut self, id: StreamId) -> Result<()> {
        let Some(status) = self.statuses.remove(&id) else {
            let text = format!("camera {id} is not recorded in {}", self.dir.display());
            let remedy = "`camring streams` lists the cameras of a volume";
            return Err(Error::new(ErrorKind::NotFound, text).with_remedy(remedy));
        };
        self.recorder.remove(id).await?;
        let all = with_earlier(status.report(), self.removed.get(&id));
        self.removed.insert(id, all);
        tracing::info!("camera {id} was removed");
        Ok(())
    }

    /// Reads the file of credentials anew. Cameras with a line in it use it from their next
    /// connection on; all others, and all of them if the file has a fault, keep what they have.
    pub(super) fn reload(&self) {
        let Some(path) = &self.credentials else {
            return;
        };
        let logins = match credentials::read(path) {
            Ok(logins) => logins,
            Err(error) => {
                tracing::error!("{error}; the cameras keep the credentials that they have");
                return;
            }
        };
        for (id, login) in &logins {
            // There is one error: nobody records it.
            if self.recorder.set_credentials(*id, login_of(login)).is_err() {
                warn_of_unused(*id);
            }
        }
        tracing::info!("the credentials were read anew");
    }

    /// How they are doing, also those that were removed.
    pub(super) fn reports(&self) -> Vec<CameraReport> {
        reports(&self.statuses, &self.removed)
    }

    /// Stops them all; returns what they have come to.
    pub(super) async fn stop(self) -> Vec<CameraReport> {
        self.recorder.stop().await;
        reports(&self.statuses, &self.removed)
    }
}

fn reports(
    statuses: &BTreeMap<StreamId, Arc<CameraStatus>>,
    removed: &BTreeMap<StreamId, CameraReport>,
) -> Vec<CameraReport> {
    let mut all = removed.clone();
    for (id, status) in statuses {
        let report = with_earlier(status.report(), removed.get(id));
        all.insert(*id, report);
    }
    all.into_values().collect()
}

/// The report of a camera, with what it had come to before it was removed and added again.
fn with_earlier(mut report: CameraReport, earlier: Option<&CameraReport>) -> CameraReport {
    if let Some(earlier) = earlier {
        report.frame_count += earlier.frame_count;
        report.byte_count += earlier.byte_count;
        report.refused_count += earlier.refused_count;
        report.lost_packet_count += earlier.lost_packet_count;
        report.failure_count += earlier.failure_count;
        report.clock_move_count += earlier.clock_move_count;
        report.last_frame_us = report.last_frame_us.or(earlier.last_frame_us);
    }
    report
}

/// Two cameras are two streams, and each can be asked for by its name.
fn check_apart(id: StreamId, name: &str, other: StreamId, other_name: &str) -> Result<()> {
    if id == other {
        let text = format!("two cameras have the ID {id}");
        return Err(Error::invalid(text).with_remedy("Each camera is a stream of its own"));
    }
    if !name.is_empty() && name == other_name {
        let text = format!("cameras {other} and {id} have the same name, {name}");
        return Err(Error::invalid(text).with_remedy("Streams are found by their names"));
    }
    Ok(())
}

fn login_in(path: &Path, id: StreamId) -> Result<Option<Credentials>> {
    Ok(credentials::read(path)?.remove(&id))
}

fn login_of(login: &Credentials) -> rtsp::Credentials {
    rtsp::Credentials::new(login.user.as_str(), login.password.reveal())
}

fn warn_of_unused(id: StreamId) {
    tracing::warn!("there are credentials for camera {id}, which is not recorded");
}

fn make(camera: &Camera, login: Option<&Credentials>, transport: Transport) -> Result<RtspCamera> {
    let transport = match transport {
        Transport::Tcp => rtsp::Transport::Tcp,
        Transport::Udp => rtsp::Transport::Udp,
    };
    let made = RtspCamera::new(camera.id, camera.name.as_str(), camera.url.as_str())?;
    let made = made.with_transport(transport);
    Ok(match login {
        Some(login) => made.with_credentials(login_of(login)),
        None => made,
    })
}
