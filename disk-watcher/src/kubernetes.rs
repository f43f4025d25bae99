//! The Kubernetes half: objects that people write beside the files of a node, and objects
//! that show what the node has.

pub mod types;
