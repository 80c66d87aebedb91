//! Events from other hands: what is missing or unknown beside the step is filled in.

use ndra_core::event::{Actor, Event, SCHEMA, Step};
use serde_json::{Value, json};

/// Reads a line as `ndra watch` does: actors that are not known are the step's usual ones,
/// and numbers that only a writer knows are zero. None, when there is no step, phase or
/// time that could be shown.
pub(crate) fn event(line: &[u8]) -> Option<Event> {
    serde_json::from_slice(line).ok().or_else(|| mended(line))
}

fn mended(line: &[u8]) -> Option<Event> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(line) else {
        return None;
    };
    let step: Step = fields.get("step")?.as_str()?.parse().ok()?;
    let (from, to) = step.route();
    for (key, usual) in [("from", from), ("to", to)] {
        let said = fields.get(key).and_then(Value::as_str);
        if said.is_none_or(|word| word.parse::<Actor>().is_err()) {
            fields.insert(key.into(), json!(usual.to_string()));
        }
    }
    for (key, usual) in [
        ("schema", json!(SCHEMA)),
        ("elapsed_us", json!(0)),
        ("number", json!(step.number())),
    ] {
        let fits = fields
            .get(key)
            .and_then(Value::as_u64)
            .is_some_and(|n| key == "elapsed_us" || n <= 255);
        if !fits {
            fields.insert(key.into(), usual);
        }
    }
    // What a reader shows of it is its text; another form has none.
    for key in ["pod", "sandbox", "container", "error"] {
        if fields.get(key).is_some_and(|value| !value.is_string()) {
            fields.remove(key);
        }
    }
    if fields.get("detail").is_some_and(|value| !value.is_object()) {
        fields.remove("detail");
    }
    serde_json::from_value(Value::Object(fields)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_beside_the_step_is_filled_in() {
        let line = |rest: &str| {
            format!(r#"{{"seq":1,"time":"2026-11-24T04:17:18Z","phase":"end",{rest}}}"#)
        };
        let read = |rest: &str| event(line(rest).as_bytes());
        let odd = read(r#""step":"cni-add","from":"nobody","to":7,"claim":{"uid":"u"}"#).unwrap();
        assert_eq!((odd.from, odd.to), Step::CniAdd.route());
        assert_eq!((odd.number, odd.elapsed_us), (Step::CniAdd.number(), 0));
        let known = read(r#""step":"hook","from":"kubelet","to":"?","schema":1000,"detail":[]"#);
        assert_eq!(known.unwrap().from, Actor::Kubelet, "what is known stays");
        assert!(read(r#""step":"dance","from":"kubelet","to":"driver""#).is_none());
        assert!(event(b"[]").is_none() && event(b"{}").is_none());
    }
}
