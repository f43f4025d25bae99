//! The Kubernetes half: objects that people write beside the files of a node, and objects
//! that show what the node has.
//!
//! [`watch`] hears of objects, [`compose`] puts them together with the files, and what is in
//! force is kept ([`written`]), so that an API server that is away changes nothing.

pub mod compose;
pub mod node_selector;
pub mod types;
pub mod watch;
pub mod written;
