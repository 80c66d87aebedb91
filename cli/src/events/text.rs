//! One calm line for each event.

use std::fmt::Write;

use ndra_core::event::{Event, Phase};

use super::unseen::is_unseen;
use super::until::Claims;
use crate::report::{BAD, DIM, GOOD, Look, fact, paint};

/// Columns for names grow with the longest name, up to here.
const WIDEST: usize = 40;
/// Characters of an error or a fact that are shown.
const LONGEST: usize = 400;

/// Writes events as lines whose columns stand below each other.
pub(crate) struct Lines {
    look: Look,
    nodes: bool,
    node: usize,
    pod: usize,
    claim: usize,
}

impl Lines {
    /// Lines for this terminal. With `nodes`, events may come from several: their column
    /// appears with the first that names one.
    pub(crate) fn new(look: Look, nodes: bool) -> Self {
        Self {
            look,
            nodes,
            node: 0,
            pod: 11,
            claim: 8,
        }
    }

    /// The event's line, with its line feed.
    pub(crate) fn line(&mut self, event: &Event, node: Option<&str>, claims: &Claims) -> String {
        let look = self.look;
        let mut text = String::new();
        let time = event.time.strftime("%H:%M:%S%.6f");
        let _ = write!(text, "{}  ", paint(DIM, time));
        if self.nodes && (node.is_some() || self.node > 0) {
            let _ = write!(
                text,
                "{}  ",
                column(look, node.unwrap_or("-"), &mut self.node)
            );
        }
        let took = match event.duration_us {
            Some(took) => look.duration(took),
            None => String::new(),
        };
        let phase = match event.phase {
            Phase::Begin => DIM,
            Phase::End => GOOD,
            Phase::Fail => BAD,
        };
        let claim = match claims.claim(event) {
            Some(claim) if !claim.name.is_empty() => claim.name.clone(),
            Some(claim) => claim.uid.chars().take(8).collect(),
            None => "-".into(),
        };
        let pod = claims.pod(event).unwrap_or("-");
        let _ = write!(
            text,
            "{:>2} {:<16}  {}  {took:>8}  {}  {}  ",
            event.step.number(),
            event.step,
            paint(phase, format!("{:<5}", event.phase)),
            column(look, pod, &mut self.pod),
            column(look, &claim, &mut self.claim),
        );
        let last = match event.phase {
            Phase::Begin => String::new(),
            Phase::End => {
                let fact = fact(event);
                // The claim has its own column.
                if fact.starts_with("claim ") {
                    String::new()
                } else {
                    fact
                }
            }
            Phase::Fail => {
                let error = event.error.as_deref().unwrap_or("no reason was given");
                error.to_owned()
            }
        };
        let last = look.fit(&harmless(look, &last), LONGEST);
        if event.phase == Phase::Fail {
            let _ = write!(text, "{}", paint(BAD, last));
        } else {
            text.push_str(&last);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

/// `name` in a column that is as wide as its longest name so far.
fn column(look: Look, name: &str, width: &mut usize) -> String {
    let name = look.fit(&harmless(look, name), WIDEST);
    *width = (*width).max(name.chars().count());
    format!("{name:<0$}", *width)
}

/// Text from outside: it stays on its line, and commands no terminal.
fn harmless(look: Look, text: &str) -> String {
    let plain = |c: char| if is_unseen(c) { ' ' } else { c };
    let text: String = text.trim().chars().take(2 * LONGEST).map(plain).collect();
    if look == Look::ASCII {
        text.replace('…', look.ellipsis)
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> Event {
        serde_json::from_str(&format!(
            r#"{{"schema":1,"seq":1,"time":"2026-11-24T04:17:18.927364488Z","elapsed_us":1,
                "from":"driver","to":"multus",{json}}}"#
        ))
        .unwrap()
    }

    fn events() -> Vec<Event> {
        let claim = r#""claim":{"namespace":"default","name":"web-net","uid":"4363e172-c8cb-44bc-b13b-f9064c5fd060"}"#;
        [
            format!(r#""step":"prepare","number":1,"phase":"begin","pod":"default/web",{claim}"#),
            format!(r#""step":"prepare","number":1,"phase":"end","duration_us":13073,{claim}"#),
            format!(
                r#""step":"cni-add","number":8,"phase":"end","duration_us":3460,{claim},
                "detail":{{"ifName":"net1","ips":["10.10.1.2/24"]}}"#
            ),
            r#""step":"hook","number":5,"phase":"fail","duration_us":25000000,
                "claim":{"uid":"0b5e3d2c-c8cb-44bc-b13b-f9064c5fd060"},
                "error":"exit 1\n\u001b[2Jgo\u200bne"#
                .to_owned()
                + "\"",
            r#""step":"sandbox-lookup","number":7,"phase":"begin""#.into(),
        ]
        .iter()
        .map(|json| event(json))
        .collect()
    }

    fn shown(look: Look, node: Option<&str>) -> String {
        let mut lines = Lines::new(look, node.is_some());
        let mut claims = Claims::default();
        let mut text = String::new();
        for event in events() {
            claims.learn(&event);
            text.push_str(&lines.line(&event, node, &claims));
        }
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn a_line_has_all_that_tells_events_apart() {
        insta::assert_snapshot!(shown(Look::UNICODE, None), @"
        04:17:18.927364   1 prepare           begin            default/web  web-net
        04:17:18.927364   1 prepare           end     13.0 ms  default/web  web-net
        04:17:18.927364   8 cni-add           end      3.4 ms  default/web  web-net   net1 10.10.1.2/24
        04:17:18.927364   5 hook              fail    25.00 s  -            0b5e3d2c  exit 1  [2Jgo ne
        04:17:18.927364   7 sandbox-lookup    begin            -            -
        ");
        insta::assert_snapshot!(shown(Look::ASCII, Some("kind-worker")), @"
        04:17:18.927364  kind-worker   1 prepare           begin            default/web  web-net
        04:17:18.927364  kind-worker   1 prepare           end     13.0 ms  default/web  web-net
        04:17:18.927364  kind-worker   8 cni-add           end      3.4 ms  default/web  web-net   net1 10.10.1.2/24
        04:17:18.927364  kind-worker   5 hook              fail    25.00 s  -            0b5e3d2c  exit 1  [2Jgo ne
        04:17:18.927364  kind-worker   7 sandbox-lookup    begin            -            -
        ");
    }
}
