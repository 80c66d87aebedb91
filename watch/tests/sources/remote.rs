//! Drivers on nodes and in pods, behind stand-ins for the programs that reach them.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use ndra_watch::source::Programs;

use super::*;

/// A directory of stand-in programs. Each notes how it was called in `calls`.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { dir: dir() }
    }

    /// Puts a program there. In `body`, `$DIR` is the directory.
    pub(crate) fn program(&self, name: &str, body: &str) -> &Self {
        let path = self.dir.path().join(name);
        let text = format!(
            "#!/bin/sh\nDIR='{}'\n\
             {{ printf '%s' {name}; for a; do printf ' [%s]' \"$a\"; done; echo; }} >>\"$DIR/calls\"\n\
             {body}\n",
            self.dir.path().display()
        );
        // Written by another process: a file that this one has open while a test beside it
        // forks cannot be executed.
        let mut writer = Command::new("sh")
            .args([
                "-c",
                "cat >\"$0.new\" && chmod 755 \"$0.new\" && mv \"$0.new\" \"$0\"",
            ])
            .arg(path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = writer.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        assert!(writer.wait().unwrap().success());
        self
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> &Self {
        let aside = self.dir.path().join(format!(".{name}"));
        fs::write(&aside, text).unwrap();
        fs::rename(&aside, self.dir.path().join(name)).unwrap();
        self
    }

    /// An engine that runs what it is told to run on the node, here.
    pub(crate) fn engine(&self, name: &str) -> &Self {
        self.program(
            name,
            "shift; [ \"$1\" = -i ] && shift; shift; p=$1; shift; exec \"$DIR/$p\" \"$@\"",
        )
        .program(
            "crictl",
            "case $1 in ps) exec cat \"$DIR/ps.json\";; exec) shift 3; p=$1; shift; exec \"$DIR/$p\" \"$@\";; esac",
        )
        .file("ps.json", PS)
    }

    pub(crate) fn options(&self, mut options: Options) -> Options {
        options.programs = Programs::in_dirs([self.dir.path().to_owned()]);
        options
    }

    pub(crate) fn calls(&self) -> String {
        let calls = fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
        calls.trim_end().to_owned()
    }
}

const PS: &str = r#"{"containers": [
    {"id": "0123abc", "metadata": {"name": "ndra"}, "createdAt": "2", "state": "CONTAINER_RUNNING"},
    {"id": "4567def", "metadata": {"name": "kindnet-cni"}, "createdAt": "1"}]}"#;

/// Events as they are there, and then silence until the other side closes.
const FOLLOW: &str = "cat \"$DIR/events\"; exec cat";

