use serde_json::json;

use super::*;
use crate::object::list;

fn device(name: &str, numa: i64) -> Value {
    json!({"name": name, "attributes": {"numa": {"int": numa}, "fast": {"bool": numa == 0}}})
}

fn slice_of(pool: &str, generation: i64, count: i64, devices: &[Value]) -> Arc<Value> {
    Arc::new(
        json!({"metadata": {"name": format!("{pool}-{generation}")}, "spec": {
            "driver": "d.example", "nodeName": "node-a",
            "pool": {"name": pool, "generation": generation, "resourceSliceCount": count},
            "devices": devices,
        }}),
    )
}

/// Four devices, of which each two share a NUMA node.
fn four() -> Vec<Arc<Value>> {
    vec![slice_of(
        "p",
        1,
        1,
        &[
            device("a", 0),
            device("b", 1),
            device("c", 0),
            device("d", 1),
        ],
    )]
}

fn class() -> Classes {
    classes(vec![Arc::new(
        json!({"metadata": {"name": "net"}, "spec": {
            "selectors": [{"cel": {"expression": "device.driver == 'd.example'"}}],
            "config": [{"opaque": {"driver": "d.example", "parameters": {"from": "class"}}}],
        }}),
    )])
}

fn claim(devices: Value) -> Arc<Value> {
    Arc::new(
        json!({"metadata": {"name": "c", "namespace": "default", "uid": "u"}, "spec": {"devices": devices}}),
    )
}

fn exactly(name: &str, more: Value) -> Value {
    let mut request = json!({"deviceClassName": "net", "allocationMode": "ExactCount", "count": 1});
    for (key, value) in more.as_object().into_iter().flatten() {
        request[key] = value.clone();
    }
    json!({"name": name, "exactly": request})
}

fn node() -> Value {
    json!({"metadata": {"name": "node-a", "labels": {"zone": "z1"}}})
}

fn run(
    slices: Vec<Arc<Value>>,
    used: &[Arc<Value>],
    claims: &[Arc<Value>],
) -> Result<Vec<Value>, Refusal> {
    allocate(&node(), claims, &class(), &Inventory::new(slices, used))
}

