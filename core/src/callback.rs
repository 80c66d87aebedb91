//! Serves the hook's call.
