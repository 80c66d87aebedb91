//! How a driver itself is doing. Its stream begins with this, and has it again when it
//! changes: what the kubelet made of the driver, and which sockets it serves.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{SCHEMA, payload::clipped};

/// The longest text of a state, in bytes.
const MAX_TEXT: usize = 1024;

/// One driver's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriverState {
    /// Version of this form, [`SCHEMA`].
    pub schema: u32,
    /// The driver's name.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// What the kubelet made of it.
    pub registration: Registration,
    /// What it serves.
    pub sockets: Vec<Socket>,
}

/// What the kubelet made of a driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Registration {
    /// How far it came.
    pub state: Registered,
    /// Versions of the DRA service that the driver offers, the preferred first.
    pub offers: Vec<String>,
    /// The version that the kubelet called last; the registration itself does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub called: Option<String>,
    /// What the kubelet said when it refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How far the registration came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registered {
    /// No kubelet has said anything yet.
    #[default]
    Waiting,
    /// A kubelet took the driver in.
    Registered,
    /// A kubelet refused it.
    Refused,
}

/// A socket that a driver serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Socket {
    /// What it is for: `events`, `callback`, `dra`, `registration`.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Is it served?
    pub open: bool,
}

/// The line of a stream or a recording that holds a state.
#[derive(Serialize)]
struct Line<'a> {
    driver: &'a DriverState,
}

impl DriverState {
    /// One line of JSON, without its line feed: the state under the key `driver`.
    ///
    /// # Errors
    /// Never in practice: all of it is text.
    pub fn line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&Line { driver: self })
    }
}

/// Where the parts of a driver say how they are doing. Clones share it.
#[derive(Clone, Debug)]
pub struct OwnState(watch::Sender<DriverState>);

impl OwnState {
    /// The state of a driver that nobody has met yet.
    pub fn new(name: &str, version: &str, offers: &[&str]) -> Self {
        Self(watch::Sender::new(DriverState {
            schema: SCHEMA,
            name: name.into(),
            version: version.into(),
            registration: Registration {
                offers: offers.iter().map(|offer| (*offer).into()).collect(),
                ..Registration::default()
            },
            sockets: Vec::new(),
        }))
    }

    /// The kubelet has spoken.
    pub fn registered(&self, outcome: &Result<(), String>) {
        self.change(|state| {
            state.registration.state = match outcome {
                Ok(()) => Registered::Registered,
                Err(_) => Registered::Refused,
            };
            let error = outcome.as_ref().err();
            state.registration.error = error.map(|error| clipped(error, MAX_TEXT));
        });
    }

    /// The kubelet has called this version of the service.
    pub fn called(&self, version: &str) {
        self.change(|state| {
            if state.registration.called.as_deref() != Some(version) {
                state.registration.called = Some(version.into());
            }
        });
    }

    /// A socket is served, or is not any more.
    pub fn socket(&self, name: &str, path: &str, open: bool) {
        self.change(|state| {
            let mut known = state.sockets.iter_mut();
            match known.find(|socket| socket.name == name) {
                Some(socket) => socket.open = open,
                None => state.sockets.push(Socket {
                    name: name.into(),
                    path: clipped(path, MAX_TEXT),
                    open,
                }),
            }
        });
    }

    /// The state now, and its changes.
    pub fn subscribe(&self) -> watch::Receiver<DriverState> {
        self.0.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut DriverState)) {
        self.0.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            *state != before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_one_line_and_tells_changes_only() {
        let own = OwnState::new("dra.networking", "0.1.0", &["v1.DRAPlugin"]);
        let mut seen = own.subscribe();
        own.socket("dra", "/run/dra.sock", true);
        own.registered(&Ok(()));
        own.called("v1.DRAPlugin");
        assert!(seen.has_changed().unwrap());
        let state = seen.borrow_and_update().clone();
        insta::assert_snapshot!(state.line().unwrap(), @r#"{"driver":{"schema":1,"name":"dra.networking","version":"0.1.0","registration":{"state":"registered","offers":["v1.DRAPlugin"],"called":"v1.DRAPlugin"},"sockets":[{"name":"dra","path":"/run/dra.sock","open":true}]}}"#);
        own.called("v1.DRAPlugin");
        own.registered(&Ok(()));
        assert!(!seen.has_changed().unwrap());
        own.registered(&Err("no such version".into()));
        own.socket("dra", "/run/dra.sock", false);
        let state = seen.borrow_and_update().clone();
        assert_eq!(state.registration.state, Registered::Refused);
        assert_eq!(state.registration.error.as_deref(), Some("no such version"));
        assert!(!state.sockets[0].open);
    }
}
