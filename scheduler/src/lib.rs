//! The scheduler extender: keeps pods away from nodes whose volume groups are full, and
//! draws them to those with the most room.
//!
//! Only needed where storage capacity tracking is off. kube-scheduler asks over HTTP
//! with a pod and its candidate nodes. What the pod wants stands in its annotations
//! `capacity.topolvm.io/<class>` (written by the pod webhook), what a node has in
//! annotations of the same name (written by topolvm-node). Nothing else is looked at,
//! so the extender needs no access to the API server and keeps no state.
//!
//! `filter` and `score` decide, `wire` is what crosses the connection, `http` connects
//! them, `config` and `args` are what a person writes.

pub mod args;
pub mod config;
pub mod filter;
pub mod http;
pub mod score;
pub mod wire;

pub use args::{Cli, run};
