//! What a failure means and what to do next: a table of known kinds.

use ndra_core::event::Step;

/// A kind of failure, in words for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// A few words, for lists.
    pub title: &'static str,
    /// What it means.
    pub means: &'static str,
    /// What to do next.
    pub next: &'static str,
    /// All of these are in the text of the error.
    signs: &'static [&'static str],
}

const fn known(
    signs: &'static [&'static str],
    title: &'static str,
    means: &'static str,
    next: &'static str,
) -> Failure {
    Failure {
        title,
        means,
        next,
        signs,
    }
}

/// Index of the kind of a failure of `step` with this text.
pub(crate) fn classify(step: Step, error: &str) -> u8 {
    let found = KNOWN
        .iter()
        .position(|kind| kind.signs.iter().all(|sign| error.contains(sign)));
    let index = found.unwrap_or(KNOWN.len() + step as usize);
    u8::try_from(index).unwrap_or(u8::MAX)
}

/// The kind with this index.
pub(crate) fn kind(index: u8) -> &'static Failure {
    let index = usize::from(index);
    KNOWN
        .get(index)
        .or_else(|| OF_STEP.get(index - KNOWN.len().min(index)))
        .unwrap_or(&OF_STEP[0])
}

/// The kind of a failure of `step` with this text.
pub fn explain(step: Step, error: &str) -> &'static Failure {
    kind(classify(step, error))
}

/// How many kinds there are.
pub(crate) const KINDS: usize = KNOWN.len() + OF_STEP.len();

