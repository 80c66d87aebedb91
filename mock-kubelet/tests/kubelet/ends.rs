//! Pods that end otherwise than planned, and an API server that is away.

use serde_json::{Value, json};

use crate::bed::{Bed, nothing_prepared, pod};

#[tokio::test]
async fn a_pod_that_is_force_deleted_is_torn_down_all_the_same() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    let (kubelet, driver, _guards) = bed.both().await;
    bed.pod("p", &["one"]);
    bed.cri.until_running("main", 0).await;
    bed.api.remove("pods", "p");
    let gone =
        |state: &crate::cri::State| state.sandboxes.is_empty() && state.containers.is_empty();
    bed.cri.until("nothing to be left", gone).await;
    assert_eq!(driver.calls(), ["prepare one", "unprepare one"]);
    nothing_prepared(&kubelet).await;
    assert_eq!(bed.api.0.borrow().deletions, [json!(null); 0]);
    kubelet.stop().await;
}

#[tokio::test]
async fn a_replaced_pod_of_the_same_name_is_another_pod() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    let (kubelet, driver, _guards) = bed.both().await;
    bed.pod("p", &["one"]);
    bed.cri.until_running("main", 0).await;
    driver.set(|state| state.hold = true);
    bed.api.remove("pods", "p");
    driver.until_call("unprepare one").await;
    // The old one is not through yet when the new one starts.
    let mut next = pod("p", &[]);
    next["metadata"]["uid"] = json!("uid-next");
    bed.api.apply("pods", next);
    bed.api.until_phase("p", "Running").await;
    driver.set(|state| state.hold = false);
    let one_left = |state: &crate::cri::State| {
        state.sandboxes.len() == 1
            && state.sandboxes[0].metadata.as_ref().unwrap().uid == "uid-next"
    };
    bed.cri.until("the old sandbox to go", one_left).await;
    nothing_prepared(&kubelet).await;
    assert_eq!(
        bed.api.0.borrow().pod("p").unwrap()["metadata"]["uid"],
        "uid-next"
    );
    kubelet.stop().await;
}

#[tokio::test]
async fn a_deletion_cuts_a_start_short() {
    let bed = Bed::new();
    bed.claim("one", &["p"]);
    let (kubelet, driver, _guards) = bed.both().await;
    bed.cri.0.send_modify(|state| state.hold_start = true);
    bed.pod("p", &["one"]);
    let starting =
        |state: &crate::cri::State| state.calls.iter().any(|c| c == "StartContainer main#0");
    bed.cri.until("a start", starting).await;
    bed.api.delete_pod("p");
    bed.api
        .until("the pod to go", |store| store.pod("p").is_none())
        .await;
    assert_eq!(driver.calls(), ["prepare one", "unprepare one"]);
    kubelet.stop().await;
}

#[tokio::test]
async fn pods_are_kept_while_the_api_server_is_away() {
    let bed = Bed::new();
    let (kubelet, _driver, _guards) = bed.both().await;
    bed.pod("p", &[]);
    bed.api.until_phase("p", "Running").await;
    bed.api.0.send_modify(|store| store.away = true);
    bed.cri.exit("main", 1);
    bed.cri.until_running("main", 1).await;
    let runs_again = |pod: &Value| {
        let main = &pod["status"]["containerStatuses"][0];
        main["restartCount"] == 1 && main["ready"] == true
    };
    let refused = |store: &crate::api::Store| store.refused.iter().any(runs_again);
    bed.api.until("the status to be refused", refused).await;
    bed.api.0.send_modify(|store| store.away = false);
    let restarted = |store: &crate::api::Store| runs_again(store.pod("p").unwrap());
    bed.api.until("the status to be written", restarted).await;
    bed.pod("q", &[]);
    bed.api.until_phase("q", "Running").await;
    kubelet.stop().await;
}
