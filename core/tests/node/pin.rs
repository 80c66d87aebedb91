//! Real network namespaces that outlive their sandbox until its interfaces are released.
//! Needs root, and a kernel that makes namespaces.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::world::{World, claim};

/// A namespace that a runtime would have made, at a path of the test's own.
struct Netns(PathBuf);

impl Netns {
    /// `None` where namespaces cannot be made; says so in one line.
    fn new(dir: &Path) -> Option<Self> {
        let path = dir.join("netns/cni-1");
        fs::create_dir(dir.join("netns")).unwrap();
        fs::write(&path, "").unwrap();
        let made = Command::new("unshare")
            .arg(format!("--net={}", path.display()))
            .arg("true")
            .output();
        let why = match made {
            Ok(output) if output.status.success() => return Some(Self(path)),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => format!("unshare: {error}"),
        };
        let required = std::env::var_os("NDRA_REQUIRE_REAL").is_some_and(|value| value == "1");
        assert!(!required, "{why}");
        // Past the test's capture: a skipped test is seen.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no network namespace: {why}");
        None
    }

    /// As the runtime does when a sandbox is stopped.
    fn go(&self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.unwrap().success());
        fs::remove_file(&self.0).unwrap();
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let dir = self.0.parent().unwrap();
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let _ = Command::new("umount").arg("-ql").arg(entry.path()).status();
        }
    }
}

/// The same directory as a pod has it whose volume does not hand mounts on to the node.
struct Received(PathBuf);

impl Received {
    fn new(dir: &Path) -> Self {
        let (node, pod) = (dir.join("netns"), dir.join("received"));
        fs::create_dir(&pod).unwrap();
        let run = |args: &[&str], paths: &[&Path]| {
            let ran = Command::new("mount").args(args).args(paths).status();
            assert!(ran.unwrap().success(), "{args:?}");
        };
        run(&["--rbind"], &[&node, &node]);
        run(&["--make-shared"], &[&node]);
        run(&["--rbind"], &[&node, &pod]);
        run(&["--make-slave"], &[&pod]);
        Self(dir.into())
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        for place in ["received", "netns"] {
            let mut umount = Command::new("umount");
            let _ = umount.arg("-qRl").arg(self.0.join(place)).status();
        }
    }
}

/// A plugin that cannot release without the namespace, and tells which one it saw.
fn plugin(world: &World, name: &str) {
    let script = r#"#!/bin/sh
cat > /dev/null
cd "$(dirname "$0")/.."
if ! inode=$(stat -L -c %i "$CNI_NETNS" 2> /dev/null); then
  echo '{"code": 3, "msg": "failed to open netns"}'
  exit 1
fi
echo "$CNI_COMMAND $inode" >> calls
[ "$CNI_COMMAND" = ADD ] && printf '{"cniVersion":"1.0.0","interfaces":[]}'
exit 0
"#;
    install(world, name, script);
}

fn install(world: &World, name: &str, script: &str) {
    let path = world.path("bin").join(name);
    let source = world.path("plugin");
    fs::write(&source, script).unwrap();
    // By another process: a program that this one wrote may still be open in a child that
    // another test has just begun to start, and could not be run then.
    let mut install = Command::new("install");
    install.args(["-m", "755"]).args([&source, &path]);
    assert!(install.status().unwrap().success());
}

async fn prepared(world: &World, plugin_type: &str, netns: &Path) {
    plugin(world, plugin_type);
    let mut claim = claim("c1", Some("net1"), &["p1"]);
    let config = "/status/allocation/devices/config/0/opaque/parameters/config/type";
    *claim.pointer_mut(config).unwrap() = Value::from(plugin_type);
    world.api.put_claim(claim);
    world.sandboxes.run_in("s1", "p1", netns);
    world.prepare("c1").await;
}

/// What lies beside the sandbox's own namespace.
fn pins(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.path("netns")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| !path.ends_with("cni-1")).collect()
}

#[tokio::test]
async fn a_release_finds_the_namespace_of_the_add_although_the_sandbox_is_gone() {
    // One that needs it, and one that would release without, and leave its interface to
    // whoever else holds the namespace.
    for plugin in ["host-device", "macvlan"] {
        let mut world = World::new().await;
        let Some(netns) = Netns::new(world.dir.path()) else {
            return;
        };
        let inode = fs::metadata(&netns.0).unwrap().ino();
        prepared(&world, plugin, &netns.0).await;
        world.attach("c1", "s1").await.unwrap();
        assert_eq!(pins(&world).len(), 1);
        netns.go();
        // Nor does it matter that the driver dies in between.
        world = World::at(world.crash(), "boot-1").await;
        world.unprepare("c1").await.unwrap();
        assert_eq!(
            world.calls(),
            [format!("ADD {inode}"), format!("DEL {inode}")]
        );
        assert_eq!(pins(&world), [] as [PathBuf; 0]);
        assert!(world.record().is_empty());
    }
}