/// Kinds told by their text. The more special comes first.
static KNOWN: [Failure; 43] = [
    known(
        &["is in use by pod"],
        "claim in use by another pod",
        "A claim's interface belongs to one pod, and another pod has it.",
        "Give each pod its own claim, for instance by a ResourceClaimTemplate.",
    ),
    known(
        &["is not reserved for pod"],
        "claim reserved for others",
        "The pod's container asks for a device of a claim that is not reserved for the pod.",
        "See `status.reservedFor` of the claim and `resourceClaims` of the pod.",
    ),
    known(
        &["is not prepared on this node"],
        "claim not prepared here",
        "The runtime still knew the claim's CDI device, but the driver has no record of it.",
        "Delete the pod, so that the kubelet prepares the claim again.",
    ),
    known(
        &["runs in the host's network"],
        "pod in the host's network",
        "The pod has no network namespace of its own to put an interface into.",
        "Remove `hostNetwork: true` or the claim from the pod.",
    ),
    known(
        &["no IP addresses available"],
        "address range used up",
        "The IPAM plugin has no free address left in the range of the configuration.",
        "Widen the range, end pods that hold its addresses, or look for leaked ones in /var/lib/cni/networks.",
    ),
    known(
        &["file exists"],
        "interface left behind",
        "A link of that name is already in the pod: the debris of an attempt that failed half-way.",
        "The driver sends DEL before the next try. If it stays, look for a second owner of the name.",
    ),
    known(
        &["could not be removed"],
        "earlier attempt not cleared",
        "What an earlier attempt left in the pod could not be deleted, so no new one is made.",
        "See the error of step 11 (cni-del) and mend that first.",
    ),
    known(
        &["Link not found"],
        "uplink missing",
        "The interface that the configuration names as `master` is not on this node.",
        "Compare `master` of the claim's configuration with `ip link` on the node.",
    ),
    known(
        &["failed to find plugin"],
        "CNI plugin not installed",
        "The configuration names a plugin that is not in the CNI directory of the node.",
        "Install the CNI plugins into /opt/cni/bin on this node, or correct `type`.",
    ),
    known(
        &["not found in", "--cni-path"],
        "CNI plugin not installed",
        "The plugin is in none of the directories that the driver searches.",
        "Install it there, or name its directory in --cni-path.",
    ),
    known(
        &["unknown macvlan mode"],
        "bad macvlan mode",
        "The plugin does not know the mode in the claim's configuration.",
        "Use bridge, private, vepa or passthru.",
    ),
    known(
        &["incompatible CNI versions"],
        "CNI version not supported",
        "The plugin on this node does not speak the configuration's `cniVersion`.",
        "Lower `cniVersion` to one that the error lists, or install newer plugins.",
    ),
    known(
        &["interface name is too long"],
        "interface name too long",
        "Linux allows 15 bytes for the name of an interface.",
        "Shorten `ifName` in the claim's parameters.",
    ),
    known(
        &["failed to open netns"],
        "network namespace gone",
        "The sandbox ended while its interface was made or released.",
        "Nothing: the kubelet makes a new sandbox. If it repeats, see why the sandbox dies.",
    ),
    known(
        &["CIDR notation"],
        "bad static address",
        "An address in the configuration is not one, or has no prefix length.",
        "Write it as 10.1.1.5/24.",
    ),
    known(
        &["gave no answer to", "in time"],
        "Multus too slow",
        "The Multus daemon took the call and did not answer before the deadline.",
        "See the log of the Multus daemon on this node, and whether the API server answers it.",
    ),
    known(
        &["cannot reach", "ultus"],
        "Multus away",
        "Nobody listens on the socket of the Multus daemon.",
        "See whether the thick Multus DaemonSet has a running pod on this node, and its socket directory.",
    ),
    known(
        &["Multus refused", "not found"],
        "Multus cannot find the pod",
        "Multus reads the Pod from the API server before it acts, and the pod is gone or has another UID.",
        "On ADD: the pod was deleted meanwhile. On DEL: the driver runs the plugin itself, from --cni-path.",
    ),
    known(
        &["did not answer on", "is the ndra driver running"],
        "driver away",
        "The hook reached nobody on the driver's socket until its deadline.",
        "See the driver's pod on this node. The kubelet tries the container again.",
    ),
    known(
        &["took the connection but did not answer"],
        "driver too slow",
        "The driver took the hook's call and did not finish it in time.",
        "See which step inside (6, 7 or 8) took the time.",
    ),
    known(
        &["hook ran past specified timeout"],
        "hook killed by the runtime",
        "The hook ran longer than the `timeout` in the CDI spec.",
        "See what the driver waited for. The time-outs of hook and driver must nest.",
    ),
    known(
        &["timeout expired for"],
        "hook killed by the runtime",
        "The hook ran longer than the `timeout` in the CDI spec.",
        "See what the driver waited for. The time-outs of hook and driver must nest.",
    ),
    known(
        &["fork/exec", "no such file"],
        "hook program missing",
        "The CDI spec names a hook that is not on the host.",
        "See whether the driver's DaemonSet installed ndra-hook under the path in the CDI spec.",
    ),
    known(
        &["unresolvable CDI devices"],
        "CDI device unknown to the runtime",
        "The runtime found no CDI spec with the claim's device.",
        "Compare the runtime's `cdi_spec_dirs` with the path in step 2, and see that CDI is enabled.",
    ),
    known(
        &["knows no sandbox"],
        "sandbox gone",
        "The sandbox was removed while the container started.",
        "Nothing: the kubelet makes a new one.",
    ),
    known(
        &["is not ready: its pod is being stopped"],
        "sandbox stopping",
        "The pod was being stopped or restarted when its container asked for the interface.",
        "Nothing: the next sandbox gets it.",
    ),
    known(
        &["PodSandboxStatus of"],
        "runtime's status unusable",
        "The runtime did not tell where the sandbox's network namespace is.",
        "See that the driver's --cri-socket is the runtime that runs the pod, and the runtime's log.",
    ),
    known(
        &["verbose status of sandbox"],
        "runtime's status unusable",
        "The runtime answered without the network namespace that the driver looks for.",
        "See the sandbox with `crictl inspectp`, and report the runtime's version.",
    ),
    known(
        &["cannot reach", "containerd"],
        "runtime away",
        "Nobody listens on the CRI socket that the driver was given.",
        "See whether the runtime is running and where its socket is.",
    ),
    known(
        &["OCI state"],
        "bad OCI state",
        "The hook was not given the state that an OCI runtime gives.",
        "See who ran the hook: a container made by hand, or annotations that imitate the runtime's.",
    ),
    known(
        &["the CDI spec"],
        "CDI spec not written",
        "The driver could not change its file in the CDI directory.",
        "See that the directory is mounted into the driver, writable, and has room.",
    ),
    known(
        &["the claim is not allocated"],
        "claim not allocated",
        "No scheduler has placed a pod with this claim yet.",
        "See `kubectl describe pod` for why it could not.",
    ),
    known(
        &["allocated to another driver"],
        "another driver's claim",
        "The claim's devices belong to another DRA driver.",
        "Let the request name a DeviceClass whose devices this driver publishes.",
    ),
    known(
        &["allocated on another node"],
        "another node's device",
        "The claim was allocated on a device of another node.",
        "Delete the pod, so that it is scheduled again with its claim.",
    ),
    known(
        &["was deleted and made anew"],
        "claim made anew",
        "The claim has the name but not the UID that the kubelet asks for.",
        "Delete the pod, so that a new one uses the new claim.",
    ),
    known(
        &["ifName", "another ifName"],
        "interface name taken",
        "Two claims of one pod ask for the same interface name.",
        "Give one of them another `ifName`, or leave it out.",
    ),
    known(
        &["is not allowed on this node"],
        "plugin type not allowed",
        "The administrator did not allow this CNI plugin in claims.",
        "Use an allowed type, or add it with --allow-cni-type.",
    ),
    known(
        &["ResourceClaim", "not found"],
        "claim gone",
        "The kubelet asks for a claim that the API server does not have any more.",
        "See whether somebody deleted it. If the pod is gone too, nothing is left to do.",
    ),
    known(
        &["may not"],
        "not permitted",
        "The API server refused the driver's service account.",
        "Add the verb that the error names to the driver's ClusterRole.",
    ),
    known(
        &["not read within"],
        "API server away",
        "The API server did not answer before the kubelet's deadline.",
        "See whether it is up and reachable from this node.",
    ),
    known(
        &["unprepared before its status was written"],
        "status too late",
        "The claim ended before its status could be written. Nobody misses it.",
        "Nothing, unless it is frequent: then see why the API server is slow.",
    ),
    known(
        &["the record "],
        "driver's record unusable",
        "The driver cannot write or read the file in which it keeps what is attached.",
        "See the state directory: room, permissions, a second driver that uses it.",
    ),
    known(
        &["given up before it ended"],
        "cancelled",
        "Whoever did this stopped before it was done: a deadline, or the driver's end.",
        "See whether the driver was restarted. The caller tries again.",
    ),
];

