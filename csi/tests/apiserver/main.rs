//! What goes over the wire between controller, node and a real API server. The node's LVM
//! is played here; the guest scenarios have the real one.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod chart;
mod controller;
mod duties;
mod extender;
mod node;
mod plugin;
mod programs;
mod server;
mod successor;
mod volumes;
mod webhook;
