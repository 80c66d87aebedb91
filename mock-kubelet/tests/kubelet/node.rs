//! The kubelet's own Node.

use crate::bed::Bed;

#[tokio::test]
async fn the_kubelet_makes_its_node_and_leaves_one_that_is_there() {
    let bed = Bed::new();
    bed.api.0.send_modify(|store| store.away = true);
    let kubelet = bed.kubelet().await;
    let asked = |store: &crate::api::Store| {
        let mut refused = store.refused.iter();
        refused.any(|body| body["kind"] == "Node")
    };
    bed.api.until("a call that is refused", asked).await;
    bed.api.0.send_modify(|store| {
        store.away = false;
        store.refused.clear();
    });
    bed.api
        .until("the node", |store| store.node("node-a").is_some())
        .await;
    let made = bed.api.0.borrow().node("node-a").unwrap().clone();
    assert_eq!(
        made["metadata"]["labels"]["kubernetes.io/hostname"],
        "node-a"
    );
    kubelet.stop().await;

    // Another finds it, and changes nothing.
    let kubelet = bed.kubelet().await;
    bed.api.until("a second try", asked).await;
    assert_eq!(bed.api.0.borrow().node("node-a"), Some(&made));
    kubelet.stop().await;
}
