//! `camring camera`: asks the program that records to add a camera, or to remove one.

use std::io::Write;

use anyhow::Context as _;
use camring::writer::ControlClient;
use serde::Serialize;
use serde_json::to_value;

use super::record::requests;
use crate::args::camera::{AddCamera, CameraAction, CameraChange, RemoveCamera};
use crate::error::{Exit, Outcome};

pub(super) fn run(args: &CameraChange) -> Outcome {
    let said = match &args.action {
        CameraAction::Add(args) => add(args)?,
        CameraAction::Remove(args) => remove(args)?,
    };
    writeln!(anstream::stdout().lock(), "{said}")?;
    Ok(Exit::Ok)
}

fn add(args: &AddCamera) -> anyhow::Result<String> {
    // The recorder may have another working directory.
    let credentials = args.credentials.as_deref().map(std::path::absolute);
    let id = args.camera.id.0;
    let request = requests::AddCamera {
        id,
        name: args.camera.name.clone(),
        url: args.camera.url.to_string(),
        credentials: credentials
            .transpose()
            .context("finding the file of credentials")?,
        transport: args.transport,
    };
    ask(&args.dir, requests::ADD, &request)?;
    Ok(format!(
        "Camera {id} was added. `camring timeline` shows whether it sends."
    ))
}

fn remove(args: &RemoveCamera) -> anyhow::Result<String> {
    let id = args.id;
    ask(&args.dir, requests::REMOVE, &requests::RemoveCamera { id })?;
    Ok(format!("Camera {id} was removed. What was recorded stays."))
}

fn ask(dir: &std::path::Path, name: &str, request: &impl Serialize) -> anyhow::Result<()> {
    let with = to_value(request).context("writing the request")?;
    ControlClient::connect(dir)?.request(name, with)?;
    Ok(())
}
