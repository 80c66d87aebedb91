//! The scenarios and manifests that the program carries, so that it runs them from anywhere.

macro_rules! files {
    ($(#[$meta:meta])* $name:ident, $directory:literal, $prefix:literal $suffix:literal: $($file:literal),+ $(,)?) => {
        $(#[$meta])*
        pub(crate) const $name: &[(&str, &str)] = &[$((
            concat!($prefix, $file, $suffix),
            include_str!(concat!("../../../fixtures/", $directory, "/", $file, ".yaml")),
        )),+];
    };
}

files! {
    /// By name, in the order of the listing: from the simple to the faulty.
    SHIPPED, "scenarios", "" "":
    "one-claim",
    "two-claims",
    "two-requests",
    "count-two",
    "shared-by-containers",
    "container-restart",
    "sandbox-recreated",
    "two-pods",
    "shared-by-pods",
    "claim-from-template",
    "class-parameters",
    "no-parameters",
    "static-address",
    "plugin-not-allowed",
    "metadata-files",
    "dual-stack",
    "crio-hook-output",
    "kubelet-v1beta1",
    "kubelet-v1alpha3",
    "driver-comes-back",
    "driver-stays-away",
    "driver-restarted",
    "driver-rolled",
    "driver-rolled-busy",
    "driver-killed",
    "kubelet-restarted",
    "slots-changed",
    "uplink-full",
    "whole-nic",
    "select-by-attribute",
    "interface-gone",
    "no-consumable-capacity",
    "link-down",
    "every-step-fails-once",
    "multus-error",
    "multus-gone",
    "pod-force-deleted",
    "pod-replaced",
    "claim-for-pod-only",
    "same-name-one-call",
    "same-name-later-call",
    "host-network",
}

files! {
    /// By the path that shipped scenarios use.
    MANIFESTS, "manifests", "../manifests/" ".yaml":
    "net1",
    "net2",
    "web",
}
