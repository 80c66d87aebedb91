//! The mocks as processes of their own, as other projects would use them: each starts,
//! meets the others on sockets, and goes with SIGTERM, its socket with it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

struct Mock(Child);

impl Mock {
    /// Starts `ndra mock …` and returns when it says that it runs.
    fn start(args: &[&str]) -> (Self, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ndra"))
            .arg("mock")
            .args(args)
            .env_remove("CNI_PATH")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let out = child.stdout.as_mut().unwrap();
        BufReader::new(out).read_line(&mut said).unwrap();
        (Self(child), said.trim().to_owned())
    }

    fn stop(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_node_of_processes_starts_and_stops() {
    let dir = tempfile::Builder::new()
        .prefix("nd")
        .tempdir_in("/tmp")
        .unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let kubeconfig = at("kubeconfig");
    let (api, url) = Mock::start(&["apiserver", "--kubeconfig", &kubeconfig]);
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let (cri_socket, multus_socket) = (at("cri.sock"), at("multus.sock"));
    let (cri, said) = Mock::start(&[
        "cri",
        "--socket",
        &cri_socket,
        "--cdi-dir",
        &at("cdi"),
        "--state-dir",
        &at("cri"),
        "--netns-dir",
        &at("netns"),
        "--flavor",
        "crio",
    ]);
    assert_eq!(said, cri_socket);
    let (multus, said) = Mock::start(&[
        "multus",
        "--socket",
        &multus_socket,
        "--kubeconfig",
        &kubeconfig,
    ]);
    assert_eq!(said, multus_socket);
    let (kubelet, said) = Mock::start(&[
        "kubelet",
        "--quick",
        "--kubeconfig",
        &kubeconfig,
        "--registry",
        &at("reg"),
        "--cri",
        &cri_socket,
        "--checkpoint",
        &at("checkpoint"),
    ]);
    assert_eq!(said, at("reg"));
    for mock in [kubelet, multus, cri, api] {
        mock.stop();
    }
    assert!(!Path::new(&cri_socket).exists() && !Path::new(&multus_socket).exists());
}

#[test]
fn an_api_server_with_a_token_lays_a_service_account() {
    let dir = tempfile::Builder::new()
        .prefix("nd")
        .tempdir_in("/tmp")
        .unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (api, url) = Mock::start(&[
        "apiserver",
        "--tls",
        "--kubeconfig",
        &at("kubeconfig"),
        "--service-account",
        &at("account"),
    ]);
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert!(read("account/ca.crt").starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(read("kubeconfig").contains(&read("account/token")));
    assert_eq!(read("account/namespace"), "default");
    // Its kubeconfig leads another mock in.
    let (multus, _) = Mock::start(&[
        "multus",
        "--socket",
        &at("multus.sock"),
        "--kubeconfig",
        &at("kubeconfig"),
    ]);
    multus.stop();
    api.stop();
}

#[test]
fn a_mock_that_cannot_start_says_why() {
    let dir = tempfile::Builder::new()
        .prefix("nd")
        .tempdir_in("/tmp")
        .unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (_api, _) = Mock::start(&["apiserver", "--kubeconfig", &at("kubeconfig")]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_ndra"))
        .args(["mock", "kubelet", "--registry", &at("reg")])
        .args(["--kubeconfig", &at("kubeconfig"), "--cri", &at("cri.sock")])
        .args(["--checkpoint", &at("checkpoint")])
        .env("LC_ALL", "C.UTF-8")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    let said = said.replace(dir.path().to_str().unwrap(), "/d");
    insta::assert_snapshot!(said, @r"
    × cannot reach /d/cri.sock: No such file or directory (usually a
    │ container runtime such as containerd or CRI-O listens there; is it
    │ running?)
    ");
}
