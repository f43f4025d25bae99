//! What lvm needs while a device is suspended, against what it is told to reserve.

use lvmd::lvm::system_dir::RESERVED_KIB;

use crate::harness::{lvm, make_vg, output, run};

/// What the commands below are told to reserve, in KiB.
const LITTLE: u32 = 4;

/// Runs lvm with little reserved; it has to lock memory, and to say that it was enough (memlock.c compares what was mapped
/// when it locked with what is mapped when it unlocks).
fn with_little(args: &[&str]) {
    let reserved = format!("activation/reserved_memory={LITTLE}");
    let (verb, rest) = args.split_first().unwrap();
    let command = [&[*verb, "-vv", "-y", "--config", &reserved], rest].concat();
    let out = output("lvm", &command);
    let said = String::from_utf8_lossy(&out.stderr) + String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{args:?}: {said}");
    assert!(said.contains("Unlocking memory"), "{args:?}: {said}");
    for complaint in ["Reserved memory", "Internal error"] {
        assert!(!said.contains(complaint), "{args:?}: {said}");
    }
}

#[test]
fn no_change_needs_a_256th_of_the_memory_that_lvm_reserves() {
    assert_eq!(RESERVED_KIB / LITTLE, 256);
    make_vg(3, true);
    let make = |prefix: &str, active: &str, count: u32| {
        let one = |n| format!("lvcreate -y -qq -a {active} -K -V 8M -T vg/pool -n {prefix}{n}\n");
        let all: String = (0..count).map(one).collect();
        run("sh", &["-c", "printf %s \"$1\" | lvm", "sh", &all]);
    };
    make("active", "y", 20);
    make("inactive", "n", 60);
    with_little(&["lvcreate", "-V", "64M", "-T", "vg/pool", "-n", "thin"]);
    with_little(&["lvcreate", "-s", "-n", "snap", "vg/thin"]);
    with_little(&["lvcreate", "-s", "-n", "again", "vg/snap"]);
    with_little(&["lvextend", "-L", "+8M", "vg/thin"]);
    with_little(&["lvextend", "-l", "+5", "vg/pool"]);
    with_little(&["lvextend", "--poolmetadatasize", "+4M", "vg/pool"]);
    with_little(&["lvremove", "vg/snap"]);
    lvm(&["lvcreate", "-y", "-L", "16M", "-n", "thick", "vg"]);
    with_little(&["lvextend", "-L", "+8M", "vg/thick"]);
    with_little(&["lvcreate", "-s", "-L", "8M", "-n", "old", "vg/thick"]);
    with_little(&["lvremove", "vg/old"]);
}
