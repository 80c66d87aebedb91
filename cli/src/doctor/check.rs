//! Every check, each in a file of its own and for at most its time.

mod api;
mod capabilities;
mod cdi_dir;
mod driver;
mod hook;
mod hook_mount;
mod multus;
mod netns;
mod permissions;
mod plugins;
mod pod_security;
mod record;
mod runtime;
mod sockets;

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, join_all};
use ndra_core::driver::Config;

use super::finding::{Finding, fail};

/// What a check does with a node.
type Check = BoxFuture<'static, Vec<Finding>>;

/// What every check needs to know.
#[derive(Clone)]
struct Node {
    config: Arc<Config>,
    timeout: Duration,
    /// Of the driver's pods, where it is told.
    namespace: Option<String>,
}

/// Runs all checks at the same time; their findings come in the order of the flow.
pub(super) async fn all(
    config: Config,
    timeout: Duration,
    namespace: Option<String>,
) -> Vec<Finding> {
    let node = Node {
        config: Arc::new(config),
        timeout,
        namespace,
    };
    let checks: [(&'static str, Check); 14] = [
        ("api-server", api::check(node.clone()).boxed()),
        ("permissions", permissions::check(node.clone()).boxed()),
        ("pod-security", pod_security::check(node.clone()).boxed()),
        ("driver", driver::check(node.clone()).boxed()),
        ("sockets", sockets::check(node.clone()).boxed()),
        ("record", blocking("record", &node, record::check)),
        ("cdi-dir", blocking("cdi-dir", &node, cdi_dir::check)),
        ("runtime", runtime::check(node.clone()).boxed()),
        ("hook", hook::check(node.clone()).boxed()),
        (
            "hook-mount",
            blocking("hook-mount", &node, hook_mount::check),
        ),
        ("netns", blocking("netns", &node, netns::check)),
        (
            "capabilities",
            blocking("capabilities", &node, capabilities::check),
        ),
        ("multus", multus::check(node.clone()).boxed()),
        (
            "cni-plugins",
            blocking("cni-plugins", &node, plugins::check),
        ),
    ];
    let bounded = checks.map(|(name, check)| async move {
        let outcome = tokio::time::timeout(timeout, check).await;
        outcome.unwrap_or_else(|_| vec![timed_out(name, timeout)])
    });
    join_all(bounded).await.concat()
}

/// A check that asks the file system, which may never answer: on a thread of its own.
fn blocking(name: &'static str, node: &Node, look: fn(&Config) -> Vec<Finding>) -> Check {
    let config = node.config.clone();
    async move {
        let looked = tokio::task::spawn_blocking(move || look(&config)).await;
        looked.unwrap_or_else(|error| vec![fail(name, error.to_string(), "report this")])
    }
    .boxed()
}

fn timed_out(name: &'static str, timeout: Duration) -> Finding {
    fail(
        name,
        format!("no answer within {timeout:?}"),
        "whoever should answer hangs: look at its log and at the node's load; --timeout gives \
         it longer",
    )
}
