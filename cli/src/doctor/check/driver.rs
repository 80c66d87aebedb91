//! Does a driver run here, did the kubelet take it in, and is it of this version?

use ndra_core::event::{DriverState, Registered};
use ndra_core::socket;
use ndra_core::wire::events::WatchRequest;
use ndra_core::wire::events::events_client::EventsClient;

use super::Node;
use crate::doctor::finding::{Finding, fail, ok, warn};

pub(super) async fn check(node: Node) -> Vec<Finding> {
    let config = &node.config;
    let registry = &config.registry_dir;
    let dir = registry.clone();
    let there = tokio::task::spawn_blocking(move || dir.is_dir()).await;
    let mut found = match state(&node).await {
        Ok(state) => judge(&state, &config.driver_name, env!("CARGO_PKG_VERSION")),
        Err(why) => vec![fail(
            "driver",
            why,
            "start the driver; its pod's log says why it does not run",
        )],
    };
    if !there.unwrap_or(false) {
        found.retain(|found| found.check != "kubelet");
        found.push(fail(
            "kubelet",
            format!("{} is not a directory", registry.display()),
            "name where this kubelet looks for plugins: --registry-dir (the chart's \
             hostPaths.kubeletRegistry), below the kubelet's --root-dir",
        ));
    }
    found
}

/// How the driver says it is doing: the first of its stream.
async fn state(node: &Node) -> Result<DriverState, String> {
    let path = &node.config.events_socket;
    let channel = socket::connect(path, "the driver")
        .await
        .map_err(|error| error.to_string())?;
    let request = WatchRequest {
        past_only: true,
        ..WatchRequest::default()
    };
    let unexpected = |why: String| format!("{} is not a driver's: {why}", path.display());
    let mut stream = EventsClient::new(channel)
        .watch(request)
        .await
        .map_err(|status| unexpected(socket::status_text(&status)))?
        .into_inner();
    let first = stream
        .message()
        .await
        .map_err(|status| unexpected(socket::status_text(&status)))?;
    let state = first.map(|first| first.driver).unwrap_or_default();
    let line: Line =
        serde_json::from_slice(&state).map_err(|error| unexpected(error.to_string()))?;
    Ok(line.driver)
}

/// As the stream has a state.
#[derive(serde::Deserialize)]
struct Line {
    driver: DriverState,
}

fn judge(state: &DriverState, driver: &str, ours: &str) -> Vec<Finding> {
    let runs = if state.name != driver {
        fail(
            "driver",
            format!("the driver here is {}, not {driver}", state.name),
            "say which is meant: -- --driver-name NAME and its sockets",
        )
    } else if state.version == ours {
        ok("driver", format!("{} {ours} runs", state.name))
    } else {
        warn(
            "driver",
            format!(
                "{} {} runs, this program is {ours}",
                state.name, state.version
            ),
            "ask the doctor of the driver's own release, or finish the upgrade",
        )
    };
    let registration = &state.registration;
    let offers = registration.offers.join(", ");
    let kubelet = match registration.state {
        Registered::Registered => {
            let version = registration.called.as_deref().unwrap_or(&offers);
            ok(
                "kubelet",
                format!("it has registered the driver ({version})"),
            )
        }
        Registered::Waiting => fail(
            "kubelet",
            "it has not registered the driver",
            "let the driver's sockets be where the kubelet looks: --registry-dir and \
             --plugin-dir (the chart's hostPaths.kubeletRegistry, hostPaths.kubeletPlugins)",
        ),
        Registered::Refused => fail(
            "kubelet",
            format!(
                "it refuses the driver: {}",
                registration.error.as_deref().unwrap_or("without a reason")
            ),
            format!("the driver offers {offers}: see --kubelet-api, and the kubelet's log"),
        ),
    };
    vec![runs, kubelet]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(change: impl FnOnce(&mut DriverState)) -> String {
        let mut state = DriverState {
            name: "d.example".into(),
            version: "1.0".into(),
            ..DriverState::default()
        };
        state.registration.state = Registered::Registered;
        state.registration.offers = vec!["v1.DRAPlugin".into(), "v1beta1.DRAPlugin".into()];
        change(&mut state);
        let found = judge(&state, "d.example", "1.0");
        let line = |found: &Finding| format!("{:?} {}: {}", found.level, found.check, found.says);
        found.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_the_driver_says_of_itself_is_judged() {
        let all = [
            words(|_| ()),
            words(|state| state.registration.called = Some("v1.DRAPlugin".into())),
            words(|state| state.version = "0.9".into()),
            words(|state| state.name = "other".into()),
            words(|state| state.registration.state = Registered::Waiting),
            words(|state| {
                state.registration.state = Registered::Refused;
                state.registration.error = Some("no such version".into());
            }),
        ];
        insta::assert_snapshot!(all.join("\n\n"), @r"
        Ok driver: d.example 1.0 runs
        Ok kubelet: it has registered the driver (v1.DRAPlugin, v1beta1.DRAPlugin)

        Ok driver: d.example 1.0 runs
        Ok kubelet: it has registered the driver (v1.DRAPlugin)

        Warn driver: d.example 0.9 runs, this program is 1.0
        Ok kubelet: it has registered the driver (v1.DRAPlugin, v1beta1.DRAPlugin)

        Fail driver: the driver here is other, not d.example
        Ok kubelet: it has registered the driver (v1.DRAPlugin, v1beta1.DRAPlugin)

        Ok driver: d.example 1.0 runs
        Fail kubelet: it has not registered the driver

        Ok driver: d.example 1.0 runs
        Fail kubelet: it refuses the driver: no such version
        ");
    }
}
