//! What goes over the wire between the watcher and a real API server. The disks are played
//! here; the guest scenarios have real ones.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod asked;
mod crds;
mod labels;
mod lease;
mod objects;
mod owners;
mod secrets;
#[allow(dead_code, reason = "the CSI driver's tests use all of it")]
#[path = "../../../csi/tests/apiserver/server.rs"]
mod server;
mod status;
