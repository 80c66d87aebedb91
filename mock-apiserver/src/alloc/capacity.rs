//! What an allocation takes of a device's capacities, and of a device that several share
//! (KEP-5075, consumable capacity).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Quantity;
use crate::object::{at, list};

/// Amounts by the name that the device's capacity has.
pub(super) type Amounts = BTreeMap<String, Quantity>;

/// Whether a device may be allocated more than once.
pub(super) fn is_shared(device: &Value) -> bool {
    at(device, &["allowMultipleAllocations"]) == true
}

/// What a request takes of a device. `None` when the device has not what is asked for, or
/// allows no such amount.
pub(super) fn taken(driver: &str, device: &Value, asked: &Map<String, Value>) -> Option<Amounts> {
    let capacity = at(device, &["capacity"]).as_object();
    let mut wanted = Amounts::new();
    for (name, amount) in asked {
        let name = resolve(driver, name, capacity?)?;
        wanted.insert(name, quantity(amount)?);
    }
    let mut taken = Amounts::new();
    for (name, capacity) in capacity.into_iter().flatten() {
        let total = quantity(at(capacity, &["value"]))?;
        let policy = at(capacity, &["requestPolicy"]);
        let amount = match wanted.get(name) {
            Some(amount) => rounded(*amount, policy)?,
            None => quantity(at(policy, &["default"])).unwrap_or(total),
        };
        if violates(amount, policy) {
            return None;
        }
        taken.insert(name.clone(), amount);
    }
    Some(taken)
}

/// Whether there is room for `taken` beside what others have.
pub(super) fn fits(device: &Value, taken: &Amounts, others: &[Option<&Amounts>]) -> bool {
    taken.iter().all(|(name, amount)| {
        let used = others.iter().flatten().filter_map(|used| used.get(name));
        let sum = { used }.try_fold(*amount, |sum, more| sum.plus(*more));
        let total = quantity(at(device, &["capacity", name, "value"]));
        matches!((sum, total), (Some(sum), Some(total)) if sum <= total)
    })
}

/// Adds amounts to those of a device.
pub(super) fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let entry = sum.entry(name.clone()).or_insert(Quantity::ZERO);
        *entry = entry.plus(*amount).unwrap_or(*entry);
    }
}

/// Takes amounts off those of a device.
pub(super) fn remove(sum: &mut Amounts, less: &Amounts) {
    for (name, amount) in less {
        if let Some(entry) = sum.get_mut(name) {
            *entry = entry.minus(*amount).unwrap_or(*entry);
        }
    }
}

/// `consumedCapacity` of an allocation's result.
pub(super) fn shown(taken: &Amounts) -> Value {
    let amounts = taken.iter();
    let amounts = amounts.map(|(name, amount)| (name.clone(), amount.to_string().into()));
    Value::Object(amounts.collect())
}

/// What a result says that it took.
pub(super) fn of_result(result: &Value) -> Amounts {
    let amounts = at(result, &["consumedCapacity"]).as_object();
    let amounts = amounts.into_iter().flatten();
    amounts
        .filter_map(|(name, amount)| Some((name.clone(), quantity(amount)?)))
        .collect()
}

/// The capacity that a request means: a name without domain is of the driver's.
fn resolve(driver: &str, name: &str, capacity: &Map<String, Value>) -> Option<String> {
    if capacity.contains_key(name) {
        return Some(name.to_owned());
    }
    let other = match name.split_once('/') {
        Some((domain, id)) => (domain == driver).then(|| id.to_owned())?,
        None => format!("{driver}/{name}"),
    };
    capacity.contains_key(&other).then_some(other)
}

/// The least amount that the policy allows and that is not below the asked one.
fn rounded(asked: Quantity, policy: &Value) -> Option<Quantity> {
    let range = at(policy, &["validRange"]);
    if let Some(min) = quantity(at(range, &["min"])) {
        if asked < min {
            return Some(min);
        }
        return match quantity(at(range, &["step"])) {
            Some(step) => asked.up_to_step(min, step),
            None => Some(asked),
        };
    }
    let mut values = list(policy, &["validValues"]).iter().filter_map(quantity);
    Some(values.find(|value| asked <= *value).unwrap_or(asked))
}

fn violates(amount: Quantity, policy: &Value) -> bool {
    if quantity(at(policy, &["default"])) == Some(amount) {
        return false;
    }
    let range = at(policy, &["validRange"]);
    if !range.is_null() {
        let above = quantity(at(range, &["max"])).is_some_and(|max| amount > max);
        let min = quantity(at(range, &["min"])).unwrap_or(Quantity::ZERO);
        let between = quantity(at(range, &["step"]))
            .is_some_and(|step| amount.up_to_step(min, step) != Some(amount));
        return above || between;
    }
    let values = list(policy, &["validValues"]);
    !values.is_empty() && !values.iter().any(|value| quantity(value) == Some(amount))
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn device() -> Value {
        json!({"allowMultipleAllocations": true, "capacity": {
            "maxAttachments": {"value": "2", "requestPolicy": {"default": "1", "validValues": ["1"]}},
            "bandwidth": {"value": "10G", "requestPolicy": {"default": "0", "validRange":
                {"min": "0", "max": "8G", "step": "100M"}}},
            "plain": {"value": "5"},
        }})
    }

    fn took(asked: Value) -> String {
        match taken("d.example", &device(), asked.as_object().unwrap()) {
            Some(amounts) => shown(&amounts).to_string(),
            None => "refused".into(),
        }
    }

    #[test]
    fn what_is_not_asked_for_is_the_default_or_all() {
        insta::assert_snapshot!(took(json!({})), @r#"{"bandwidth":"0","maxAttachments":"1","plain":"5"}"#);
    }

    #[test]
    fn amounts_are_rounded_up_to_what_the_policy_allows() {
        insta::assert_snapshot!(took(json!({"bandwidth": "1050M", "plain": "3"})), @r#"{"bandwidth":"1100M","maxAttachments":"1","plain":"3"}"#);
        insta::assert_snapshot!(took(json!({"d.example/bandwidth": "1"})), @r#"{"bandwidth":"100M","maxAttachments":"1","plain":"5"}"#);
        for asked in [
            json!({"bandwidth": "9G"}),
            json!({"maxAttachments": "2"}),
            json!({"memory": "1"}),
            json!({"other.example/bandwidth": "1M"}),
        ] {
            assert_eq!(took(asked.clone()), "refused", "{asked}");
        }
    }

    #[test]
    fn others_leave_less() {
        let asked = |text: &str| {
            let asked = json!({"bandwidth": text, "plain": "1"});
            taken("d.example", &device(), asked.as_object().unwrap()).unwrap()
        };
        let mut others = asked("8G");
        assert!(fits(&device(), &asked("2G"), &[Some(&others), None]));
        assert!(!fits(&device(), &asked("2100M"), &[Some(&others)]));
        add(&mut others, &asked("0"));
        assert!(
            !fits(&device(), &asked("0"), &[Some(&others)]),
            "two attachments are there"
        );
        remove(&mut others, &asked("0"));
        assert!(fits(&device(), &asked("0"), &[Some(&others)]));
    }
}
