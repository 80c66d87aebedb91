//! The ndra driver and the wire types that everything around it speaks.

pub mod wire;
