//! What the kernel says of links, and what is made of it.

use std::process::Command;

use rtnetlink::packet_route::link::{InfoKind, InfoVlan};
use rtnetlink::packet_route::route::{RouteAttribute, RouteNextHop};
use rtnetlink::{LinkBridge, LinkVeth, LinkVlan};

use super::*;

/// Says to this program, run anew, that it is in a namespace of its own.
const INSIDE: &str = "NDRA_TEST_IN_NAMESPACE";

fn link(index: u32, name: &str, more: Vec<LinkAttribute>) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes = vec![LinkAttribute::IfName(name.into())];
    link.attributes.extend(more);
    link
}

#[test]
fn a_vlan_is_known_with_its_parent_where_that_is_here() {
    let info =
        |kind, data| LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]);
    let vlan = || info(InfoKind::Vlan, InfoData::Vlan(vec![InfoVlan::Id(100)]));
    let names = BTreeMap::from([(2, "eth0")]);
    let here = link(7, "eth0.100", vec![LinkAttribute::Link(2), vlan()]);
    let found = interface(&here, &names).unwrap();
    assert_eq!(
        (found.name.as_str(), found.kind.as_deref()),
        ("eth0.100", Some("vlan"))
    );
    let parent = Some("eth0".to_owned());
    assert_eq!(found.vlan, Some(Vlan { id: 100, parent }));

    // The number is one of another namespace, where it may be anybody's.
    let elsewhere = vec![
        LinkAttribute::Link(2),
        LinkAttribute::LinkNetNsId(0),
        vlan(),
    ];
    let found = interface(&link(7, "v", elsewhere), &names).unwrap();
    assert_eq!(
        found.vlan,
        Some(Vlan {
            id: 100,
            parent: None
        })
    );

    let nothing = info(InfoKind::Vlan, InfoData::Vlan(Vec::new()));
    assert_eq!(
        interface(&link(7, "v", vec![nothing]), &names)
            .unwrap()
            .vlan,
        None
    );
    for filtering in [true, false] {
        let data = InfoData::Bridge(vec![InfoBridge::VlanFiltering(filtering)]);
        let found = interface(&link(7, "br0", vec![info(InfoKind::Bridge, data)]), &names);
        let bridge = Bridge {
            vlan_filtering: filtering,
        };
        assert_eq!(found.unwrap().bridge, Some(bridge));
    }
    assert!(
        interface(&LinkMessage::default(), &names).is_none(),
        "a link without a name"
    );
}

#[test]
fn default_routes_of_the_main_table_lead_to_uplinks() {
    let route = |attributes: Vec<RouteAttribute>| {
        let mut route = RouteMessage::default();
        route.header.kind = RouteType::Unicast;
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.attributes = attributes;
        route
    };
    assert_eq!(targets(&route(vec![RouteAttribute::Oif(3)])), [3]);
    let hop = |index| {
        let mut hop = RouteNextHop::default();
        hop.interface_index = index;
        hop
    };
    let many = RouteAttribute::MultiPath(vec![hop(3), hop(5)]);
    assert_eq!(targets(&route(vec![many])), [3, 5]);
    let other = vec![RouteAttribute::Table(100), RouteAttribute::Oif(3)];
    assert_eq!(targets(&route(other)), [0; 0]);
    let mut narrow = route(vec![RouteAttribute::Oif(3)]);
    narrow.header.destination_prefix_length = 24;
    assert_eq!(targets(&narrow), [0; 0]);
    let mut blackhole = route(vec![RouteAttribute::Oif(3)]);
    blackhole.header.kind = RouteType::BlackHole;
    assert_eq!(targets(&blackhole), [0; 0]);
}

/// Runs this test again in a user and network namespace of its own, and looks at real links.
#[test]
fn links_of_the_kernel_are_what_they_are() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        return runtime.block_on(look());
    }
    let unshare = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", program]);
        command
    };
    if !unshare("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        let required = std::env::var_os("NDRA_REQUIRE_REAL").is_some_and(|value| value == "1");
        assert!(
            !required,
            "NDRA_REQUIRE_REAL is set, and no namespace can be made"
        );
        println!("skipped: no user and network namespace can be made here");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let status = unshare(program.to_str().unwrap())
        .args([
            "--exact",
            "devices::netlink::tests::links_of_the_kernel_are_what_they_are",
        ])
        .args(["--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(status.unwrap().success());
}

async fn look() {
    let mut kernel = Kernel::open().unwrap();
    let handle = kernel.handle.clone();
    let add = |message| handle.link().add(message).execute();
    add(LinkVeth::new("eth8", "eth9").build()).await.unwrap();
    let index = |found: &[(u32, Interface)], name: &str| {
        found.iter().find(|(_, one)| one.name == name).unwrap().0
    };
    let eth8 = index(&kernel.list().await.unwrap(), "eth8");
    // Kernels without VLAN filtering have bridges all the same.
    let filters = add(LinkBridge::new("br0").vlan_filtering(true).build())
        .await
        .is_ok();
    if !filters {
        println!("this kernel's bridges filter no VLANs");
        add(LinkBridge::new("br0").build()).await.unwrap();
    }
    let vlans = add(LinkVlan::new("eth8.5", eth8, 5).build()).await.is_ok();
    if !vlans {
        println!("this kernel has no VLANs");
    }
    let br0 = index(&kernel.list().await.unwrap(), "br0");
    let port = rtnetlink::LinkUnspec::new_with_name("eth9")
        .controller(br0)
        .up()
        .build();
    handle.link().set(port).execute().await.unwrap();

    // The kernel works a link's state out in its own time.
    let settled = |found: &[(u32, Interface)]| {
        let port = found.iter().find(|(_, one)| one.name == "eth9");
        port.is_some_and(|(_, port)| port.state == "lowerlayerdown")
    };
    let mut found = kernel.list().await.unwrap();
    for _ in 0..1000 {
        if settled(&found) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        found = kernel.list().await.unwrap();
    }
    let by_name = |name: &str| &found.iter().find(|(_, one)| one.name == name).unwrap().1;
    let bridge = by_name("br0");
    assert_eq!(bridge.kind.as_deref(), Some("bridge"));
    assert_eq!(
        bridge.bridge,
        Some(Bridge {
            vlan_filtering: filters
        })
    );
    let port = by_name("eth9");
    assert_eq!(
        (port.port_of.as_deref(), port.kind.as_deref()),
        (Some("br0"), Some("veth"))
    );
    assert_eq!((port.mtu, port.state.as_str()), (1500, "lowerlayerdown"));
    assert!(port.mac.is_some() && port.vlan.is_none() && !port.default_route);
    assert_eq!(by_name("lo").kind, None);
    if vlans {
        let parent = Some("eth8".to_owned());
        assert_eq!(by_name("eth8.5").vlan, Some(Vlan { id: 5, parent }));
    }
}
