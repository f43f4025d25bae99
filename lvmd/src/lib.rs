//! lvmd: logical volumes of one node, over gRPC or in-process.

pub mod args;
pub mod capacity;
pub mod cmd;
pub mod config;
pub mod dm;
pub mod engine;
pub mod lvm;
pub mod metrics;
pub mod names;
pub mod proto;
pub mod runtime;
pub mod units;
pub mod volumes;
