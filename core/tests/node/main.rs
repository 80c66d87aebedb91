//! The driver's node side against stand-ins: a CRI runtime, a CNI plugin and an API server
//! of a few lines each. What is proven is the state machine: when ADD and DEL run.

mod attach;
mod prepare;
mod record;
mod world;
