//! The standalone driver on a real kernel with real LVM. Run by `e2e-qemu test`.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod classes;
mod client;
mod contents;
#[path = "../../../disk-watcher/tests/guest/fake_lvm.rs"]
mod fake_lvm;
mod formatting;
mod harness;
mod inline;
mod publish;
mod pulled;
#[path = "../../../lvmd/tests/guest/random.rs"]
#[allow(dead_code, reason = "the guest tests of lvmd use the rest")]
mod random;
#[path = "../../../disk-watcher/tests/guest/scsi.rs"]
#[allow(dead_code, reason = "the guest tests of disk-watcher use the rest")]
mod scsi;
mod without_lvm;
