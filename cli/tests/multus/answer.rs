//! One answer of a daemon, in a form that does not change from run to run.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Where a daemon is asked, and for which pod.
pub(crate) struct Side {
    /// Its pod's namespace, and the name of its directory.
    pub(crate) name: &'static str,
    pub(crate) dir: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) uid: String,
    pub(crate) answers: Vec<(String, Value)>,
    /// The directories that it searches for plugins, as errors show them.
    pub(crate) plugins: String,
}

impl Side {
    pub(crate) fn netns(&self) -> PathBuf {
        self.dir.join("netns")
    }

    /// A request to `/delegate`; `change` spoils it.
    pub(crate) async fn delegate(
        &mut self,
        name: &str,
        command: &str,
        config: Value,
        change: impl FnOnce(&mut Value),
    ) {
        let text = config
            .to_string()
            .replace("/node", self.dir.to_str().unwrap());
        let mut request = json!({
            "env": {
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": "sandbox1",
                "CNI_NETNS": self.netns(),
                "CNI_IFNAME": "net1",
                "CNI_ARGS": format!("K8S_POD_NAMESPACE={};K8S_POD_NAME=web;K8S_POD_UID={}", self.name, self.uid),
            },
            "config": STANDARD.encode(text),
        });
        change(&mut request);
        let body = request
            .to_string()
            .replace("/node", self.dir.to_str().unwrap());
        self.raw(name, "POST", "/delegate", body.as_bytes()).await;
    }

    pub(crate) async fn raw(&mut self, name: &str, method: &str, path: &str, body: &[u8]) {
        let answer = self.ask(method, path, body).await;
        self.answers.push((name.to_owned(), answer));
    }

    async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Value {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: dummy\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let Some((head, body)) = answer.split_once("\r\n\r\n") else {
            return json!("the connection is closed without an answer");
        };
        let mut lines = head.lines();
        let code = lines.next().unwrap().split(' ').nth(1).unwrap();
        let mut headers: Vec<String> = lines
            .map(str::to_lowercase)
            .filter(|line| !line.starts_with("date:") && !line.starts_with("content-length:"))
            .collect();
        headers.sort();
        let body: Value = match serde_json::from_str::<Value>(body) {
            Ok(mut json) => {
                hide_macs(&mut json);
                let text = self.stable(&json.to_string());
                serde_json::from_str(&text).unwrap()
            }
            Err(_) => self.stable(body).into(),
        };
        json!({"code": code.parse::<u16>().unwrap(), "headers": headers, "body": body})
    }

    fn stable(&self, text: &str) -> String {
        text.replace(self.dir.to_str().unwrap(), "/node")
            .replace(&self.uid, "UID")
            .replace(&format!("[{}]", self.plugins), "[PLUGINS]")
            .replace(
                &format!("K8S_POD_NAMESPACE={}", self.name),
                "K8S_POD_NAMESPACE=ns",
            )
            .replace(&format!("[{}/", self.name), "[ns/")
            .replace(&format!("namespace: {}", self.name), "namespace: ns")
    }
}

/// Addresses that the kernel chose; one that was asked for stays.
fn hide_macs(answer: &mut Value) {
    for interface in answer["Result"]["interfaces"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        if interface["mac"] != "02:00:00:00:00:07" {
            interface["mac"] = "MAC".into();
        }
    }
}