/// Kinds told by the step alone, when the text is not known.
static OF_STEP: [Failure; Step::ALL.len()] = [
    known(
        &[],
        "prepare refused",
        "The driver did not accept the claim. The pod stays in ContainerCreating.",
        "Mend what the error names in the claim or its DeviceClass. The kubelet asks again.",
    ),
    known(
        &[],
        "CDI spec not written",
        "The driver could not write the claim's CDI spec.",
        "See the CDI directory on the node: mounted, writable, with room.",
    ),
    known(
        &[],
        "reply refused",
        "The kubelet did not get a usable answer to prepare.",
        "See the kubelet's log, and whether driver and kubelet speak one version.",
    ),
    known(
        &[],
        "container not made",
        "The runtime refused to create or start the container.",
        "See steps 5 to 8 for a cause inside. Without one, the runtime itself refused: see its log.",
    ),
    known(
        &[],
        "hook failed",
        "The createRuntime hook ended with an error, so the container does not start.",
        "See step 6 for the driver's side. Under crun the hook's own words are lost.",
    ),
    known(
        &[],
        "attach failed",
        "The driver answered the hook's call with an error.",
        "See steps 7 and 8 for the cause inside.",
    ),
    known(
        &[],
        "sandbox not found",
        "The driver could not learn the pod's network namespace from the runtime.",
        "See the runtime's log, and the driver's --cri-socket.",
    ),
    known(
        &[],
        "CNI ADD failed",
        "The plugin could not make the interface. DEL follows, then the next try.",
        "Read the plugin's words above, and the configuration in this step's request.",
    ),
    known(
        &[],
        "status not written",
        "The interface is there, but `status.devices` of the claim does not say so.",
        "See the API server's answer above. The pod itself is not affected.",
    ),
    known(
        &[],
        "unprepare failed",
        "The claim could not be undone. The kubelet asks again until it can.",
        "See steps 11 and 12 for the cause inside.",
    ),
    known(
        &[],
        "CNI DEL failed",
        "The plugin could not release the interface. After some tries it becomes an orphan, tried again later.",
        "See the plugin's words above. The address stays taken until a DEL goes well.",
    ),
    known(
        &[],
        "CDI spec not removed",
        "The driver could not remove the claim's CDI spec.",
        "See the CDI directory on the node: mounted and writable.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words_are_known_and_the_rest_goes_by_step() {
        let text = "Multus refused ADD of net1: failed to allocate for range 0: no IP addresses \
                    available in range set: 10.10.1.1-10.10.1.2";
        assert_eq!(explain(Step::CniAdd, text).title, "address range used up");
        assert_eq!(explain(Step::Status, "what?").title, "status not written");
        assert_eq!(explain(Step::CdiRemove, "").title, "CDI spec not removed");
    }

    #[test]
    fn every_kind_can_be_met_and_says_what_to_do() {
        for (index, failure) in KNOWN.iter().enumerate() {
            let text = failure.signs.join(" … ");
            let found = usize::from(classify(Step::Prepare, &text));
            assert_eq!(
                found, index,
                "{:?} is hidden by {:?}",
                failure, KNOWN[found]
            );
        }
        for failure in KNOWN.iter().chain(&OF_STEP) {
            assert!(failure.title.len() <= 34, "{}", failure.title);
            assert!(failure.means.ends_with('.') && failure.next.ends_with('.'));
        }
        assert!(KINDS < usize::from(u8::MAX));
    }
}
