//! A group that was there before: left alone until a person names its UUID, tagged then,
//! and nothing more.

use std::path::Path;

use crate::harness::{Watcher, clean, disks, run, wait_for};

/// A group as lvm-disk-watcher and TrueCharts' guide make it, with data in a thin volume.
fn as_the_guide_says(disk: &str) {
    run("pvcreate", &["-q", disk]);
    run("vgcreate", &["-q", "topolvm_vg", disk]);
    let pool = "lvcreate -q -l 100%FREE --chunksize 256 -T -A n -n topolvm_thin topolvm_vg";
    let volume = "lvcreate -q -V 32M -T topolvm_vg/topolvm_thin -n data";
    for line in [pool, volume] {
        let words: Vec<&str> = line.split(' ').collect();
        run(words[0], &words[1..]);
    }
    let data = "if=/dev/urandom of=/dev/topolvm_vg/data bs=1M count=32 oflag=direct status=none";
    run("dd", &data.split(' ').collect::<Vec<_>>());
}

fn field(name: &str) -> String {
    run("lvm", &["vgs", "--noheadings", "-o", name, "topolvm_vg"])
}

/// All that LVM says of the volumes but their tags.
fn volumes() -> String {
    let columns = "lv_name,lv_uuid,lv_size,segtype,chunk_size,seg_pe_ranges";
    run(
        "lvm",
        &["lvs", "-a", "--noheadings", "-o", columns, "topolvm_vg"],
    )
}

fn status(dir: &Path, view: &str) -> String {
    std::fs::read_to_string(dir.join("status").join(view)).unwrap_or_default()
}

#[test]
fn a_group_made_by_the_guide_is_adopted_by_uuid_only_and_keeps_its_data() {
    clean();
    let disk = disks()[0].clone();
    as_the_guide_says(&disk);
    let sum = || run("sha256sum", &["/dev/topolvm_vg/data"]);
    let before = (sum(), volumes(), field("vg_seqno"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk-config");
    std::fs::write(&file, "n1: all\n").unwrap();
    let flags = [
        "--node-name",
        "n1",
        "--compat-mode",
        "Enforce",
        "--compat-disk-config",
        file.to_str().unwrap(),
    ];
    let watcher = Watcher::with(dir.path(), "", &flags);
    let uuid = field("vg_uuid");
    let line = format!("adoptForeignVG: {uuid}");
    wait_for(dir.path(), "status shows the line", || {
        status(dir.path(), "status.table").contains(&format!("add to disk-config: {line}"))
    });
    wait_for(dir.path(), "the disk settled", || {
        !status(dir.path(), "status.json").contains("NotSettled")
    });
    assert_eq!(
        (sum(), volumes(), field("vg_seqno")),
        before,
        "by its name alone it is not touched"
    );
    assert_eq!(field("vg_tags"), "");

    std::fs::write(&file, format!("n1: all\n{line}\n")).unwrap();
    wait_for(dir.path(), "adopted", || {
        field("vg_tags").contains("basalt.class=topolvm")
    });
    wait_for(dir.path(), "status shows the disk as Ready", || {
        status(dir.path(), "status.json").contains("\"Ready\"")
    });
    drop(watcher);
    assert!(field("vg_tags").contains("basalt.owner="));
    let seqno = |text: &str| text.parse::<u64>().unwrap();
    let changes = seqno(&field("vg_seqno")) - seqno(&before.2);
    let tags = run(
        "lvm",
        &["lvs", "--noheadings", "-o", "lv_tags", "topolvm_vg"],
    );
    let tags: Vec<&str> = tags.split_whitespace().collect();
    assert!(
        tags.is_empty() && changes == 1 || tags == ["basalt.threshold=70"] && changes == 2,
        "only tags: the group's, and the threshold of the pool that is cared for: {changes} {tags:?}"
    );
    assert_eq!((sum(), volumes()), (before.0, before.1));
    let table = status(dir.path(), "status.table");
    assert!(table.contains("topolvm_thin: Extendable=false"), "{table}");
    println!("{table}");
    run("lvm", &["vgremove", "-y", "topolvm_vg"]);
    clean();
}
