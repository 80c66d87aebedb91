//! Measures how long the hook holds a container back when the driver answers at
//! once, against `/bin/true`. `scripts/bench-hook` runs it with the shipped program.
//!
//! Usage: `bench-start HOOK`. The last line is the ratio; exit status 1 when it is
//! over the limit, 2 when it could not be measured.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::runtime::Builder;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

#[allow(missing_docs, unreachable_pub)] // Generated.
mod proto {
    include!(concat!(env!("OUT_DIR"), "/driver/ndra.callback.v1.rs"));
}

use proto::callback_server::{Callback, CallbackServer};
use proto::{CreateContainerRequest, CreateContainerResponse};

const LIMIT: f64 = 3.0;
/// In turn, so that whatever else the machine does hits both programs alike.
const ROUNDS: usize = 20;
const SPAWNS: usize = 25;

/// As containerd with runc writes it.
const STATE: &str = r#"{"ociVersion":"1.3.0","id":"9b1d","status":"creating","pid":4711,"bundle":"/run/containerd/io.containerd.runtime.v2.task/k8s.io/9b1d","annotations":{"io.kubernetes.cri.container-name":"app","io.kubernetes.cri.container-type":"container","io.kubernetes.cri.image-name":"app:1","io.kubernetes.cri.sandbox-id":"77aa","io.kubernetes.cri.sandbox-name":"pod","io.kubernetes.cri.sandbox-namespace":"default","io.kubernetes.cri.sandbox-uid":"0d4f5a3c-54a4-4c8f-8f60-0a52a54ee6f1"}}"#;

/// A driver that has nothing to do.
struct Idle;

#[tonic::async_trait]
impl Callback for Idle {
    async fn create_container(
        &self,
        _: Request<CreateContainerRequest>,
    ) -> Result<Response<CreateContainerResponse>, Status> {
        Ok(Response::new(CreateContainerResponse {}))
    }
}

fn main() -> ExitCode {
    let Some(hook) = std::env::args_os().nth(1) else {
        eprintln!("usage: bench-start HOOK");
        return ExitCode::from(2);
    };
    match measure(Path::new(&hook)) {
        Ok(ratio) if ratio <= LIMIT => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-start: {error}");
            ExitCode::from(2)
        }
    }
}

fn measure(hook: &Path) -> Result<f64, Box<dyn Error>> {
    let room = tempfile::Builder::new().prefix("nd").tempdir_in("/tmp")?;
    let socket = room.path().join("hook.sock");
    let state = room.path().join("state.json");
    File::create(&state)?.write_all(STATE.as_bytes())?;

    // Lives until the end of this function.
    let driver = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let listener = driver.block_on(async { UnixListener::bind(&socket) })?;
    driver.spawn(
        tonic::transport::Server::builder()
            .add_service(CallbackServer::new(Idle))
            .serve_with_incoming(UnixListenerStream::new(listener)),
    );

    let program = ["/bin/true", "/usr/bin/true"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .ok_or("there is neither /bin/true nor /usr/bin/true to compare with")?;
    let mut idle = Command::new(program);
    let mut hook = Command::new(hook);
    hook.args(["--claim-uid", "5c9f3e2a-8d51-4c06-9d0a-3f1f5d1c7b11"])
        .arg("--socket")
        .arg(&socket);

    // The first runs pay for the page cache.
    spawn(&mut idle, &state)?;
    spawn(&mut hook, &state)?;
    let (mut idle_times, mut hook_times) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for _ in 0..SPAWNS {
            idle_times.push(spawn(&mut idle, &state)?);
        }
        for _ in 0..SPAWNS {
            hook_times.push(spawn(&mut hook, &state)?);
        }
    }
    let (idle, hook) = (median(idle_times), median(hook_times));
    let ratio = hook.as_secs_f64() / idle.as_secs_f64();
    let count = ROUNDS * SPAWNS;
    println!("true: {} µs (median of {count})", idle.as_micros());
    println!("hook: {} µs (median of {count})", hook.as_micros());
    println!("hook / true: {ratio:.2}x (limit {LIMIT:.1}x)");
    Ok(ratio)
}

/// From before the fork to after the wait.
fn spawn(command: &mut Command, state: &Path) -> Result<Duration, Box<dyn Error>> {
    command.stdin(File::open(state)?).stdout(Stdio::null());
    let began = Instant::now();
    let status = command.env_clear().status()?;
    let took = began.elapsed();
    if !status.success() {
        let program = command.get_program().display();
        return Err(format!("{program} ended with {status}, so its time means nothing").into());
    }
    Ok(took)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
