//! What runs behind the daemon: played plugins or real ones, with errors in libcni's words.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ndra_core::cni::{CniResult, Command, ConfigList, ExecError, Executor, Invocation, is_name};
use tokio::time::Instant;

use crate::record::{Netns, Record, RecordFailure, describe};

/// The daemon waits for a plugin as long as it takes; here there is an end.
const PLUGIN_DEADLINE: Duration = Duration::from_secs(120);

pub(crate) enum Plugins {
    Record(Record),
    Exec {
        executor: Executor,
        /// Interfaces made here, for where the kernel cannot be asked.
        made: Mutex<Vec<(Netns, String)>>,
    },
}

/// A configuration list, or one plugin's configuration, whose errors are shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    List,
    Single,
}

impl Plugins {
    pub(crate) fn exec(executor: Executor) -> Self {
        Self::Exec {
            executor,
            made: Mutex::default(),
        }
    }

    /// Whether the namespace has an interface of this name, or why that cannot be told.
    pub(crate) fn has_interface(&self, netns: &str, name: &str) -> Result<bool, String> {
        match self {
            Self::Record(record) => record.has_interface(Path::new(netns), name),
            Self::Exec { made, .. } => {
                let path = netns;
                let netns = Netns::open(path)?;
                // A file is no namespace, and another's may not be entered.
                if let Ok(found) = ndra_netns::has_interface(Path::new(path), name) {
                    return Ok(found);
                }
                let made = made.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(name == "lo" || made.iter().any(|(ns, n)| *ns == netns && n == name))
            }
        }
    }

    pub(crate) async fn add(
        &self,
        network: &ConfigList,
        form: Form,
        invocation: &Invocation,
    ) -> Result<CniResult, String> {
        match self {
            Self::Record(record) => aside(record, network, invocation, Record::add)
                .await
                .map_err(|error| recorded(&error, form)),
            Self::Exec { executor, made } => {
                named(network).map_err(|text| on_purpose(network, form, Command::Add, &text))?;
                let deadline = Instant::now() + PLUGIN_DEADLINE;
                let result = executor
                    .add(network, invocation, deadline)
                    .await
                    .map_err(|error| executed(&error, form))?;
                if let Some(netns) = opened(invocation) {
                    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
                    made.push((netns, invocation.if_name.clone()));
                }
                Ok(result)
            }
        }
    }

    pub(crate) async fn check(
        &self,
        network: &ConfigList,
        form: Form,
        invocation: &Invocation,
    ) -> Result<(), String> {
        match self {
            Self::Record(record) => aside(record, network, invocation, Record::check)
                .await
                .map_err(|error| recorded(&error, form)),
            Self::Exec { executor, .. } => {
                let deadline = Instant::now() + PLUGIN_DEADLINE;
                let checked = executor.check(network, invocation, deadline).await;
                checked.map_err(|error| executed(&error, form))
            }
        }
    }

    pub(crate) async fn del(
        &self,
        network: &ConfigList,
        form: Form,
        invocation: &Invocation,
    ) -> Result<(), String> {
        match self {
            Self::Record(record) => aside(record, network, invocation, Record::del)
                .await
                .map_err(|error| recorded(&error, form)),
            Self::Exec { executor, made } => {
                let deadline = Instant::now() + PLUGIN_DEADLINE;
                executor
                    .del(network, invocation, None, deadline)
                    .await
                    .map_err(|error| executed(&error, form))?;
                let netns = opened(invocation);
                let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
                made.retain(|(ns, n)| Some(ns) != netns.as_ref() || *n != invocation.if_name);
                Ok(())
            }
        }
    }
}

/// Off the threads that serve: where the kernel makes links, it takes milliseconds.
async fn aside<T: Send + 'static>(
    record: &Record,
    network: &ConfigList,
    invocation: &Invocation,
    run: impl FnOnce(&Record, &ConfigList, &Invocation) -> Result<T, RecordFailure> + Send + 'static,
) -> Result<T, RecordFailure> {
    let (record, network, invocation) = (record.clone(), network.clone(), invocation.clone());
    let ran = tokio::task::spawn_blocking(move || run(&record, &network, &invocation));
    ran.await
        .unwrap_or_else(|error| Err(RecordFailure::Libcni(format!("the plugin ended: {error}"))))
}

/// libcni's words for a name that our executor refuses as well.
fn named(network: &ConfigList) -> Result<(), String> {
    let name = &network.name;
    match name.is_empty() {
        _ if is_name(name) => Ok(()),
        true => Err("missing network name:".into()),
        false => Err(format!("invalid characters found in network name; {name}")),
    }
}

fn opened(invocation: &Invocation) -> Option<Netns> {
    let path = invocation.netns.as_deref()?.to_string_lossy();
    Netns::open(&path).ok()
}

/// A failure on purpose, as the first plugin's error would read.
pub(crate) fn on_purpose(network: &ConfigList, form: Form, command: Command, text: &str) -> String {
    match (form, network.plugins.first()) {
        (Form::List, Some(plugin)) => failed(&describe(plugin), command, text),
        _ => text.to_owned(),
    }
}

fn failed(plugin: &str, command: Command, text: &str) -> String {
    match command {
        Command::Add => format!("plugin {plugin} failed (add): {text}"),
        Command::Check => text.to_owned(),
        Command::Del => format!("plugin {plugin} failed (delete): {text}"),
    }
}

fn recorded(error: &RecordFailure, form: Form) -> String {
    match (error, form) {
        (RecordFailure::Plugin(failure), Form::Single) => failure.error.to_string(),
        _ => error.to_string(),
    }
}

/// libcni's words for what our executor found; its own where libcni has none.
fn executed(error: &ExecError, form: Form) -> String {
    let (call, text) = match error {
        ExecError::Plugin { call, error } => (call, error.to_string()),
        ExecError::NotFound { call, path } => {
            let path: Vec<String> = path.iter().map(|p| p.display().to_string()).collect();
            let path = path.join(" ");
            let text = format!("failed to find plugin {:?} in path [{path}]", call.plugin);
            (call, text)
        }
        ExecError::Crashed {
            call,
            status,
            output,
        } => {
            // Go says `exit status 1`, Rust `exit status: 1`.
            let status = status.replacen(": ", " ", 1);
            let text = if output.is_empty() {
                format!("netplugin failed with no error message: {status}")
            } else {
                format!("netplugin failed: {output:?}: {status}")
            };
            (call, text)
        }
        other => return other.to_string(),
    };
    match form {
        Form::List => failed(&format!("type={:?}", call.plugin), call.command, &text),
        Form::Single => text,
    }
}
