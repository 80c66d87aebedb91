//! The driver's two TCP ports as a kubelet's probe and Prometheus see them: a real process,
//! from before the kubelet knows it until after.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ndra_core::wire::health::HealthCheckRequest;
use ndra_core::wire::health::health_client::HealthClient;

/// A process that goes with the test.
struct Part(Child);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(args: &[String]) -> Part {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ndra"));
    command.args(args).stderr(Stdio::null());
    Part(command.stdout(Stdio::piped()).spawn().unwrap())
}

/// A mock, which says on one line that it runs.
fn mock(args: &[String]) -> Part {
    let mut part = start(args);
    let mut line = String::new();
    let mut out = BufReader::new(part.0.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert!(!line.is_empty(), "{args:?} did not start");
    part
}

fn words(dir: &Path, text: &str) -> Vec<String> {
    let dir = dir.display().to_string();
    text.split_whitespace()
        .map(|word| word.replace("DIR", &dir))
        .collect()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn get(port: u16, request: &str) -> Option<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn scrape(port: u16) -> Option<String> {
    get(
        port,
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
}

async fn check(port: u16, service: &str) -> Option<String> {
    let mut client = HealthClient::connect_to(port).await?;
    let request = HealthCheckRequest {
        service: service.into(),
    };
    match client.check(request).await {
        Ok(answer) => Some(answer.get_ref().status().as_str_name().to_owned()),
        Err(status) => Some(format!("{:?}", status.code())),
    }
}

/// A client of a port of this machine.
trait ConnectTo: Sized {
    async fn connect_to(port: u16) -> Option<Self>;
}

impl ConnectTo for HealthClient<tonic::transport::Channel> {
    async fn connect_to(port: u16) -> Option<Self> {
        let endpoint = format!("http://127.0.0.1:{port}");
        let endpoint = tonic::transport::Endpoint::from_shared(endpoint).unwrap();
        Some(HealthClient::new(endpoint.connect().await.ok()?))
    }
}

/// Asks until the answer is as wanted; a minute is for a machine under load.
async fn until(what: &str, mut asked: impl AsyncFnMut() -> Option<String>, wanted: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    let mut last = None;
    while Instant::now() < end {
        last = asked().await;
        if last
            .as_deref()
            .is_some_and(|answer| answer.contains(wanted))
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: {last:?} instead of {wanted}");
}

#[tokio::test]
async fn probes_and_prometheus_see_the_driver_become_ready() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let dir = dir.path();
    for name in ["reg", "cdi", "bundles", "netns"] {
        std::fs::create_dir(dir.join(name)).unwrap();
    }
    let uplink = r#"[{"name": "eth0", "state": "up", "defaultRoute": true}]"#;
    std::fs::write(dir.join("interfaces"), uplink).unwrap();
    let _api = mock(&words(dir, "mock apiserver --kubeconfig DIR/kubeconfig"));
    let _cri = mock(&words(
        dir,
        "mock cri --socket DIR/cri.sock --cdi-dir DIR/cdi --state-dir DIR/bundles --netns-dir DIR/netns",
    ));
    let (health, metrics) = (free_port(), free_port());
    let mut driver = words(
        dir,
        "driver --node-name n --kubeconfig DIR/kubeconfig --registry-dir DIR/reg --plugin-dir \
         DIR/plugin --state-dir DIR/state --cdi-dir DIR/cdi --cri-socket DIR/cri.sock --cni exec \
         --cni-path DIR --cni-cache-dir DIR/cache --hook-path /bin/true --callback-socket \
         DIR/hook.sock --events-socket DIR/events.sock --interfaces-file DIR/interfaces \
         --health-ip 127.0.0.1 --metrics-ip 127.0.0.1",
    );
    driver.push(format!("--health-port={health}"));
    driver.push(format!("--metrics-port={metrics}"));
    let _driver = start(&driver);

    until("alive", async || check(health, "liveness").await, "SERVING").await;
    assert_eq!(check(health, "readiness").await.unwrap(), "NOT_SERVING");
    assert_eq!(check(health, "other").await.unwrap(), "NotFound");
    until("metrics", async || scrape(metrics), "ndra_registered 0").await;

    let _kubelet = mock(&words(
        dir,
        "mock kubelet --quick --node n --kubeconfig DIR/kubeconfig --registry DIR/reg --cri \
         DIR/cri.sock --checkpoint DIR/checkpoint",
    ));
    let ready = async || {
        check(health, "readiness")
            .await
            .filter(|answer| answer != "NOT_SERVING")
    };
    until("ready", ready, "SERVING").await;
    until("metrics", async || scrape(metrics), "ndra_registered 1").await;
    let page = scrape(metrics).unwrap();
    for line in [
        "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8",
        r#"ndra_devices{type="virtual",link="up"} 1"#,
        "ndra_published 1",
        "ndra_claims 0",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    assert!(page.ends_with("# EOF\n"), "{page}");
    let other = get(
        metrics,
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .unwrap();
    assert!(other.starts_with("HTTP/1.1 404"), "{other}");
    let post = get(
        metrics,
        "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(post.unwrap().starts_with("HTTP/1.1 405"));
    // The links go, and the next scrape says so.
    let down = uplink.replace("up\"", "down\"");
    std::fs::write(dir.join("interfaces"), down).unwrap();
    let wanted = r#"ndra_devices{type="virtual",link="down"} 1"#;
    until("metrics", async || scrape(metrics), wanted).await;
}
