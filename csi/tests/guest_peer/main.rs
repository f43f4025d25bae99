//! A node whose lvmd is another process, on a real kernel with real LVM: ours, and TopoLVM's. Run by `e2e-qemu test`,
//! which builds the latter (`e2e_qemu::peer`).

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "../../../lvmd/tests/guest_peer/built.rs"]
mod built;
#[path = "../guest/client.rs"]
#[allow(dead_code, reason = "the other guest tests use the rest")]
mod client;
#[path = "../guest/harness.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the other guest tests use the rest"
)]
mod harness;
mod life;
mod lvmd_apart;
