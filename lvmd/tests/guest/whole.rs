//! What a cut-off command can leave behind, seen with LVM's and device-mapper's own tools.

use std::collections::BTreeSet;

use crate::harness::{lvm, output, run};

/// Everything that is not as it should be with the VG `vg`; empty: whole.
pub fn wrecks() -> Vec<String> {
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    let fields = "lv_uuid,lv_name,lv_layout,lv_active,lv_size,lv_kernel_minor,lv_tags,lv_role";
    let args = [
        "lvs",
        "-a",
        "--noheadings",
        "--units",
        "b",
        "--nosuffix",
        "--separator",
        "|",
        "-o",
        fields,
        "vg",
    ];
    for line in lvm(&args).lines() {
        let words: Vec<_> = line.trim().split('|').collect();
        let [uuid, name, layout, active, size, minor, tags, role] = words[..] else {
            panic!("{line}")
        };
        known.insert(uuid.replace('-', ""));
        if tags.contains("basalt.state=") {
            found.push(format!("{name} is tagged {tags}"));
        }
        if role.contains("private") || layout.contains("pool") {
            continue;
        }
        // lvs lists the devices before it waits for the VG's lock, and asks again for `active`.
        if active != "active" || minor == "-1" {
            found.push(format!("{name} is not active"));
            continue;
        }
        // The kernel's own node: udevd makes the names later. Between two looks lvmd may have
        // removed the volume.
        let node = format!("/dev/dm-{minor}");
        let out = output("blockdev", &["--getsize64", &node]);
        let mapped = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        if !out.status.success() || mapped != size {
            found.push(format!("{name} has {size} bytes and its device {mapped}"));
        }
    }
    let columns = "uuid,name,suspended,tables_loaded";
    let devices = output(
        "dmsetup",
        &[
            "info",
            "-c",
            "--noheadings",
            "--separator",
            "|",
            "-o",
            columns,
        ],
    );
    // It fails when one goes between its two questions.
    if !devices.status.success() {
        found.push("a device went while it was looked at".into());
    }
    let devices = String::from_utf8_lossy(&devices.stdout).into_owned();
    for line in devices.lines().filter(|line| line.starts_with("LVM-")) {
        let words: Vec<_> = line.split('|').collect();
        let [uuid, name, suspended, tables] = words[..] else {
            panic!("{line}")
        };
        // LVM-, 32 characters of the VG, 32 of the LV, a suffix for the hidden parts.
        if !known.contains(&uuid[36..68]) {
            found.push(format!("device {name} belongs to no volume"));
        }
        if suspended != "Active" || tables != "Live" {
            found.push(format!("device {name} is {suspended} with tables {tables}"));
        }
    }
    found.extend(run("vgck", &["vg"]).lines().map(str::to_owned));
    let pool = output("dmsetup", &["status", "vg-pool-tpool"]);
    let status = String::from_utf8_lossy(&pool.stdout);
    if pool.status.success() {
        if !status.contains(" rw ") || status.contains("needs_check") {
            found.push(format!("the pool's status is {status}"));
        }
        // What LVM noted down for the pool is done when the pool counts it too.
        let next = lvm(&["lvs", "--noheadings", "-o", "transaction_id", "vg/pool"]);
        if status.split(' ').nth(3) != Some(&next) {
            found.push(format!("the pool is behind transaction {next}"));
        }
    }
    found
}

/// The numbers of the pool's thin volumes in LVM's metadata and in the pool's own are the same, and `thin_check` finds
/// nothing. Takes the VG down.
pub fn check_pool() {
    let left = left_over();
    assert!(left.is_empty(), "in the pool, and not in LVM: {left:?}");
}

/// The numbers of thin volumes that the pool has and LVM has not; the other way round there is none, and `thin_check`
/// finds nothing. Takes the VG down.
pub fn left_over() -> Vec<u32> {
    let args = ["lvs", "--noheadings", "-o", "thin_id", "vg"];
    let in_lvm: Vec<u32> = lvm(&args)
        .split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect();
    run("udevadm", &["settle"]);
    lvm(&["vgchange", "-an", "vg"]);
    lvm(&["lvchange", "-y", "-ay", "vg/pool_tmeta"]);
    let tmeta = "/dev/mapper/vg-pool_tmeta";
    run("thin_check", &["-q", tmeta]);
    let mut in_pool: Vec<u32> = run("thin_dump", &[tmeta])
        .lines()
        .filter_map(|line| {
            line.split_once("<device dev_id=\"")?
                .1
                .split('"')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    lvm(&["lvchange", "-an", "vg/pool_tmeta"]);
    assert!(
        in_lvm.iter().all(|id| in_pool.contains(id)),
        "{in_lvm:?} in LVM, {in_pool:?} in the pool"
    );
    in_pool.retain(|id| !in_lvm.contains(id));
    in_pool
}
