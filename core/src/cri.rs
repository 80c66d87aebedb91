//! Asks the runtime which sandbox and network namespace a container belongs to.
