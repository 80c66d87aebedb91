//! Wires the rooms into the process that runs on a node.
