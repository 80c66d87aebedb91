//! What `c` puts on the clipboard: whole, and fit for another program.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::Model;
use super::action::Screen;
use super::flow::Flow;
use super::tree::{Format, Writer};
use super::why::Why;

impl Model {
    /// The selected step with its payload on the screens that show it, as one document of
    /// JSON or YAML; elsewhere the selected flow, in words.
    pub(super) fn copied(&self) -> Option<String> {
        let flow = self.selected()?;
        if !matches!(self.look.screen, Screen::Timeline | Screen::Detail) {
            return Some(self.in_words(flow));
        }
        let document = Value::Object(self.document(flow));
        Some(match self.look.format {
            Format::Json => format!("{document:#}\n"),
            Format::Yaml => {
                let none = HashSet::new();
                let mut out = Writer {
                    format: Format::Yaml,
                    toggled: &none,
                    open: u16::MAX,
                    revealed: &none,
                    lines: Vec::new(),
                    seek: None,
                };
                out.document(&document);
                let lines = out.lines.iter().map(|line| line.text() + "\n");
                lines.collect()
            }
        })
    }

    fn document(&self, flow: &Flow) -> Map<String, Value> {
        let claim = json!({
            "namespace": &*flow.namespace, "name": &*flow.claim, "uid": &*flow.uid,
        });
        let mut all = Map::from_iter([("claim".to_owned(), claim)]);
        let detail = self.detail();
        let mut put = |key: &str, value: Value| {
            all.insert(key.to_owned(), value);
        };
        for (key, value) in &detail.subject {
            put(key, json!(value));
        }
        if let Some(step) = detail.step {
            put("step", json!(step.to_string()));
        }
        if let Some((error, _)) = &detail.failure {
            put("error", json!(error));
        }
        let Some(bar) = detail.bar else { return all };
        for (key, bytes) in self.payloads(bar) {
            // What is no JSON is copied as it came.
            let value = serde_json::from_slice(bytes)
                .unwrap_or_else(|_| json!(String::from_utf8_lossy(bytes)));
            put(key, value);
        }
        all
    }

    fn in_words(&self, flow: &Flow) -> String {
        let mut words = format!("claim {}/{} {}\n", flow.namespace, flow.claim, flow.uid);
        for pod in &flow.pods {
            words.push_str(&format!("pod {pod}\n"));
        }
        for address in flow.interfaces() {
            words.push_str(&format!("{} {}\n", address.interface, address.ips));
        }
        if let Why::Failed { step, error, .. } = self.why() {
            words.push_str(&format!("{step} failed: {error}\n"));
        }
        words
    }
}