#[tokio::test]
async fn a_kind_node_is_entered_through_docker_and_crictl() {
    let bench = Bench::new();
    bench
        .engine("docker")
        .program("ndra", "cat \"$DIR/events\"")
        .file("events", &format!("\n{}", lines(1, 2)));
    let options = bench.options(Options::default());
    let told = Reader::open("kind://kind-worker", options).all().await;
    insta::assert_snapshot!(told, @"
    0 connecting the driver on node kind-worker (kind-worker)
    0 connected
    0 events 1 2 of [] on kind-worker, dropped 0
    0 ended
    ");
    insta::assert_snapshot!(bench.calls(), @"
    docker [exec] [kind-worker] [crictl] [ps] [-o] [json]
    crictl [ps] [-o] [json]
    docker [exec] [-i] [kind-worker] [crictl] [exec] [-i] [0123abc] [ndra] [events] [-o] [json] [--attached]
    crictl [exec] [-i] [0123abc] [ndra] [events] [-o] [json] [--attached]
    ndra [events] [-o] [json] [--attached]
    ");
}

#[tokio::test]
async fn podman_serves_where_docker_is_missing_or_knows_no_such_node() {
    let bench = Bench::new();
    bench
        .engine("podman")
        .program("ndra", "cat \"$DIR/events\"")
        .file("events", &lines(1, 1));
    let open = || {
        let options = bench.options(Options::default());
        Reader::open("kind://kind-worker/kindnet-cni", options)
    };
    let told = open().all().await;
    assert!(told.contains("events 1 of [] on kind-worker"), "{told}");
    bench.program("docker", "echo 'Error: no such container' >&2; exit 1");
    let told = open().all().await;
    assert!(told.contains("events 1 of [] on kind-worker"), "{told}");
    insta::assert_snapshot!(bench.calls(), @"
    podman [exec] [kind-worker] [crictl] [ps] [-o] [json]
    crictl [ps] [-o] [json]
    podman [exec] [-i] [kind-worker] [crictl] [exec] [-i] [4567def] [ndra] [events] [-o] [json] [--attached]
    crictl [exec] [-i] [4567def] [ndra] [events] [-o] [json] [--attached]
    ndra [events] [-o] [json] [--attached]
    docker [exec] [kind-worker] [crictl] [ps] [-o] [json]
    podman [exec] [kind-worker] [crictl] [ps] [-o] [json]
    crictl [ps] [-o] [json]
    podman [exec] [-i] [kind-worker] [crictl] [exec] [-i] [4567def] [ndra] [events] [-o] [json] [--attached]
    crictl [exec] [-i] [4567def] [ndra] [events] [-o] [json] [--attached]
    ndra [events] [-o] [json] [--attached]
    ");
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_event_and_begins_anew_in_another_life() {
    let bench = Bench::new();
    let life = |seq, life: &str| line(seq, seq, &format!(",\"instance\":\"{life}\"")) + "\n";
    // The first stream breaks off; the second repeats one event; then the driver is new.
    bench
        .engine("docker")
        .program(
            "ndra",
            "n=$(grep -c '^ndra ' \"$DIR/calls\"); cat \"$DIR/events.$n\"\n\
             [ $n = 3 ] && exec cat\n\
             echo 'ndra events: the driver ended the stream' >&2\n\
             echo 'command terminated with exit code 1' >&2; exit 1",
        )
        .file("events.1", &(life(4, "a") + &life(5, "a")))
        .file("events.2", &(life(5, "a") + &life(6, "a")))
        .file("events.3", &(life(1, "b") + "\n"));
    let mut options = bench.options(following());
    options.after = vec!["a:3".parse().unwrap(), "z:9".parse().unwrap()];
    let mut reader = Reader::open("kind://n1", options);
    let told = reader.until("0 events 1 of [b]").await;
    insta::assert_snapshot!(told, @"
    0 connecting the driver on node n1 (n1)
    0 connected
    0 events 4 5 of [a] on n1, dropped 0
    0 lost: docker: ndra events: the driver ended the stream
    0 connecting the driver on node n1 (n1)
    0 connected
    0 events 6 of [a] on n1, dropped 0
    0 lost: docker: ndra events: the driver ended the stream
    0 connecting the driver on node n1 (n1)
    0 connected
    0 events 1 of [b] on n1, dropped 0
    ");
    let calls = bench.calls();
    let calls: Vec<_> = calls.lines().filter(|c| c.starts_with("ndra")).collect();
    insta::assert_snapshot!(calls.join("\n"), @"
    ndra [events] [--follow] [-o] [json] [--attached] [--after=a:3] [--after=z:9]
    ndra [events] [--follow] [-o] [json] [--attached] [--after=a:5]
    ndra [events] [--follow] [-o] [json] [--attached] [--after=a:6]
    ");
    reader.0.stop().await;
}

#[tokio::test]
async fn programs_that_fail_are_quoted_and_missing_ones_named() {
    let bench = Bench::new();
    let once = |source: &'static str| {
        let options = bench.options(Options::default());
        Reader::open(source, options).all()
    };
    let mut told = vec![once("kind://n1").await, once("pod://ns/p").await];
    bench.program(
        "docker",
        "printf 'warning\\nno \\033[1mdaemon\\n\\n' >&2; exit 125",
    );
    told.push(once("kind://n1").await);
    bench.program("podman", "exit 3");
    told.push(once("kind://n1").await);
    bench.program("docker", "echo '{\"containers\": []}'");
    told.push(once("kind://n1").await);
    bench.program(
        "kubectl",
        "echo 'Error from server (NotFound): pods \"p\" not found' >&2; exit 1",
    );
    told.push(once("pod://ns/p").await);
    bench.program("kubectl", "echo '[]'");
    told.push(once("pod://ns/p").await);
    insta::assert_snapshot!(told.join("\n"), @r#"
    0 connecting the driver on node n1 (n1)
    0 failed: neither docker nor podman is on PATH: install the one that runs the node
    0 connecting pod ns/p (-)
    0 failed: kubectl is not on PATH: install it, or read another source
    0 connecting the driver on node n1 (n1)
    0 failed: docker: no  [1mdaemon
    0 connecting the driver on node n1 (n1)
    0 failed: docker: no  [1mdaemon; podman ended with exit status: 3 and said nothing
    0 connecting the driver on node n1 (n1)
    0 failed: node n1 has no running container named ndra, ndra-driver or network-dra (none runs): name the driver's with kind://NODE/CONTAINER
    0 connecting pod ns/p (-)
    0 failed: kubectl: Error from server (NotFound): pods "p" not found
    0 connecting pod ns/p (-)
    0 failed: kubectl answered with something else: invalid length 0, expected struct Pod with 3 elements at line 1 column 2
    "#);
}

#[tokio::test]
async fn a_program_that_hangs_or_falls_silent_is_given_up() {
    let bench = Bench::new();
    let mut options = bench.options(following());
    options.pace.answer = Duration::from_millis(100);
    bench.program("docker", "sleep 60");
    let mut reader = Reader::open("kind://n1", options.clone());
    assert_eq!(
        reader.until("0 lost").await,
        "0 connecting the driver on node n1 (n1)\n0 lost: docker did not answer within 0.1 s"
    );
    reader.0.stop().await;
    bench
        .engine("docker")
        .program("ndra", FOLLOW)
        .file("events", &lines(1, 1));
    options.pace.answer = PATIENCE;
    options.pace.quiet = Duration::from_millis(300);
    let mut reader = Reader::open("kind://n1", options);
    let told = reader.until("0 lost").await;
    assert!(
        told.ends_with("dropped 0\n0 lost: nothing was heard for 0.3 s"),
        "{told}"
    );
    reader.0.stop().await;
}

#[tokio::test]
async fn no_program_outlives_the_feed() {
    for stop in [true, false] {
        let bench = Bench::new();
        let pipe = bench.dir.path().join("alive");
        let made = Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        // A helper in the background holds the pipe, too, and does not listen to anybody.
        bench
            .engine("docker")
            .program(
                "ndra",
                "exec 3>\"$DIR/alive\"; echo $$ >\"$DIR/pid\"; sleep 600 & cat \"$DIR/events\"; exec sleep 600",
            )
            .file("events", &lines(1, 1));
        let (tell, ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut pipe = fs::File::open(pipe).unwrap();
            let _ = tell.send(std::io::Read::read_to_end(&mut pipe, &mut Vec::new()));
        });
        let mut reader = Reader::open("kind://n1", bench.options(following()));
        assert_eq!(reader.seqs(1).await, [1]);
        let pid = fs::read_to_string(bench.dir.path().join("pid")).unwrap();
        if stop {
            tokio::time::timeout(PATIENCE, reader.0.stop())
                .await
                .unwrap();
            let process = format!("/proc/{}", pid.trim());
            assert!(!Path::new(&process).exists(), "not waited for");
        } else {
            drop(reader);
        }
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        ended.expect("something lives on").unwrap().unwrap();
    }
}