/// `request=device` of each result.
fn shown(allocation: &Value) -> String {
    let results = list(allocation, &["devices", "results"]).iter();
    results
        .map(|result| {
            format!(
                "{}={}",
                result["request"].as_str().unwrap(),
                result["device"].as_str().unwrap()
            )
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn one(slices: Vec<Arc<Value>>, devices: Value) -> Result<String, Refusal> {
    run(slices, &[], &[claim(devices)]).map(|allocations| shown(&allocations[0]))
}

#[test]
fn counts() {
    let request = |count: i64| json!({"requests": [exactly("net", json!({"count": count}))]});
    assert_eq!(one(four(), request(2)).unwrap(), "net=a net=b");
    assert_eq!(one(four(), request(5)), Err(Refusal::NoDevices));
    let error = one(four(), request(33)).unwrap_err();
    insta::assert_snapshot!(error, @"claim default/c, request net: number of requested devices 33 exceeds the claim limit of 32");
}

#[test]
fn all_devices_or_none() {
    let all =
        json!({"requests": [exactly("net", json!({"allocationMode": "All", "count": null}))]});
    assert_eq!(one(four(), all.clone()).unwrap(), "net=a net=b net=c net=d");
    let user = run(
        four(),
        &[],
        &[claim(json!({"requests": [exactly("net", json!({}))]}))],
    )
    .unwrap();
    let used = Arc::new(json!({"status": {"allocation": user[0]}}));
    assert_eq!(
        run(four(), &[used], &[claim(all.clone())]),
        Err(Refusal::NoDevices)
    );
    assert_eq!(one(Vec::new(), all), Err(Refusal::NoDevices));
}

#[test]
fn taken_devices_are_left_alone_but_for_admins() {
    let single = claim(json!({"requests": [exactly("net", json!({}))]}));
    let first = run(four(), &[], std::slice::from_ref(&single)).unwrap();
    let used = Arc::new(json!({"status": {"allocation": first[0]}}));
    let second = run(four(), std::slice::from_ref(&used), &[single]).unwrap();
    assert_eq!(shown(&second[0]), "net=b");
    let admin = claim(
        json!({"requests": [exactly("net", json!({"adminAccess": true, "allocationMode": "All", "count": null}))]}),
    );
    let watching = run(four(), &[used], &[admin]).unwrap();
    assert_eq!(shown(&watching[0]), "net=a net=b net=c net=d");
    assert_eq!(watching[0]["devices"]["results"][0]["adminAccess"], true);
    // What an admin sees is not taken.
    let seen = Arc::new(json!({"status": {"allocation": watching[0]}}));
    assert!(Inventory::new(four(), &[seen]).taken.is_empty());
}

#[test]
fn the_first_alternative_that_works() {
    let slow = |name: &str, cel: &str| {
        json!({"name": name, "deviceClassName": "net", "allocationMode": "ExactCount",
        "count": 1, "selectors": [{"cel": {"expression": cel}}]})
    };
    let request = json!({"requests": [{"name": "net", "firstAvailable": [
        slow("fastest", "device.attributes['d.example'].numa == 7"),
        slow("fast", "device.attributes['d.example'].numa == 1"),
        slow("any", "true"),
    ]}]});
    assert_eq!(one(four(), request).unwrap(), "net/fast=b");
}

#[test]
fn attributes_match() {
    let requests = json!([
        exactly("one", json!({"count": 1})),
        exactly("two", json!({"count": 1}))
    ]);
    let free = json!({"requests": requests});
    assert_eq!(one(four(), free).unwrap(), "one=a two=b");
    let bound =
        json!({"requests": requests, "constraints": [{"matchAttribute": "d.example/numa"}]});
    assert_eq!(one(four(), bound).unwrap(), "one=a two=c");
    let unrelated = json!({"requests": requests, "constraints": [{"requests": ["one"], "matchAttribute": "d.example/numa"}]});
    assert_eq!(one(four(), unrelated).unwrap(), "one=a two=b");
    let unknown =
        json!({"requests": requests, "constraints": [{"matchAttribute": "d.example/speed"}]});
    assert_eq!(one(four(), unknown), Err(Refusal::NoDevices));
    let three = json!({"requests": [exactly("net", json!({"count": 3}))], "constraints": [{"matchAttribute": "d.example/numa"}]});
    assert_eq!(one(four(), three), Err(Refusal::NoDevices));
}

#[test]
fn the_search_goes_back() {
    // The first request would take the only device that the second one can use.
    let picky = json!([{"cel": {"expression": "device.attributes['d.example'].numa == 0"}}]);
    let slices = vec![slice_of("p", 1, 1, &[device("a", 0), device("b", 1)])];
    let requests = json!({"requests": [exactly("any", json!({})), exactly("picky", json!({"selectors": picky}))]});
    assert_eq!(one(slices, requests).unwrap(), "any=b picky=a");
}

#[test]
fn several_claims_at_once() {
    let single = || claim(json!({"requests": [exactly("net", json!({"count": 2}))]}));
    let both = run(four(), &[], &[single(), single()]).unwrap();
    assert_eq!(
        both.iter().map(shown).collect::<Vec<_>>(),
        ["net=a net=b", "net=c net=d"]
    );
    assert_eq!(
        run(four(), &[], &[single(), single(), single()]),
        Err(Refusal::NoDevices)
    );
}

#[test]
fn only_the_newest_generation_and_only_if_complete() {
    let request = json!({"requests": [exactly("net", json!({}))]});
    let renewed = vec![
        slice_of("p", 1, 1, &[device("old", 0)]),
        slice_of("p", 2, 1, &[device("new", 0)]),
    ];
    assert_eq!(one(renewed, request.clone()).unwrap(), "net=new");
    let incomplete = vec![slice_of("p", 2, 2, &[device("half", 0)])];
    assert_eq!(
        one(incomplete.clone(), request.clone()),
        Err(Refusal::NoDevices)
    );
    let mut other = incomplete;
    other.push(slice_of("q", 1, 1, &[device("whole", 0)]));
    assert_eq!(one(other.clone(), request).unwrap(), "net=whole");
    let all =
        json!({"requests": [exactly("net", json!({"allocationMode": "All", "count": null}))]});
    insta::assert_snapshot!(one(other, all).unwrap_err(), @"claim default/c, request net: asks for all devices, but resource pool d.example/p is currently being updated");
}

#[test]
fn devices_of_other_nodes_do_not_count() {
    let request = || claim(json!({"requests": [exactly("net", json!({}))]}));
    let with = |selection: Value| {
        let mut slice = (*four()[0]).clone();
        slice["spec"]
            .as_object_mut()
            .unwrap()
            .shift_remove("nodeName");
        for (key, value) in selection.as_object().unwrap() {
            slice["spec"][key] = value.clone();
        }
        run(vec![Arc::new(slice)], &[], &[request()])
    };
    assert_eq!(with(json!({"nodeName": "node-b"})), Err(Refusal::NoDevices));
    let zone = |zone: &str| {
        json!({"nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "zone", "operator": "In", "values": [zone]},
        ]}]}})
    };
    let found = with(zone("z1")).unwrap();
    assert_eq!(found[0]["nodeSelector"], zone("z1")["nodeSelector"]);
    assert_eq!(with(zone("z2")), Err(Refusal::NoDevices));
    let everywhere = with(json!({"allNodes": true})).unwrap();
    assert!(everywhere[0].get("nodeSelector").is_none());
}

