//! A pool beside somebody's group with the name of its own.

use super::stage::{Stage, extensions};
use super::writer;
use crate::faults::theirs::group_on;
use crate::harness::{clean, disks, run, sum};

#[test]
#[ignore = "long: `make test-all` runs it"]
fn a_pool_grows_while_a_disk_with_a_group_of_its_name_is_there() {
    clean();
    let other = &disks()[2];
    let copy = "/run/copy";
    let head = |from: &str, to: &str| {
        let dd = format!("if={from} of={to} bs=1M count=8 conv=fsync status=none");
        run("dd", &dd.split(' ').collect::<Vec<_>>());
    };
    // LVM makes no group whose name is in use, but a disk may bring one.
    group_on(other, "of=others");
    head(other, copy);
    let stage = Stage::with_free_disks(
        "size: 20%, metadata: {size: 4Mi}, autoExtend: {data: {horizon: 1s}}",
    );
    let volume = stage.volume("v", "600m");
    head(copy, other);
    run(
        "udevadm",
        &["trigger", "--settle", "--action=change", other],
    );
    let before = sum(other);
    let size = stage.pool()["size"].as_u64().unwrap() >> 20;
    let written = writer::write(&volume, 0, size * 2).expect("no write fails");
    let pool = stage.wait("it grew", |pool| !extensions(pool, "Data").is_empty());
    println!(
        "\nresult: from {size} to {} MiB beside a group of its name, {written}",
        pool["size"].as_u64().unwrap() >> 20
    );
    assert!(
        writer::is_there(&volume, 0, &written),
        "every byte is there"
    );
    assert_eq!(sum(other), before, "not a byte of the other group changed");
    run("wipefs", &["-qa", other]);
}
