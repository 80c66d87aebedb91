//! An ADD whose end nobody knows, because Multus went away in it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use ndra_core::attachment::State;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::task::AbortOnDropHandle;

use crate::world::{World, claim, dir};

const ADDED: &str = r#"{"Result":{"cniVersion":"1.1.0","interfaces":[{"name":"net1","mac":"02:00:00:00:00:01","sandbox":"/n"}],"ips":[{"address":"10.0.0.5/24","interface":0}]}}"#;
const TAKEN: &str = "DelegateAdd: cannot set \"\" interface name to \"net1\": validateIfName: interface name net1 already exists";

/// What a daemon does with a request.
#[derive(Clone, Copy)]
enum Answer {
    /// It dies over it.
    Nothing,
    Ok(&'static str),
    Refusal(&'static str),
}

/// A daemon that does these things in order, and the commands that came.
struct Daemon {
    commands: Arc<Mutex<Vec<String>>>,
    _server: AbortOnDropHandle<()>,
}

impl Daemon {
    fn start(dir: &Path, answers: Vec<Answer>) -> Self {
        let listener = UnixListener::bind(dir.join("multus.sock")).unwrap();
        let commands = Arc::new(Mutex::new(Vec::new()));
        let seen = commands.clone();
        let server = tokio::spawn(async move {
            for answer in answers {
                let (stream, _) = listener.accept().await.unwrap();
                let command = serve(stream, answer).await;
                seen.lock().unwrap().push(command);
            }
        });
        Self {
            commands,
            _server: AbortOnDropHandle::new(server),
        }
    }

    fn commands(&self) -> Vec<String> {
        self.commands.lock().unwrap().drain(..).collect()
    }
}

/// Answers one request; returns its command.
async fn serve(mut stream: UnixStream, answer: Answer) -> String {
    let mut text = String::new();
    let command = loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await.unwrap();
        assert!(count > 0, "the request broke off: {text}");
        text += std::str::from_utf8(&part[..count]).unwrap();
        let Some((_, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        if let Ok(body) = serde_json::from_str::<serde_json::Value>(body) {
            break body["env"]["CNI_COMMAND"].as_str().unwrap().to_owned();
        }
    };
    let (status, body) = match answer {
        Answer::Nothing => return command,
        Answer::Ok(body) => ("200 OK", body),
        Answer::Refusal(body) => ("400 Bad Request", body),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    command
}

fn attaching(world: &World) -> bool {
    let record = world.record();
    let state = &record.claims["c1"].attachments[0].state;
    matches!(state, State::Attaching { .. })
}

/// Its plugin goes on and makes the interface after a DEL: that is no stranger's, and is
/// cleared away until an ADD comes through.
#[tokio::test]
async fn what_a_lost_add_makes_late_is_the_drivers_to_remove() {
    let dir = dir();
    let daemon = Daemon::start(
        dir.path(),
        vec![
            Answer::Nothing,
            Answer::Ok(""),
            // The second try.
            Answer::Ok(""),
            Answer::Refusal(TAKEN),
            Answer::Ok(""),
            // The third.
            Answer::Ok(""),
            Answer::Ok(ADDED),
        ],
    );
    let world = World::at(dir, "boot-1").await;
    world.api.put_claim(claim("c1", Some("net1"), &["p1"]));
    world.sandboxes.run("s1", "p1");
    world.prepare("c1").await;

    let lost = world.attach("c1", "s1").await.unwrap_err();
    insta::assert_snapshot!(lost, @"claim default/claim-c1: net1 could not be attached to pod default/pod-p1: Multus closed the connection before it answered ADD of net1 for pod default/pod-p1 on network `lan`: its daemon was ended, or failed over the request and says so in its log on this node; the driver undoes what was begun as soon as Multus answers, and the next start of the container makes the interface");
    assert_eq!(daemon.commands(), ["ADD", "DEL"]);
    assert!(attaching(&world), "the DEL may have come too early");

    let taken = world.attach("c1", "s1").await.unwrap_err();
    assert!(taken.contains("already exists"), "{taken}");
    assert_eq!(daemon.commands(), ["DEL", "ADD", "DEL"]);
    assert!(attaching(&world), "it may come later still");

    world.attach("c1", "s1").await.unwrap();
    assert_eq!(daemon.commands(), ["DEL", "ADD"]);
    assert!(!attaching(&world));
}

/// Without such an ADD before, it is somebody else's, and stays.
#[tokio::test]
async fn an_interface_that_was_there_is_left_alone() {
    let dir = dir();
    let daemon = Daemon::start(dir.path(), vec![Answer::Refusal(TAKEN)]);
    let world = World::at(dir, "boot-1").await;
    world.api.put_claim(claim("c1", Some("net1"), &["p1"]));
    world.sandboxes.run("s1", "p1");
    world.prepare("c1").await;
    let taken = world.attach("c1", "s1").await.unwrap_err();
    assert!(taken.contains("already exists"), "{taken}");
    assert_eq!(daemon.commands(), ["ADD"], "no DEL");
    assert!(!attaching(&world));
}
