//! The flow, live, in the terminal.
