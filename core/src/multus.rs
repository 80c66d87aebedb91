//! The thick Multus daemon's delegate API, from the caller's side.
