//! The claim's CDI spec: written at prepare, removed at unprepare.
