//! `ndra simulate` as its users see it: the page, the JSON lines, the recording, the exit
//! codes, and that nothing stays behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod real;

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ndra_core::event::{Event, Phase};
use serde_json::Value;

fn ndra(args: &[&str]) -> Command {
    with_timeout(args, "60s")
}

fn with_timeout(args: &[&str], timeout: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ndra"));
    command
        .arg("simulate")
        .args(args)
        .args(["--timeout", timeout])
        // The same on every machine.
        .args(["--netns", "virtual"])
        .env("LC_ALL", "C.UTF-8")
        .env_remove("NO_COLOR");
    command
}

fn text(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Numbers and identifiers that differ between runs.
fn stable() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r" +\d+(\.\d+)? (µs|us|ms|s)\b", " TIME");
    settings.add_filter(
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "UID",
    );
    settings.add_filter(r"[0-9a-f]{8}…", "UID…");
    settings.add_filter(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", "MAC");
    settings.add_filter(r"/tmp/ndra\.\w{6}", "/tmp/ndra.XXXXXX");
    settings
}

#[test]
fn the_shipped_pod_takes_twelve_steps() {
    let (code, out, err) = text(&mut ndra(&[]));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    assert!(!out.contains('\x1b'), "colour in a pipe");
    stable().bind(|| {
        insta::assert_snapshot!(out, @r"
    ndra simulate examples/pod.yaml
    containerd (runc) · kubelet DRA v1 · Multus (recorded) · node laptop

      #  step             who calls whom           at      took
      1  prepare          kubelet → driver TIME TIME  claim net1
      2  cdi-write        driver → cdi TIME TIME  UID….json
      3  prepared         driver → kubelet TIME TIME  claim=UID…
      4  create-container kubelet → runtime TIME TIME  container web
      5  hook             runtime → hook TIME TIME  exit 0
      6  callback         hook → driver TIME TIME  claim net1
      7  sandbox-lookup   driver → runtime TIME TIME  cni-UID…
      8  cni-add          driver → multus TIME TIME  net1 10.10.1.2/24
      9  status           driver → api TIME TIME  Ready=True
     10  unprepare        kubelet → driver TIME TIME  claim net1
     11  cni-del          driver → multus TIME TIME  net1
     12  cdi-remove       driver → cdi TIME TIME  UID….json

    default/web  net1  MAC  10.10.1.2/24

    nothing left behind
      ✓ 0 CDI specs             ✓ 0 interfaces            ✓ 0 addresses
      ✓ 0 driver records        ✓ 0 prepared claims       ✓ 0 sandboxes
      ✓ 0 network namespaces    ✓ 0 claims                ✓ 0 ResourceSlices
      ✓ 0 sockets

    ok: 1 pod, 1 attachment, 12 steps in TIME
    ")
    });
}

#[test]
fn json_lines_and_the_recording_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("run.jsonl");
    let (code, out, err) = text(&mut ndra(&[
        "-o",
        "json",
        "--record",
        record.to_str().unwrap(),
    ]));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(std::fs::read_to_string(&record).unwrap(), out);
    let mut lines: Vec<&str> = out.lines().collect();
    let summary: Value = serde_json::from_str(lines.pop().unwrap()).unwrap();
    let events: Vec<Event> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 24);
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.seq, index as u64 + 1);
        assert_eq!(event.number, event.step.number());
        assert_eq!(event.duration_us.is_some(), event.phase != Phase::Begin);
    }
    assert!(events.is_sorted_by_key(|event| event.time));
    assert!(events.is_sorted_by_key(|event| event.elapsed_us));
    let summary = &summary["summary"];
    assert_eq!(summary["schema"], 1);
    assert_eq!(summary["ok"], true);
    assert_eq!(summary["pods"], 1);
    assert_eq!(summary["attachments"], 1);
    assert_eq!(summary["leaks"], serde_json::json!([]));
    assert!(summary["wall_us"].as_u64().unwrap() >= events[23].elapsed_us);
    let steps = summary["steps"].as_object().unwrap();
    assert_eq!(steps.len(), 12);
    assert!(steps.values().all(|step| step["count"] == 1));
}

