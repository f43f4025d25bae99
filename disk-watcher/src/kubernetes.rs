//! The Kubernetes half: objects that people write beside the files of a node, and objects
//! that show what the node has.
//!
//! [`watch`] hears of objects (`foreign`: of those of other systems, which [`owners`] reads), [`compose`] puts them together with the files, and what is in
//! force is kept ([`written`]), so that an API server that is away changes nothing. [`show`]
//! writes what [`view`] makes of the node's status.

pub mod compose;
mod conditions;
pub mod connect;
mod difference;
mod events;
mod foreign;
pub mod lease;
pub mod node_selector;
mod object;
pub mod owners;
mod requests;
mod secrets;
mod seen;
pub mod show;
pub mod types;
pub mod view;
pub mod watch;
pub mod written;
