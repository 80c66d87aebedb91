//! One interface in one pod: its life from plan to release, and its record on disk.
