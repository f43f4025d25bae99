//! The disk watcher on a real kernel with real LVM. Run by `e2e-qemu test`.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod adopt;
mod approval;
mod backup;
mod cuts;
mod fake_lvm;
mod faults;
mod files;
#[path = "../probe/fixtures.rs"]
#[expect(dead_code, reason = "the tests of the probes need more of it")]
mod fixtures;
mod harness;
mod join;
mod metrics;
mod onboarding;
mod partitions;
mod pools;
mod scsi;
mod signatures;
mod states;
mod tools;
mod whole;
mod wipe;