#[test]
fn special_devices_are_passed_over() {
    let mut tainted = device("tainted", 0);
    tainted["taints"] = json!([{"key": "k", "effect": "NoSchedule"}]);
    let slices = vec![slice_of("p", 1, 1, &[tainted, device("plain", 0)])];
    assert_eq!(
        one(slices, json!({"requests": [exactly("net", json!({}))]})).unwrap(),
        "net=plain"
    );
}

#[test]
fn configuration_comes_from_the_class_first() {
    let own = |value: &str, requests: Value| json!({"requests": requests, "opaque": {"driver": "d.example", "parameters": {"from": value}}});
    let sub = json!({"name": "sub", "deviceClassName": "net", "allocationMode": "ExactCount", "count": 1});
    let devices = json!({
        "requests": [exactly("one", json!({})), {"name": "two", "firstAvailable": [sub]}],
        "config": [own("all", json!([])), own("one", json!(["one"])), own("sub", json!(["two/sub"])), own("none", json!(["two/other"]))],
    });
    let allocation = run(four(), &[], &[claim(devices)]).unwrap();
    insta::assert_json_snapshot!(allocation[0], @r#"
    {
      "devices": {
        "results": [
          {
            "request": "one",
            "driver": "d.example",
            "pool": "p",
            "device": "a"
          },
          {
            "request": "two/sub",
            "driver": "d.example",
            "pool": "p",
            "device": "b"
          }
        ],
        "config": [
          {
            "source": "FromClass",
            "requests": [
              "one",
              "two/sub"
            ],
            "opaque": {
              "driver": "d.example",
              "parameters": {
                "from": "class"
              }
            }
          },
          {
            "source": "FromClaim",
            "opaque": {
              "driver": "d.example",
              "parameters": {
                "from": "all"
              }
            }
          },
          {
            "source": "FromClaim",
            "requests": [
              "one"
            ],
            "opaque": {
              "driver": "d.example",
              "parameters": {
                "from": "one"
              }
            }
          },
          {
            "source": "FromClaim",
            "requests": [
              "two/sub"
            ],
            "opaque": {
              "driver": "d.example",
              "parameters": {
                "from": "sub"
              }
            }
          }
        ]
      },
      "nodeSelector": {
        "nodeSelectorTerms": [
          {
            "matchFields": [
              {
                "key": "metadata.name",
                "operator": "In",
                "values": [
                  "node-a"
                ]
              }
            ]
          }
        ]
      }
    }
    "#);
}

#[test]
fn what_takes_too_long_is_given_up() {
    let names: Vec<Value> = (0..40).map(|n| device(&format!("s{n}"), n)).collect();
    let slices = vec![slice_of("p", 1, 1, &names)];
    // No two devices share a NUMA node, and there are very many ways to find that out.
    let requests: Vec<Value> = (0..8)
        .map(|n| exactly(&format!("r{n}"), json!({})))
        .collect();
    let never = json!([{"cel": {"expression": "false"}}]);
    let mut requests = requests;
    requests.push(exactly("never", json!({"selectors": never})));
    let error = one(slices, json!({"requests": requests})).unwrap_err();
    insta::assert_snapshot!(error, @"claim default/c: too many possible ways to allocate it; ask for fewer devices or constraints");
}

/// One device for three, with a bandwidth.
fn shared() -> Vec<Arc<Value>> {
    vec![slice_of(
        "p",
        1,
        1,
        &[
            json!({"name": "eth0", "allowMultipleAllocations": true, "capacity": {
                "maxAttachments": {"value": "3", "requestPolicy": {"default": "1", "validValues": ["1"]}},
                "bandwidth": {"value": "10G", "requestPolicy": {"default": "0", "validRange": {"min": "0"}}},
            }}),
            device("eth1", 0),
        ],
    )]
}

fn wants(bandwidth: &str) -> Arc<Value> {
    let capacity = json!({"capacity": {"requests": {"bandwidth": bandwidth}}});
    claim(json!({"requests": [exactly("net", capacity)]}))
}

#[test]
fn a_shared_device_is_allocated_until_it_is_full() {
    let mut used = Vec::new();
    for wanted in ["2G", "8G", "0"] {
        let found = run(shared(), &used, &[wants(wanted)]).unwrap();
        assert_eq!(shown(&found[0]), "net=eth0");
        used.push(Arc::new(json!({"status": {"allocation": found[0]}})));
    }
    let results = used
        .iter()
        .map(|claim| &claim["status"]["allocation"]["devices"]["results"][0]);
    let consumed: Vec<String> = results
        .clone()
        .map(|one| one["consumedCapacity"].to_string())
        .collect();
    insta::assert_snapshot!(consumed.join("\n"), @r#"
    {"bandwidth":"2G","maxAttachments":"1"}
    {"bandwidth":"8G","maxAttachments":"1"}
    {"bandwidth":"0","maxAttachments":"1"}
    "#);
    let shares: BTreeSet<&str> = results
        .map(|one| one["shareID"].as_str().unwrap())
        .collect();
    assert_eq!(shares.len(), 3);
    // It has taken its three, and the other device has no bandwidth.
    assert_eq!(run(shared(), &used, &[wants("0")]), Err(Refusal::NoDevices));
    let any = claim(json!({"requests": [exactly("net", json!({}))]}));
    let other = run(shared(), &used, std::slice::from_ref(&any)).unwrap();
    assert_eq!(shown(&other[0]), "net=eth1");
    assert!(other[0]["devices"]["results"][0].get("shareID").is_none());
    // Somebody leaves.
    used.remove(0);
    assert!(run(shared(), &used, &[wants("2G")]).is_ok());
    assert_eq!(
        run(shared(), &used, &[wants("2100M")]),
        Err(Refusal::NoDevices)
    );
}

#[test]
fn claims_and_requests_of_one_pod_share_too() {
    let two = claim(json!({"requests": [exactly("a", json!({})), exactly("b", json!({}))]}));
    let found = run(shared(), &[], &[two, wants("1G")]).unwrap();
    assert_eq!(shown(&found[0]), "a=eth0 b=eth0");
    assert_eq!(shown(&found[1]), "net=eth0");
    let one_request = json!({"requests": [exactly("net", json!({"count": 2}))]});
    assert_eq!(
        one(shared(), one_request).unwrap(),
        "net=eth0 net=eth1",
        "not twice in one request"
    );
    assert_eq!(
        run(shared(), &[], &[wants("6G"), wants("6G")]),
        Err(Refusal::NoDevices)
    );
}

#[test]
fn expressions_see_whether_a_device_is_shared() {
    let selector = |expression: &str| json!({"selectors": [{"cel": {"expression": expression}}]});
    let found = one(
        shared(),
        json!({"requests": [exactly("net", selector("!device.allowMultipleAllocations"))]}),
    );
    assert_eq!(found.unwrap(), "net=eth1");
}
