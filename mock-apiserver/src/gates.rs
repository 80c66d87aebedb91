//! Fields that a server drops without a word, because a feature gate of Kubernetes is off.

use serde_json::Value;

use crate::object::{at, list};
use crate::resource::{CLAIMS, Resource, SLICES, TEMPLATES};

/// The feature gates that this server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gates {
    /// `DRAConsumableCapacity` (KEP-5075): alpha and off in Kubernetes 1.34 and 1.35, on
    /// from 1.36.
    pub consumable_capacity: bool,
}

impl Default for Gates {
    /// As in Kubernetes 1.36.
    fn default() -> Gates {
        Gates {
            consumable_capacity: true,
        }
    }
}

impl Gates {
    /// Drops what the gates do not let in. What an object uses already it may go on using.
    pub(crate) fn drop_disabled(self, resource: &Resource, old: Option<&Value>, new: &mut Value) {
        if self.consumable_capacity {
            return;
        }
        if resource.is(&SLICES) && !old.is_some_and(shares) {
            for device in items(new, &["spec", "devices"]) {
                remove(device, "allowMultipleAllocations");
                let capacity = device.get_mut("capacity").and_then(Value::as_object_mut);
                for (_, amount) in capacity.into_iter().flatten() {
                    remove(amount, "requestPolicy");
                }
            }
        } else if resource.is(&CLAIMS) || resource.is(&TEMPLATES) {
            let path: &[&str] = if resource.is(&CLAIMS) {
                &["spec", "devices", "requests"]
            } else {
                &["spec", "spec", "devices", "requests"]
            };
            for request in items(new, path) {
                if let Some(exactly) = request.get_mut("exactly") {
                    remove(exactly, "capacity");
                }
                for alternative in items(request, &["firstAvailable"]) {
                    remove(alternative, "capacity");
                }
            }
        }
    }
}

/// Whether a slice has devices that several claims may share.
fn shares(slice: &Value) -> bool {
    list(slice, &["spec", "devices"]).iter().any(|device| {
        let capacity = at(device, &["capacity"]).as_object().into_iter().flatten();
        !at(device, &["allowMultipleAllocations"]).is_null() || { capacity }
            .any(|(_, amount)| !at(amount, &["requestPolicy"]).is_null())
    })
}

fn items<'a>(value: &'a mut Value, path: &[&str]) -> impl Iterator<Item = &'a mut Value> {
    let mut found = Some(value);
    for key in path {
        found = found.and_then(|value| value.get_mut(*key));
    }
    found.and_then(Value::as_array_mut).into_iter().flatten()
}

fn remove(value: &mut Value, key: &str) {
    if let Value::Object(map) = value {
        map.shift_remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const OFF: Gates = Gates {
        consumable_capacity: false,
    };

    fn slice() -> Value {
        json!({"spec": {"devices": [{
            "name": "eth0",
            "allowMultipleAllocations": true,
            "capacity": {"bandwidth": {"value": "1G", "requestPolicy": {"default": "0"}}},
        }]}})
    }

    #[test]
    fn what_is_off_is_dropped_and_the_rest_stays() {
        let mut new = slice();
        OFF.drop_disabled(&SLICES, None, &mut new);
        let left = json!({"spec": {"devices": [
            {"name": "eth0", "capacity": {"bandwidth": {"value": "1G"}}},
        ]}});
        assert_eq!(new, left);
        let mut kept = slice();
        Gates::default().drop_disabled(&SLICES, None, &mut kept);
        assert_eq!(kept, slice());
        let mut claim = json!({"spec": {"devices": {"requests": [
            {"name": "a", "exactly": {"count": 1, "capacity": {"requests": {"bandwidth": "1M"}}}},
        ]}}});
        OFF.drop_disabled(&CLAIMS, None, &mut claim);
        let left = json!({"spec": {"devices": {"requests": [
            {"name": "a", "exactly": {"count": 1}},
        ]}}});
        assert_eq!(claim, left);
    }

    #[test]
    fn what_is_in_use_stays_in_use() {
        let mut new = slice();
        OFF.drop_disabled(&SLICES, Some(&slice()), &mut new);
        assert_eq!(new, slice());
    }
}
