//! lvmd on a real kernel with real LVM. Run by `e2e-qemu test`.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod bystander;
mod classes;
mod comparing;
mod copies;
mod events;
mod faults;
mod hangs;
mod harness;
mod kills;
mod layouts;
mod memory;
mod moves;
mod own_dev;
mod pending;
mod pools;
mod random;
mod refusals;
mod rpc;
mod service;
mod several_groups;
mod soak;
mod thick_copies;
mod udev;
mod watching;
mod whole;
mod wrecks;
