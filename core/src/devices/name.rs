//! Names of devices: DNS labels made of interface names, which may be almost any bytes.

use std::fmt::Write;

/// Before an interface's name in hexadecimal, where it is no name for a device.
const ENCODED: &str = "if-";

/// Before the number of a slot, which claims may hold from a driver that offered no interfaces.
pub(crate) const SLOT: &str = "slot-";

/// Between a shared interface and the number of a part of it.
const PART: &str = "--";

/// The name of an interface's device: its own where that is a DNS label, else its bytes in
/// hexadecimal. Two interfaces never get one name.
pub fn device_name(interface: &str) -> String {
    let taken = [ENCODED, SLOT];
    let free = !taken.iter().any(|prefix| interface.starts_with(prefix));
    if free && is_label(interface) && !interface.contains(PART) {
        return interface.to_owned();
    }
    let mut name = ENCODED.to_owned();
    // An interface's name has at most 15 bytes.
    for byte in interface.bytes().take(15) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// The name of one of the equal parts that a shared interface is offered in where devices
/// cannot be shared.
pub(super) fn part(device: &str, number: usize) -> String {
    format!("{device}{PART}{number}")
}

/// The device that a part belongs to, if the name is a part's.
pub(super) fn whole_of_part(name: &str) -> Option<&str> {
    let (device, number) = name.split_once(PART)?;
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (plain && !device.is_empty()).then_some(device)
}

fn is_label(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| plain(byte) || byte == b'-';
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().next_back()) else {
        return false;
    };
    text.len() <= 63 && plain(first) && plain(last) && text.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn hostile_names_become_labels_and_stay_apart() {
        let names = [
            "eth0",
            "ens1f0np0",
            "Eth0",
            "eth0.100",
            "br_lan",
            "-",
            "a-",
            "é",
            "eth0--1",
            "if-4142",
            "slot-0",
            "AB",
            "\u{1}\u{2}",
            "xxxxxxxxxxxxxxx",
            "..",
            "0",
        ];
        let made: Vec<String> = names.iter().map(|name| device_name(name)).collect();
        insta::assert_snapshot!(made.join(" "), @"eth0 ens1f0np0 if-45746830 if-657468302e313030 if-62725f6c616e if-2d if-612d if-c3a9 if-657468302d2d31 if-69662d34313432 if-736c6f742d30 if-4142 if-0102 xxxxxxxxxxxxxxx if-2e2e 0");
        assert!(made.iter().all(|name| is_label(name)), "{made:?}");
        assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), names.len());
        // The longest name with the highest number is still a label.
        assert!(is_label(&part(&device_name("ÿÿÿÿÿÿÿ!"), 4096)));
    }

    #[test]
    fn a_part_leads_to_its_device() {
        assert_eq!(whole_of_part("eth0--12"), Some("eth0"));
        for other in ["eth0", "eth0--", "eth0--x", "--1", "eth0--1--2", "eth0-1"] {
            assert_eq!(whole_of_part(other), None, "{other}");
        }
    }
}
