//! What to record: a camera's address, login and transport.
//!
//! Secrets never leave this module but to retina: not in an error, not in a log, not in `Debug`.

use std::fmt;

use url::Url;
use zeroize::Zeroizing;

use crate::base::error::{Error, Result};
use crate::frame::StreamId;
use crate::frame::setup::MAX_NAME_LEN;

/// Names of URL parameters that plainly hold a login, in lower case.
const LOGIN_PARAMETERS: [&str; 20] = [
    "user",
    "usr",
    "username",
    "userid",
    "login",
    "pw",
    "pwd",
    "psw",
    "pass",
    "passwd",
    "password",
    "passphrase",
    "token",
    "access_token",
    "auth",
    "authorization",
    "credentials",
    "apikey",
    "api_key",
    "secret",
];

/// The name of the first parameter of `url` that plainly holds a login: `user`, `password`, `token`
/// and the like, in capitals or not. The path is not looked at.
pub fn login_parameter(url: &Url) -> Option<&'static str> {
    url.query_pairs().find_map(|(name, _)| {
        let is_it = |known: &&&str| name.eq_ignore_ascii_case(known);
        LOGIN_PARAMETERS.iter().find(is_it).copied()
    })
}

/// A user name and a password. The password is wiped from memory when it is dropped; the copy that
/// retina keeps while it is connected is not.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: Zeroizing<String>,
}

impl Credentials {
    /// A login.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            password: Zeroizing::new(password.into()),
        }
    }

    pub(super) fn to_retina(&self) -> retina::client::Credentials {
        retina::client::Credentials {
            username: self.user.clone(),
            password: self.password.to_string(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// How the camera's packets travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Within the RTSP connection: nothing is lost or reordered on the way.
    #[default]
    Tcp,
    /// By UDP. Lost packets are lost frames.
    Udp,
}

/// A camera to record.
#[derive(Clone)]
pub struct RtspCamera {
    stream: StreamId,
    name: String,
    url: Url,
    credentials: Option<Credentials>,
    transport: Transport,
}

impl RtspCamera {
    /// A camera at `url` (`rtsp://host[:port]/path`), recorded as `stream` under the name `name`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the URL is not one of RTSP, or holds a user name or
    /// password before its host or as a parameter ([`login_parameter`]), or if the name is longer than 255 bytes. The message holds no part of the URL.
    pub fn new(stream: StreamId, name: impl Into<String>, url: &str) -> Result<Self> {
        let name = name.into();
        if name.len() > MAX_NAME_LEN {
            let message = format!("the name of camera {stream} has {} bytes", name.len());
            return Err(Error::invalid(message).with_remedy("At most 255 are allowed"));
        }
        let refuse = |what: &str| Error::invalid(format!("the URL of camera {stream} {what}"));
        let url = Url::parse(url).map_err(|e| refuse("cannot be read").with_source(e))?;
        if url.scheme() != "rtsp" {
            return Err(refuse("does not begin with rtsp://")
                .with_remedy("Encrypted RTSP (rtsps) is not supported"));
        }
        if !url.has_host() {
            return Err(refuse("names no host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("must not hold a user name or a password")
                .with_remedy("Give the credentials on their own: URLs end up in logs"));
        }
        if let Some(parameter) = login_parameter(&url) {
            return Err(refuse(&format!(
                "must not hold a login, as its parameter {parameter}"
            ))
            .with_remedy("Give the credentials on their own: URLs end up in logs"));
        }
        Ok(Self {
            stream,
            name,
            url,
            credentials: None,
            transport: Transport::default(),
        })
    }

    /// The camera asks for this login.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// The camera asks for this login from now on. Returns whether it is another one.
    pub(super) fn set_credentials(&mut self, credentials: Credentials) -> bool {
        let credentials = Some(credentials);
        let is_other = self.credentials != credentials;
        self.credentials = credentials;
        is_other
    }

    /// The camera sends by this transport.
    #[must_use]
    pub fn with_transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// The stream that the camera is recorded as.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// The name that people gave the camera.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its packets travel.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// `text` without what may be secret: some cameras take the password in the path or query.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        let mut text = text.replace(self.url.as_str(), &self.place());
        if let Some(query) = self.url.query().filter(|query| !query.is_empty()) {
            text = text.replace(query, "..");
        }
        if let Some(login) = self
            .credentials()
            .filter(|login| !login.password.is_empty())
        {
            text = text.replace(login.password.as_str(), "..");
        }
        text
    }

    /// The URL without path and query.
    pub(super) fn place(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port() {
            Some(port) => format!("rtsp://{host}:{port}/.."),
            None => format!("rtsp://{host}/.."),
        }
    }
}

impl fmt::Debug for RtspCamera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtspCamera")
            .field("stream", &self.stream)
            .field("name", &self.name)
            .field("url", &self.place())
            .field("credentials", &self.credentials)
            .field("transport", &self.transport)
            .finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        RtspCamera::new(StreamId(4), "door", url)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_url_with_a_password_is_refused_without_repeating_it() {
        for url in [
            "rtsp://admin:hunter2@10.0.0.4/live",
            "rtsp://hunter2@10.0.0.4/live",
        ] {
            let text = refused(url);
            assert!(
                text.contains("camera 4 must not hold a user name or a password"),
                "{text}"
            );
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_login_among_the_parameters_is_refused_without_repeating_it() {
        for query in [
            "channel=1&PassWord=hunter2",
            "user=hunter2",
            "p%61ss=hunter2",
        ] {
            let text = refused(&format!("rtsp://10.0.0.4/live?{query}"));
            assert!(text.contains("must not hold a login"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        let url = "rtsp://10.0.0.4/live?channel=1&subtype=0&userdata=1";
        assert!(RtspCamera::new(StreamId(4), "door", url).is_ok());
    }

    #[test]
    fn other_urls_are_refused() {
        assert!(refused("http://10.0.0.4/live").contains("rtsp://"));
        assert!(refused("rtsps://10.0.0.4/live").contains("not supported"));
        assert!(refused("rtsp:/live").contains("names no host"));
        assert!(refused("hunter2").contains("cannot be read"));
        assert!(RtspCamera::new(StreamId(1), "n".repeat(256), "rtsp://a/").is_err());
    }

    #[test]
    fn nothing_that_can_be_printed_holds_a_secret() {
        let camera = RtspCamera::new(StreamId(4), "door", "rtsp://h:8554/p=hunter2?k=hunter3")
            .unwrap()
            .with_credentials(Credentials::new("admin", "hunter4"));
        let printed = format!("{camera:?} {:#?}", camera.credentials());
        assert!(printed.contains("rtsp://h:8554/.."), "{printed}");
        let said = camera.without_secrets(
            "404 for rtsp://h:8554/p=hunter2?k=hunter3 (k=hunter3), login hunter4",
        );
        assert_eq!(said, "404 for rtsp://h:8554/.. (..), login ..");
        assert!(!printed.contains("hunter"), "{printed}");
    }
}
