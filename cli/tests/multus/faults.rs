//! What befalls the real daemon, and what must not be left behind then.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use ndra_core::attachment::{Network, Place};
use ndra_core::claim::{AttachmentPlan, DeviceKey};
use ndra_core::cni::{ConfigList, Executor, Invocation};
use ndra_core::kube::PodRef;
use ndra_core::multus::{InterfaceAttributes, Multus as Client, MultusError, Pod};
use ndra_mock_multus::RealConfig;
use serde_json::json;
use tokio::time::Instant;

use crate::answer::Side;
use crate::bed::{Bed, create, has_interface, plugins, remove, run};
use crate::cases::clean;

pub(crate) fn all() {
    run(true, async |bed| {
        for (name, replaced) in [("gone", false), ("replaced", true)] {
            what_belonged_to_a_pod_that_is_gone_is_released(&bed, name, replaced).await;
            println!("  ok pod {name}");
        }
        killed_during_an_add_it_leaves_nothing(&bed).await;
        println!("  ok killed during an ADD");
    });
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn network(dir: &Path) -> ConfigList {
    serde_json::from_value(json!({
        "cniVersion": "1.0.0", "name": "m",
        "plugins": [{
            "type": "macvlan", "master": "eth0", "mode": "bridge",
            "ipam": {
                "type": "host-local", "dataDir": dir.join("networks"),
                "ranges": [[{"subnet": "10.10.1.0/30"}]]
            }
        }]
    }))
    .unwrap()
}

/// For [`clean`].
fn side(bed: &Bed, name: &'static str, config: &RealConfig) -> Side {
    Side {
        name,
        dir: config.dir.clone(),
        socket: config.socket(),
        uid: bed.pod(name),
        answers: Vec::new(),
        plugins: String::new(),
    }
}

/// Multus refuses the DEL; the driver then runs the plugin itself, and Multus's own cache
/// loses its entry, too.
async fn what_belonged_to_a_pod_that_is_gone_is_released(
    bed: &Bed,
    name: &'static str,
    replaced: bool,
) {
    let directory = plugins().unwrap();
    let config = bed.real_config(name, vec![directory.clone()]);
    let daemon = bed.real(&config).await;
    let side = side(bed, name, &config);
    create(&side.netns());
    let way = Network::Multus {
        multus: Client::new(&side.socket),
        direct: Executor::new(vec![directory], &config.cache_dir),
    };
    let plan = AttachmentPlan {
        device: DeviceKey {
            pool: "laptop".into(),
            device: "slot-0".into(),
            share_id: None,
        },
        request: "net".into(),
        subrequest: None,
        if_name: Some("net1".into()),
        auto_named: false,
        network: network(&config.dir),
        ips: Vec::new(),
        mac: None,
        cni_args: Default::default(),
    };
    let place = Place {
        sandbox: "sandbox1".into(),
        pod: PodRef {
            namespace: name.into(),
            name: "web".into(),
            uid: side.uid.clone(),
        },
        netns: side.netns(),
        if_name: "net1".into(),
        pin: None,
    };
    let added = way.add(&plan, &place, soon()).await.unwrap();
    assert_eq!(added.addresses("net1")[0].to_string(), "10.10.1.2/30");
    assert!(has_interface(&side.netns(), "net1"));
    let result = config.cache_dir.join("results/m-sandbox1-net1");
    let address = config.dir.join("networks/m/10.10.1.2");
    assert!(result.exists() && address.exists(), "Multus keeps both");

    bed.delete_pod(name);
    if replaced {
        assert_ne!(bed.pod(name), side.uid);
    }
    // The kubelet stops the sandbox first: the namespace is gone as well.
    remove(&side.netns());
    let client = Client::new(&side.socket);
    let pod = Pod {
        namespace: name.into(),
        name: "web".into(),
        uid: Some(side.uid.clone()),
    };
    let del = async |if_name: &str| {
        let call = Invocation {
            container_id: "sandbox1".into(),
            netns: Some(side.netns()),
            if_name: if_name.into(),
            ..Invocation::default()
        };
        client
            .delegate_del(&plan.network, &call, &pod, soon())
            .await
    };
    // The daemon's informer hears of it a little later.
    while del("net9").await.is_ok() {}
    let refused = del("net1").await.unwrap_err();
    assert!(refused.pod_is_gone(), "{refused}");
    assert!(
        result.exists() && address.exists(),
        "Multus alone releases nothing"
    );
    way.del(&plan, &place, Some(&added), soon()).await.unwrap();
    assert!(!result.exists(), "an entry of Multus's cache is left");
    assert!(!address.exists(), "an address is left");
    // Again is no error.
    way.del(&plan, &place, Some(&added), soon()).await.unwrap();
    daemon.stop().await;
}

/// Puts a program before the real plugin that waits until it may go on.
fn slow(dir: &Path, plugins: &Path) {
    fs::create_dir_all(dir).unwrap();
    let program = dir.join("macvlan");
    let script = format!(
        "#!/bin/sh\n[ \"$CNI_COMMAND\" != ADD ] || {{ touch {0}/begun; while [ ! -e {0}/go ]; do sleep 0.02; done; }}\n\"{1}/macvlan\"; code=$?\n[ \"$CNI_COMMAND\" != ADD ] || touch {0}/done\nexit $code\n",
        dir.display(),
        plugins.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
}

async fn there(path: &Path) {
    while !path.exists() {
        assert!(Instant::now() < soon());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The plugin outlives the daemon that started it. The caller learns at once that the ADD is
/// lost, and the next daemon undoes what the plugin made after all.
async fn killed_during_an_add_it_leaves_nothing(bed: &Bed) {
    let directory = plugins().unwrap();
    let slow_dir = bed.dir.path().join("slow");
    slow(&slow_dir, &directory);
    let config = bed.real_config("killed", vec![slow_dir.clone(), directory]);
    let daemon = bed.real(&config).await;
    let side = side(bed, "killed", &config);
    create(&side.netns());
    let client = Client::new(&side.socket);
    let network = network(&config.dir);
    let pod = Pod {
        namespace: "killed".into(),
        name: "web".into(),
        uid: Some(side.uid.clone()),
    };
    let call = Invocation {
        container_id: "sandbox1".into(),
        netns: Some(side.netns()),
        if_name: "net1".into(),
        ..Invocation::default()
    };
    let plain = InterfaceAttributes::default();
    let add = client.delegate_add(&network, &call, &pod, &plain, soon());
    let kill = async {
        there(&slow_dir.join("begun")).await;
        daemon.kill().await;
    };
    let (added, ()) = tokio::join!(add, kill);
    let error = added.unwrap_err();
    assert!(matches!(error, MultusError::Closed { .. }), "{error:?}");
    insta::assert_snapshot!(error, @"Multus closed the connection before it answered ADD of net1 for pod killed/web on network `m`: its daemon was ended, or failed over the request and says so in its log on this node; the driver undoes what was begun as soon as Multus answers, and the next start of the container makes the interface");

    // Its socket is there, and nobody listens.
    assert!(side.socket.exists());
    let away = client
        .delegate_del(&network, &call, &pod, soon())
        .await
        .unwrap_err();
    assert!(matches!(away, MultusError::Unreachable(_)), "{away:?}");

    fs::write(slow_dir.join("go"), "").unwrap();
    there(&slow_dir.join("done")).await;
    assert!(
        has_interface(&side.netns(), "net1"),
        "the plugin outlived the daemon"
    );

    let daemon = bed.real(&config).await;
    client
        .delegate_del(&network, &call, &pod, soon())
        .await
        .unwrap();
    clean(&side);
    // All is as before: the one address can be had again.
    client
        .delegate_add(&network, &call, &pod, &plain, soon())
        .await
        .unwrap();
    client
        .delegate_del(&network, &call, &pod, soon())
        .await
        .unwrap();
    clean(&side);
    daemon.stop().await;
    remove(&side.netns());
}
