//! What is read of a payload when it comes: the little that rows and runs need.

use std::borrow::Cow;

use ndra_core::event::{Phase, Step};
use serde::Deserialize;

use super::log::hash;
use super::payload::{Payloads, Place};
use crate::recording::{Batch, Entry};

#[derive(Default, Deserialize)]
struct Names<'a> {
    #[serde(borrow, default, rename = "ifName")]
    if_name: Option<Cow<'a, str>>,
    #[serde(default)]
    ips: Option<Vec<String>>,
}

/// The most bytes of each field that are kept beside a payload.
const FIELDS: [usize; 4] = [60_000, 255, 255, 600];
const HEAD: usize = 10;

/// What tells runs of one step apart, and the address when the event brings one.
pub(super) fn tag(batch: &Batch, entry: &Entry) -> (u32, Option<(String, String)>) {
    if !matches!(entry.step, Step::CniAdd | Step::CniDel) {
        return (hash(batch.bytes(entry.container)), None);
    }
    if entry.detail.is_empty() {
        return (0, None);
    }
    let names: Names<'_> = serde_json::from_slice(batch.bytes(entry.detail)).unwrap_or_default();
    let Some(name) = names.if_name else {
        return (0, None);
    };
    let tag = hash(name.as_bytes());
    let brings = entry.step == Step::CniAdd && entry.phase == Phase::End;
    let address = brings.then(|| {
        let ips = names.ips.unwrap_or_default().join(" ");
        let short = |text: &str| text.chars().take(200).collect::<String>();
        (short(&name), short(&ips))
    });
    (tag, address)
}

/// Keeps what an event brought besides its times.
pub(super) fn keep(payloads: &mut Payloads, batch: &Batch, entry: &Entry) -> Place {
    let detail = batch.bytes(entry.detail);
    let fields = [entry.error, entry.sandbox, entry.container, entry.pod];
    let mut parts = [detail; 6];
    let mut head = [0_u8; HEAD];
    let len = u32::try_from(detail.len()).unwrap_or(0);
    head[..4].copy_from_slice(&len.to_le_bytes());
    for (at, field) in fields.into_iter().enumerate() {
        parts[at + 2] = cut(batch.text(field), FIELDS[at]).as_bytes();
    }
    let short = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap_or(0).to_le_bytes();
    head[4..6].copy_from_slice(&short(parts[2]));
    head[6] = u8::try_from(parts[3].len()).unwrap_or(0);
    head[7] = u8::try_from(parts[4].len()).unwrap_or(0);
    head[8..10].copy_from_slice(&short(parts[5]));
    let whole = [&head[..], detail, parts[2], parts[3], parts[4], parts[5]];
    payloads.put(&whole)
}

/// What an event brought besides its times.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Brought<'a> {
    pub(crate) detail: &'a [u8],
    pub(crate) error: &'a str,
    pub(crate) sandbox: &'a str,
    pub(crate) container: &'a str,
    pub(crate) pod: &'a str,
}

/// Finds what [`keep`] kept; `None` when it has been given up.
pub(crate) fn brought(payloads: &Payloads, place: Place) -> Option<Brought<'_>> {
    let bytes = payloads.get(place)?;
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let detail = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
    let error = usize::from(u16::from_le_bytes([head[4], head[5]]));
    let pod = usize::from(u16::from_le_bytes([head[8], head[9]]));
    let (detail, rest) = rest.split_at_checked(detail)?;
    let mut rest = rest;
    let mut next = |len: usize| {
        let (part, after) = rest.split_at_checked(len)?;
        rest = after;
        std::str::from_utf8(part).ok()
    };
    Some(Brought {
        detail,
        error: next(error)?,
        sandbox: next(head[6].into())?,
        container: next(head[7].into())?,
        pod: next(pod)?,
    })
}

fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
