//! A kubelet that comes back: checkpoint, running pods, orphans, bad starts.

use ndra_mock_kubelet::Kubelet;

use crate::bed::{Bed, nothing_prepared, registered};

async fn refused(bed: &Bed) -> String {
    let error = bed
        .try_kubelet()
        .await
        .err()
        .expect("the kubelet must not start");
    error
        .to_string()
        .replace(bed.dir.path().to_str().unwrap(), "DIR")
}

async fn again(bed: &Bed, kubelet: Kubelet) -> Kubelet {
    kubelet.stop().await;
    let wipes = bed.api.0.borrow().wipes.len();
    let kubelet = bed.kubelet().await;
    registered(&kubelet).await;
    bed.api
        .until("a wipe", |store| store.wipes.len() > wipes)
        .await;
    kubelet
}

#[tokio::test]
async fn running_pods_are_found_and_not_prepared_again() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    let (kubelet, driver, _guards) = bed.both().await;
    bed.pod("p", &["one"]);
    bed.api.until_phase("p", "Running").await;
    let kubelet = again(&bed, kubelet).await;
    assert_eq!(kubelet.prepared().len(), 1);
    bed.cri.exit("main", 0);
    bed.cri.until_running("main", 1).await;
    assert_eq!(
        bed.cri.0.borrow().devices("main"),
        ["dra.networking/claim=uid-one"]
    );
    assert_eq!(driver.calls(), ["prepare one"]);
    bed.api.delete_pod("p");
    bed.api
        .until("the pod to go", |store| store.pod("p").is_none())
        .await;
    assert_eq!(driver.calls(), ["prepare one", "unprepare one"]);
    nothing_prepared(&kubelet).await;
    kubelet.stop().await;
}

#[tokio::test]
async fn what_ended_while_no_kubelet_ran_is_torn_down() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    bed.claim("two", &["q"]);
    let (kubelet, driver, _guards) = bed.both().await;
    bed.pod("p", &["one"]);
    bed.pod("q", &["two"]);
    bed.api.until_phase("p", "Running").await;
    bed.api.until_phase("q", "Running").await;
    kubelet.stop().await;
    bed.api.remove("pods", "p");
    bed.api.remove("pods", "q");
    // Of one, even the runtime has forgotten.
    bed.cri.0.send_modify(|state| {
        state
            .sandboxes
            .retain(|s| s.metadata.as_ref().unwrap().name != "q");
        state
            .containers
            .retain(|(_, c)| c.labels["io.kubernetes.pod.name"] != "q");
    });
    let kubelet = bed.kubelet().await;
    driver.until_call("unprepare one").await;
    driver.until_call("unprepare two").await;
    let gone = |state: &crate::cri::State| state.sandboxes.is_empty();
    bed.cri.until("nothing to be left", gone).await;
    nothing_prepared(&kubelet).await;
    kubelet.stop().await;
}

#[tokio::test]
async fn a_damaged_checkpoint_stops_the_start_once() {
    let bed = Bed::new();
    std::fs::write(bed.path("checkpoint"), "claims: []").unwrap();
    insta::assert_snapshot!(refused(&bed).await, @"the kubelet's checkpoint DIR/checkpoint is damaged: expected value at line 1 column 1; it is kept as DIR/checkpoint.damaged, and the next start begins without it: unprepare by hand what it names");
    assert_eq!(
        std::fs::read(bed.path("checkpoint.damaged")).unwrap(),
        b"claims: []"
    );
    bed.kubelet().await.stop().await;
}

#[tokio::test]
async fn bad_starts_are_explained() {
    let mut bed = Bed::new();
    std::fs::write(bed.path("reg"), "").unwrap();
    insta::assert_snapshot!(refused(&bed).await, @"cannot watch DIR/reg for plugins: File exists; it must be a directory that this user may write to");
    std::fs::remove_file(bed.path("reg")).unwrap();
    bed.versions.clear();
    insta::assert_snapshot!(refused(&bed).await, @"the kubelet knows no DRA version: give v1, v1beta1 or both");
    bed.versions.push(ndra_mock_kubelet::ApiVersion::V1);
    std::fs::remove_file(bed.path("cri.sock")).unwrap();
    insta::assert_snapshot!(refused(&bed).await, @"cannot reach DIR/cri.sock: No such file or directory (usually a container runtime such as containerd or CRI-O listens there; is it running?)");
    let (_driver, _guards) = bed.driver();
    std::fs::rename(bed.registration(), bed.path("cri.sock")).unwrap();
    insta::assert_snapshot!(refused(&bed).await, @"DIR/cri.sock does not speak CRI v1: Operation is not implemented or not supported; give the runtime's CRI socket, such as /run/containerd/containerd.sock");
}