/// The first unprepare has forgotten the claim when its write fails; the next one must still
/// let go.
#[tokio::test]
async fn nothing_stays_kept_when_the_record_could_not_be_written() {
    let world = World::new().await;
    let Some(netns) = Netns::new(world.dir.path()) else {
        return;
    };
    prepared(&world, "macvlan", &netns.0).await;
    world.attach("c1", "s1").await.unwrap();
    netns.go();
    // Where the next record is written first.
    let next = world.path("state/.record.json.tmp");
    fs::create_dir(&next).unwrap();
    let error = world.unprepare("c1").await.unwrap_err();
    assert!(error.contains("cannot write the record"), "{error}");
    fs::remove_dir(&next).unwrap();
    world.unprepare("c1").await.unwrap();
    assert_eq!(pins(&world), [] as [PathBuf; 0]);
    assert!(world.record().is_empty());
}

#[tokio::test]
async fn nothing_is_kept_for_an_add_that_failed() {
    let world = World::new().await;
    let Some(netns) = Netns::new(world.dir.path()) else {
        return;
    };
    prepared(&world, "macvlan", &netns.0).await;
    let failing = "#!/bin/sh\ncat > /dev/null\ncd \"$(dirname \"$0\")/..\"\n\
                   echo \"$CNI_COMMAND\" >> calls\n\
                   [ \"$CNI_COMMAND\" = DEL ] || { echo '{\"code\": 7, \"msg\": \"no\"}'; exit 1; }\n";
    install(&world, "macvlan", failing);
    world.attach("c1", "s1").await.unwrap_err();
    assert_eq!(world.calls(), ["ADD", "DEL"]);
    assert_eq!(pins(&world), [] as [PathBuf; 0]);
    assert!(world.record().pins.is_empty());
}

/// What is mounted there would not be seen by whoever runs the plugins.
#[tokio::test]
async fn where_mounts_do_not_reach_the_node_none_is_kept() {
    let world = World::new().await;
    let Some(netns) = Netns::new(world.dir.path()) else {
        return;
    };
    let inode = fs::metadata(&netns.0).unwrap().ino();
    let received = Received::new(world.dir.path());
    let seen = received.0.join("received/cni-1");
    prepared(&world, "host-device", &seen).await;
    let error = world.attach("c1", "s1").await.unwrap_err();
    let words = ": what the driver mounts there is not seen on the node; the driver needs \
                 CAP_SYS_ADMIN, and the directory mounted with mountPropagation Bidirectional";
    assert!(error.ends_with(words), "{error}");
    assert_eq!(world.calls(), [] as [String; 0]);
    world.unprepare("c1").await.unwrap();
    // One that can do without goes on.
    prepared(&world, "macvlan", &seen).await;
    world.attach("c1", "s1").await.unwrap();
    assert_eq!(pins(&world), [] as [PathBuf; 0]);
    world.unprepare("c1").await.unwrap();
    assert_eq!(
        world.calls(),
        [format!("ADD {inode}"), format!("DEL {inode}")]
    );
    assert!(world.record().is_empty());
}

#[tokio::test]
async fn what_was_kept_for_nothing_goes_when_the_driver_starts() {
    let mut world = World::new().await;
    let Some(netns) = Netns::new(world.dir.path()) else {
        return;
    };
    let kept = world.path("netns").join("ndra-kept");
    fs::write(&kept, "").unwrap();
    let bound = Command::new("mount")
        .arg("--bind")
        .args([&netns.0, &kept])
        .status();
    assert!(bound.unwrap().success());
    let remember = |record: &mut ndra_core::attachment::record::Record| {
        record.pins.insert(kept.clone());
    };
    world.manager.store().change(remember).await.unwrap();
    world = World::at(world.crash(), "boot-1").await;
    world.manager.unpin_forgotten().await;
    assert_eq!(pins(&world), [] as [PathBuf; 0]);
    assert!(world.record().is_empty());
}

#[tokio::test]
async fn a_namespace_that_cannot_be_kept_is_no_place_for_a_nic() {
    let world = World::new().await;
    // In here nobody can make a file.
    let netns = Path::new("/proc/self/ns/net");
    if !netns.exists() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: no network namespaces here");
        return;
    }
    prepared(&world, "host-device", netns).await;
    let error = world.attach("c1", "s1").await.unwrap_err();
    let (before, after) = error.split_once("/proc/self/ns/ndra-").unwrap();
    assert_eq!(
        before,
        "claim default/claim-c1: net1 is not attached to pod default/pod-p1: the plugin \
         host-device releases its interface from within the pod's network namespace, and \
         /proc/self/ns/net cannot be kept for it at "
    );
    assert!(
        after.contains("the driver needs CAP_SYS_ADMIN, and the directory mounted with"),
        "{after}"
    );
    assert_eq!(world.calls(), [] as [String; 0]);
    world.unprepare("c1").await.unwrap();
    assert!(world.record().is_empty());
    // One that can do without goes on.
    prepared(&world, "macvlan", netns).await;
    world.attach("c1", "s1").await.unwrap();
    world.unprepare("c1").await.unwrap();
    assert_eq!(world.calls().len(), 2);
    assert!(world.record().is_empty());
}
