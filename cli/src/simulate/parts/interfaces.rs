//! The interfaces of a run's node: in the kernel, or declared in a file.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ndra_core::devices::Interface;
use ndra_netns::{Links, UPLINK, here};

use super::super::workdir::WorkDir;
use crate::scenario::LinkState;

/// The other end of an interface that the kernel has.
pub(super) fn peer(name: &str) -> String {
    format!("{name}p")
}

/// Links that the run made on its node; they go with it, for a node may be a real one.
#[derive(Default)]
struct Made(Vec<String>);

impl Drop for Made {
    fn drop(&mut self) {
        let names = std::mem::take(&mut self.0);
        let gone = here(move || {
            let links = Links::open()?;
            for name in &names {
                if links.find(name)?.is_some() {
                    links.delete(name)?;
                }
            }
            Ok(())
        });
        if let Err(error) = gone {
            eprintln!("an interface of the run stays on the node: {error}");
        }
    }
}

/// The node's interfaces. Clones share them.
#[derive(Clone)]
pub(super) struct NodeInterfaces {
    /// Without those that are gone for the moment.
    there: Arc<Mutex<Vec<Interface>>>,
    more: Vec<String>,
    /// Where they are declared; `None` where the kernel has them.
    file: Option<PathBuf>,
    /// Held, not read.
    _made: Arc<Made>,
}

impl NodeInterfaces {
    /// A node with its uplink and `more`. In the kernel the uplink is there already.
    pub(super) fn make(real: bool, work: &WorkDir, more: &[String]) -> Result<Self, String> {
        let interface = |(number, name): (usize, &str)| Interface {
            name: name.to_owned(),
            mac: Some(format!("02:00:00:00:01:{number:02x}")),
            mtu: 1500,
            state: "up".into(),
            speed: Some(10_000),
            default_route: name == UPLINK,
            ..Interface::default()
        };
        let mut links = Made::default();
        if real {
            for name in more {
                // Somebody else's would be changed, and removed at the end.
                let there = here(|| Links::open()?.find(name));
                match there.map_err(|error| format!("{name} cannot be looked for: {error}"))? {
                    Some(_) => {
                        return Err(format!(
                            "the node has an interface {name} already, and the run would make \
                             one: name another"
                        ));
                    }
                    None => links.0.push(name.clone()),
                }
            }
        }
        let names = std::iter::once(UPLINK).chain(more.iter().map(String::as_str));
        let made = Self {
            there: Arc::new(Mutex::new(names.enumerate().map(interface).collect())),
            more: more.to_vec(),
            file: (!real).then(|| work.at("interfaces.json")),
            _made: Arc::new(links),
        };
        if real {
            for name in more {
                made.set(name, LinkState::Up)?;
            }
        } else {
            made.declare()?;
        }
        Ok(made)
    }

    pub(super) fn names(&self) -> Vec<String> {
        let there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        there.iter().map(|one| one.name.clone()).collect()
    }

    pub(super) fn flags(&self) -> Vec<String> {
        let named = self.more.iter().map(String::as_str);
        // Of a kind that is not offered unless it is named; then the uplink is, too.
        let named = std::iter::once(UPLINK).chain(named);
        let mut flags: Vec<String> = match self.more.is_empty() {
            true => Vec::new(),
            false => named
                .map(|name| format!("--include-interface={name}"))
                .collect(),
        };
        if let Some(file) = &self.file {
            flags.push(format!("--interfaces-file={}", file.display()));
        }
        flags
    }

    pub(super) fn set(&self, name: &str, state: LinkState) -> Result<(), String> {
        if !self.more.iter().any(|one| one == name) {
            return Err(format!(
                "{name} is none of the scenario's interfaces; name it under `interfaces`"
            ));
        }
        if self.file.is_none() {
            let done = here(|| {
                let links = Links::open()?;
                let there = links.find(name)?.is_some();
                match (state, there) {
                    (LinkState::Up, false) => {
                        // A cable whose other end is nobody's.
                        links.add_veth(name, &peer(name))?;
                        links.up(&peer(name))?;
                        links.up(name)
                    }
                    (LinkState::Up, true) => links.up(name),
                    (LinkState::Down, _) => links.down(name),
                    (LinkState::Gone, _) => links.delete(name),
                }
            });
            done.map_err(|error| format!("{name} cannot be changed: {error}"))?;
        }
        let mut there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        let like = there.first().cloned().unwrap_or_default();
        there.retain(|one| one.name != name || state != LinkState::Gone);
        if state == LinkState::Gone {
            drop(there);
            return self.declare();
        }
        if there.iter().all(|one| one.name != name) {
            there.push(Interface {
                name: name.to_owned(),
                default_route: false,
                ..like
            });
        }
        for one in there.iter_mut().filter(|one| one.name == name) {
            let up = state == LinkState::Up;
            one.state = if up { "up" } else { "down" }.to_owned();
        }
        drop(there);
        self.declare()
    }

    /// Under another name first, so that nobody reads half of it.
    fn declare(&self) -> Result<(), String> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        let list = serde_json::to_vec(&*there).map_err(|error| error.to_string())?;
        let next = file.with_extension("next");
        let written = std::fs::write(&next, list).and_then(|()| std::fs::rename(&next, file));
        written.map_err(|error| format!("cannot write {}: {error}", file.display()))
    }
}
