//! Upstream's lvmd and ours, side by side in one guest. Run by `e2e-qemu test`.
//!
//! `tests/peer` has the script and the reviewed list of differences; `e2e_qemu::peer`
//! builds upstream's lvmd and the replayer, which speaks through upstream's own client.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "../peer/compare.rs"]
mod compare;
#[path = "../guest/harness.rs"]
#[allow(dead_code, reason = "the other guest tests use the rest")]
mod harness;
#[path = "../peer/script.rs"]
mod script;
mod upstream;

mod built;
mod client;
mod differences;
