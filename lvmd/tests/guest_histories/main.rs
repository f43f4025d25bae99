//! After every step of random histories the direct reader says what lvm says.
//!
//! With device-mapper in a guest, where all that is shown of a volume counts; without it
//! (`global/activation=0`) also on a host with loop devices, where a step takes
//! milliseconds and thousands of histories are cheap.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod bugs;
#[path = "../guest/harness/host.rs"]
mod host;
mod mapped;
#[path = "../guest/random.rs"]
mod random;
mod steps;
mod text;
mod unmapped;

/// How many histories: `$BASALT_HISTORIES`, or all that the issue of a release asks for, or the
/// fewest that tell.
fn count(all: u64, few: u64) -> u64 {
    let value = |name: &str| std::env::vars().find(|(key, _)| key == name);
    match value("BASALT_HISTORIES") {
        Some((_, count)) => count.parse().expect("BASALT_HISTORIES is a number"),
        None if value("BASALT_ALL").is_some() => all,
        None => few,
    }
}
