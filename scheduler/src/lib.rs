//! The scheduler extender: keeps pods away from nodes whose volume groups are full, and
//! draws them to those with the most room.
//!
//! Only needed where storage capacity tracking is off. kube-scheduler asks over HTTP
//! with a pod and its candidate nodes. What the pod wants stands in its annotations
//! `capacity.topolvm.io/<class>` (written by the pod webhook), what a node has in
//! annotations of the same name (written by topolvm-node). kube-scheduler sends the nodes
//! whole, and then nothing else is looked at and no state kept; or, where it is told that
//! the extender is `nodeCacheCapable`, their names, and then `nodes` watches them.
//!
//! `filter` and `score` decide, `scan` goes through JSON, `wire` is what crosses the connection,
//! `answers`, `written` and `http` connect them, `config` and `args` are what a person writes.

pub mod answers;
pub mod args;
pub mod config;
pub mod filter;
pub mod http;
pub mod metrics;
pub mod nodes;
pub mod room;
pub mod scan;
pub mod score;
pub mod wire;
pub mod written;

pub use args::{Cli, run};