#[test]
fn copies_get_addresses_of_their_own() {
    let (code, out, _) = text(&mut ndra(&["--pods", "3", "--parallel", "2", "-o", "json"]));
    assert_eq!(code, Some(0), "{out}");
    let mut addresses: Vec<String> = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["step"] == "cni-add" && event["phase"] == "end")
        .map(|event| event["detail"]["ips"][0].as_str().unwrap().to_owned())
        .collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 3, "{out}");
}

#[test]
fn many_pods_become_statistics() {
    let (code, out, err) = text(&mut ndra(&["--pods", "6"]));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("count       p50       p99       max"), "{out}");
    assert!(
        out.contains("ok: 6 pods, 6 attachments, 72 steps in "),
        "{out}"
    );
    assert!(out.lines().count() < 40, "{out}");
}

/// The page's end of a run of the shipped pod, changed so that it fails.
fn failing(from: &str, to: &str) -> String {
    let example = include_str!("../../examples/pod.yaml");
    assert!(example.contains(from));
    let mut child = ndra(&["-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    write(&mut child, &example.replace(from, to));
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    let end = out.split("\nno pod got an interface").nth(1);
    end.unwrap_or(&out).trim_start().to_owned()
}

#[test]
fn a_flow_that_fails_says_where_and_leaves_nothing() {
    let end = failing("master: eth0", "master: eth7");
    let mut settings = stable();
    settings.add_filter(r"\d+ steps", "N steps");
    settings.bind(|| {
        insta::assert_snapshot!(end, @r#"
        nothing left behind
          ✓ 0 CDI specs             ✓ 0 interfaces            ✓ 0 addresses
          ✓ 0 driver records        ✓ 0 prepared claims       ✓ 0 sandboxes
          ✓ 0 network namespaces    ✓ 0 claims                ✓ 0 ResourceSlices
          ✓ 0 sockets

        ✗  pod default/web did not start after 3 tries: prepare failed: ResourceClaim
           default/net1: spec.devices.config[0].opaque.parameters.config: master is
           "eth7", but the allocated device is eth0; leave master out to take the
           allocated one, or select the wanted one: device.attributes[DRIVER].name ==
           NAME in a CEL selector of the request or its class
        failed: 1 pod, 0 attachments, N steps in TIME
        "#)
    });
}

/// Without Multus, what a network holds cannot be given back.
#[test]
fn what_is_left_behind_is_named() {
    let out = run_scenario("- stop-multus: {}\n");
    let end = out.find("left behind").map(|at| &out[at..]).unwrap();
    let mut settings = stable();
    settings.add_filter(r"\d+ steps", "N steps");
    settings.bind(|| {
        insta::assert_snapshot!(end, @r"
    left behind
      ✓ 0 CDI specs             ✓ 0 interfaces            ✓ 0 prepared claims
      ✓ 0 sandboxes             ✓ 0 network namespaces    ✓ 0 claims
      ✓ 0 ResourceSlices        ✓ 0 sockets
      ✗ 1 addresses
         │ 10.10.1.2 of network net1 (net1)
      ✗ 1 driver records
         │ orphan net1 of default/web: cannot reach
         │ /tmp/ndra.XXXXXX/run/multus.sock: No such file or directory (usually the
         │ Multus daemon (thick plugin) listens there; is it running?)

    failed: 1 pod, 1 attachment, N steps in TIME
    ")
    });
}

#[test]
fn colour_is_for_terminals_and_can_be_forced() {
    let (_, out, _) = text(ndra(&[]).env("CLICOLOR_FORCE", "1"));
    assert!(out.contains('\x1b'));
    let (_, out, _) = text(ndra(&[]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1"));
    assert!(!out.contains('\x1b'));
}

#[test]
fn other_locales_get_ascii() {
    let (code, out, _) = text(ndra(&[]).env("LC_ALL", "C"));
    assert_eq!(code, Some(0));
    assert!(out.is_ascii(), "{out}");
}

#[test]
fn a_reader_that_goes_away_does_not_hurt() {
    let mut child = ndra(&["-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_kept_directory_holds_the_log_and_no_sockets() {
    let (code, out, err) = text(&mut ndra(&["--keep"]));
    assert_eq!(code, Some(0), "{out}");
    let path = err.trim().strip_prefix("kept ").unwrap();
    let directory = Kept(Path::new(path));
    let log = std::fs::read_to_string(directory.0.join("logs/driver.log")).unwrap();
    assert!(log.contains("registered with the kubelet"), "{log}");
    assert_eq!(
        std::fs::read_dir(directory.0.join("run")).unwrap().count(),
        0
    );
}

/// Every line that is not about the driver as a whole says which claim it is about, those of
/// the background that releases what could not be released before included.
#[test]
fn each_line_of_a_log_in_json_has_its_claim() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log.yaml");
    // Attaching fails once, and so often does detaching that the background takes it over.
    let scenario = "name: log\ntitle: t\nmanifests: [../manifests/net1.yaml, ../manifests/web.yaml]\n\
        driver: [--log-format=json, --log=debug, --del-attempts=1]\n\
        actions:\n\
        - fail-multus: {command: ADD, times: 1, error: no room}\n\
        - apply: [web]\n\
        - wait: {pod: web, ready: true}\n\
        - fail-multus: {command: DEL, times: 1, error: not now}\n\
        - delete-pod: web\n\
        - wait: {pod: web, gone: true}\n\
        - wait: {orphans: 0}\n\
        expect: {steps: {cni-del: {end: 2, fail: 1}}}\n";
    std::fs::write(&file, scenario).unwrap();
    let args = ["--keep", "--scenario", file.to_str().unwrap()];
    let (code, out, err) = text(&mut ndra(&args));
    assert_eq!(code, Some(0), "{out}{err}");
    let kept = Kept(Path::new(err.trim().strip_prefix("kept ").unwrap()));
    let log = std::fs::read_to_string(kept.0.join("logs/driver.log")).unwrap();
    let mut told = std::collections::BTreeSet::new();
    let mut of_claim = std::collections::BTreeSet::new();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let message = line["message"].as_str().unwrap_or_default().to_owned();
        if !line["target"].as_str().unwrap().starts_with("ndra_core") {
            continue;
        }
        let uid = line["claim"].as_str().or(line["span"]["uid"].as_str());
        match uid {
            Some(uid) => {
                assert_eq!(uid.len(), 36, "{line}");
                of_claim.insert(message);
            }
            None => {
                told.insert(message);
            }
        }
    }
    insta::assert_debug_snapshot!((of_claim, told));
}

/// Interrupted in the middle: the driver's process must not outlive the run.
#[test]
#[cfg(target_os = "linux")]
fn an_interrupt_ends_the_driver() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wait.yaml");
    let scenario = "name: wait\ntitle: Waits for what never comes\n\
                    actions: [{wait: {orphans: 1}}]\n";
    std::fs::write(&file, scenario).unwrap();
    let mut child = ndra(&["--keep", "--scenario", file.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let driver = driver_of(&mut child);
    let pid = i32::try_from(child.id()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut err = String::new();
    let mut stderr = child.stderr.take().unwrap();
    std::io::Read::read_to_string(&mut stderr, &mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{err}");
    assert!(err.contains("interrupted"), "{err}");
    let kept = err
        .lines()
        .find_map(|line| line.strip_prefix("kept "))
        .unwrap();
    let _kept = Kept(Path::new(kept));
    let driver = rustix::process::Pid::from_raw(driver).unwrap();
    assert!(real::ended(driver), "it lives");
}

/// However a run is cut short, its directory goes and its recording says so.
#[test]
#[cfg(target_os = "linux")]
fn a_run_that_is_cut_short_leaves_a_summary_and_no_directory() {
    use rustix::process::{Pid, Signal, kill_process};
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let dir = tempfile::Builder::new()
            .prefix("nd")
            .tempdir_in("/tmp")
            .unwrap();
        let file = dir.path().join("wait.yaml");
        let scenario = "name: wait\ntitle: Waits for what never comes\n\
                        actions: [{wait: {orphans: 1}}]\n";
        std::fs::write(&file, scenario).unwrap();
        let record = dir.path().join("run.jsonl");
        let (file, to) = (file.to_str().unwrap(), record.to_str().unwrap());
        let mut child = ndra(&["--scenario", file, "--record", to])
            .env("TMPDIR", dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        driver_of(&mut child);
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{signal:?}");
        let left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("ndra."))
            .collect();
        assert!(left.is_empty(), "{signal:?}: {left:?}");
        let recorded = std::fs::read_to_string(&record).unwrap();
        let last: Value = serde_json::from_str(recorded.lines().last().unwrap()).unwrap();
        assert_eq!(last["summary"]["ok"], false, "{last}");
        assert_eq!(last["summary"]["failures"][0], "interrupted", "{last}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_is_lost_is_a_failure() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = ndra(&["-o", "json"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("standard output took not everything"), "{err}");
}

struct Kept<'a>(&'a Path);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0);
    }
}

fn write(child: &mut Child, text: &str) {
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
}

#[cfg(target_os = "linux")]
/// The process that `child` runs the driver in, once it is there.
fn driver_of(child: &mut Child) -> i32 {
    let tasks = format!("/proc/{}/task", child.id());
    while child.try_wait().unwrap().is_none() {
        let children: String = std::fs::read_dir(&tasks)
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok())
            .collect();
        if let Some(driver) = children.split_whitespace().next() {
            return driver.parse().unwrap();
        }
        std::thread::yield_now();
    }
    panic!("the run ended before it had a driver");
}

/// What is shown of a scenario that fails: the shipped pod is ready, then comes `rest`.
fn run_scenario(rest: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.yaml");
    let actions = "actions:\n- apply: [web]\n- wait: {pod: web, ready: true}\n";
    let scenario = format!(
        "name: s\ntitle: t\nmanifests: [../manifests/net1.yaml, ../manifests/web.yaml]\n{actions}{rest}"
    );
    std::fs::write(&file, scenario).unwrap();
    let args = ["--scenario", file.to_str().unwrap()];
    let (code, out, _) = text(&mut with_timeout(&args, "10s"));
    assert_eq!(code, Some(1), "{out}");
    out
}

/// What a scenario says that does not hold.
fn unmet(rest: &str) -> String {
    let out = run_scenario(rest);
    let unmet = out.lines().skip_while(|line| !line.starts_with('✗'));
    let unmet: Vec<&str> = unmet
        .take_while(|line| !line.starts_with("failed:"))
        .collect();
    unmet.join("\n")
}

#[test]
fn a_scenario_that_does_not_hold_fails_and_says_why() {
    let end = "expect:\n  steps: {cni-add: {end: 2}, hook: {end: 0, fail: 1}}\n  \
               order: [{step: cni-add}, {step: prepare}]\n  pods: {web: Running}\n  \
               errors: [{step: hook, contains: [x]}]\n  orphans: 1\n";
    insta::assert_snapshot!(unmet(end), @r"
    ✗  hook ended 1 and failed 0 times, not 0 and 1
    ✗  cni-add ended 1 and failed 0 times, not 2 and 0
    ✗  prepare end did not come after what stands before it in `order`
    ✗  pod default/web is gone, not Running
    ✗  no error of hook contains x; there are: 
    ✗  0 attachments wait to be released, not 1
    ");
    let check = "- check:\n    interfaces: [{pod: web, name: net1, addresses: [10.10.1.3/24]}]\n    \
                 claims: [{claim: net1, ready: \"False\", devices: 2}]\n    \
                 events: [{pod: web, reason: Nothing}]\n";
    // A check is waited for: it needs not hold at once.
    let mut settings = stable();
    settings.add_filter(r"there are:(.|\n)*", "there are: …");
    settings.bind(|| {
        insta::assert_snapshot!(unmet(check), @r#"
    ✗  the interfaces are default/web net1 [10.10.1.2/24]; claim default/net1 has 1
       devices with a status, not 2; claim default/net1 has Ready=["True"], not
       False; no Event Nothing on pod default/web contains []; there are: …
    "#)
    });
}
