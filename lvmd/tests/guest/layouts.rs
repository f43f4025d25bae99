//! The direct reader says what lvm says, on every layout that can be made here.

use std::sync::{Arc, Mutex};

use lvmd::cmd::Host;
use lvmd::lvm::reader::{Checked, ReadObserver, Reader, Source};
use lvmd::lvm::tool::Tool;

use crate::harness::{clean, disks, lvm, output, run};

/// What was asked of lvm, and why.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Vec<String>>);

impl ReadObserver for Recorder {
    fn read(&self, _: Source) {}

    fn fell_back(&self, code: &'static str) {
        self.0.lock().unwrap().push(code.into());
    }

    fn distrusted(&self, vg: &str) {
        self.0.lock().unwrap().push(format!("distrusted {vg}"));
    }
}

impl Recorder {
    pub fn codes(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A reader of this process, and what it asks lvm.
pub fn reader() -> (Reader<Host>, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let reader = Reader::new(Host, Tool::beside_us("test")).observed(recorder.clone());
    (reader, recorder)
}

/// Compares both, which must be the same in every field.
pub async fn compare() -> (Checked, Vec<String>) {
    run("udevadm", &["settle"]);
    let (reader, recorder) = reader();
    let checked = reader.self_check(&[]).await.unwrap();
    assert!(checked.differences.is_empty(), "{:#?}", checked.differences);
    (checked, recorder.codes())
}

/// How a layout is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// From metadata and device-mapper alone.
    Us,
    /// lvm is asked, for this reason.
    Lvm(&'static str),
    /// The metadata is read, and lvm judges the devices of so many LVs.
    Both(usize),
}

/// Makes a layout on a VG `vg` of three disks and compares.
async fn layout(name: &str, by: By, commands: &[&str]) {
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().collect();
        run(words[0], &words[1..]);
    }
    let (checked, codes) = compare().await;
    println!(
        "{name}: {by:?}; {} VGs read, {codes:?}, {:?}",
        checked.vgs, checked.unsure
    );
    match by {
        By::Us => assert_eq!(
            (checked.vgs, codes.len(), checked.unsure.len()),
            (1, 0, 0),
            "{name}"
        ),
        By::Lvm(code) => assert_eq!((checked.vgs, codes), (0, vec![code.to_owned()]), "{name}"),
        By::Both(lvs) => assert_eq!((checked.vgs, checked.unsure.len()), (1, lvs), "{name}"),
    }
}

fn group() {
    clean();
    let disks = disks();
    lvm(&[
        "vgcreate",
        "--addtag",
        "basalt.owner=x",
        "vg",
        &disks[0],
        &disks[1],
        &disks[2],
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_as_lvmd_makes_them_are_read_without_lvm() {
    group();
    layout("an empty group", By::Us, &[]).await;
    layout(
        "linear",
        By::Us,
        &["lvm lvcreate -y -L 12M -n a --addtag x=y --addtag b vg"],
    )
    .await;
    layout("two segments", By::Us, &["lvm lvextend -L +400M vg/a"]).await;
    layout(
        "striped",
        By::Us,
        &["lvm lvcreate -y -i2 -L 16M -n striped vg"],
    )
    .await;
    let read_only = [
        "lvm lvcreate -y -pr -Wn -Zn -L 4M -n ro vg",
        "lvm lvcreate -y -L 4M -n rod vg",
        "lvm lvchange -pr vg/rod",
    ];
    layout("read-only", By::Us, &read_only).await;
    let skip = [
        "lvm lvcreate -y -ky -L 4M -n skip vg",
        "lvm lvcreate -an -y -Wn -Zn -L 4M -n off vg",
    ];
    layout("inactive", By::Us, &skip).await;
    layout(
        "allocation",
        By::Us,
        &[
            "lvm lvcreate -y --alloc contiguous -L 4M -n cont vg",
            "lvm lvcreate -y --alloc cling -L 4M -n cling vg",
            "lvm lvcreate -y --alloc anywhere -L 4M -n any vg",
        ],
    )
    .await;
    layout(
        "a fixed minor",
        By::Us,
        &["lvm lvcreate -y -My --major 254 --minor 77 -L 4M -n minor vg"],
    )
    .await;
    layout(
        "error and zero",
        By::Us,
        &[
            "lvm lvcreate -y --type error -L 8M -n err vg",
            "lvm lvcreate -y --type zero -L 8M -n zer vg",
        ],
    )
    .await;
    layout("a new pool", By::Us, &["lvm lvcreate -y -L 64M -T vg/pool"]).await;
    layout(
        "thin",
        By::Us,
        &[
            "lvm lvcreate -y -V 33M -T vg/pool -n t1",
            "lvm lvcreate -y -V 32M -T vg/pool -n t2",
        ],
    )
    .await;
    layout(
        "thin with data",
        By::Us,
        &["dd if=/dev/urandom of=/dev/vg/t1 bs=1M count=7 oflag=direct status=none"],
    )
    .await;
    layout(
        "snapshots",
        By::Us,
        &[
            "lvm lvcreate -y -s -n s1 vg/t1",
            "lvm lvcreate -y -s -kn -pr -n s2 vg/t1",
            "lvm lvcreate -y -s -kn -n s3 vg/s2",
        ],
    )
    .await;
    layout(
        "a pool in use, itself inactive",
        By::Us,
        &[
            "lvm lvchange -an vg/t1",
            "lvm lvchange -an vg/s2",
            "lvm lvchange -an vg/s3",
        ],
    )
    .await;
    layout("a pool over two disks with other settings", By::Us, &["lvm lvcreate -y -i2 -L 32M -Zn --discards nopassdown -c 128k --poolmetadatasize 8M --errorwhenfull y -T vg/pool2", "lvm lvcreate -y -V 32M -T vg/pool2 -n u1"]).await;
    layout(
        "a pool switched off",
        By::Us,
        &["lvm lvchange -an vg/u1", "lvm lvchange -an vg/pool2"],
    )
    .await;
    layout(
        "renamed and retagged",
        By::Us,
        &[
            "lvm lvrename vg/t2 vg/t3",
            "lvm lvchange --addtag n vg/t3",
            "lvm vgchange --deltag basalt.owner=x vg",
        ],
    )
    .await;
    layout(
        "suspended",
        By::Us,
        &[
            "dmsetup suspend --noflush vg-t3",
            "dmsetup suspend --noflush vg-striped",
        ],
    )
    .await;
    layout(
        "resumed",
        By::Us,
        &["dmsetup resume vg-t3", "dmsetup resume vg-striped"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn layered_volumes_are_read_without_lvm_or_named() {
    group();
    layout(
        "an external origin",
        By::Us,
        &[
            "lvm lvcreate -y -L 64M -T vg/pool",
            "lvm lvcreate -y -L 8M -n ext vg",
            "lvm lvchange -an vg/ext",
            "lvm lvchange -pr vg/ext",
            "lvm lvcreate -y -s --thinpool vg/pool -n onext vg/ext",
        ],
    )
    .await;
    layout(
        "an external origin that is active",
        By::Us,
        &["lvm lvchange -ay vg/ext"],
    )
    .await;
    layout(
        "a thick snapshot",
        By::Us,
        &[
            "lvm lvcreate -y -L 12M -n a vg",
            "lvm lvcreate -y -s -L 8M -n cow vg/a",
        ],
    )
    .await;
    layout(
        "a thick snapshot with data",
        By::Us,
        &["dd if=/dev/urandom of=/dev/vg/a bs=1M count=3 oflag=direct status=none"],
    )
    .await;
    layout(
        "a second one",
        By::Us,
        &["lvm lvcreate -y -s -L 4M -n cow2 vg/a"],
    )
    .await;
    layout(
        "one that overflowed",
        By::Us,
        &["dd if=/dev/urandom of=/dev/vg/a bs=1M seek=3 count=6 oflag=direct status=none"],
    )
    .await;
    layout("switched off", By::Us, &["lvm vgchange -an vg"]).await;
    layout("switched on", By::Us, &["lvm vgchange -ay vg"]).await;
    layout(
        "merging",
        By::Lvm("segment_type"),
        &["lvm vgchange -an vg", "lvm lvconvert --merge vg/cow"],
    )
    .await;
    group();
    layout(
        "a snapshot of a thin volume that is thick",
        By::Us,
        &[
            "lvm lvcreate -y -L 64M -T vg/pool",
            "lvm lvcreate -y -V 32M -T vg/pool -n t1",
            "lvm lvcreate -y -s -L 8M -n cow vg/t1",
        ],
    )
    .await;
    lvm(&["lvcreate", "-y", "-L", "8M", "-n", "small", "vg"]);
    let table = run("dmsetup", &["table", "vg-small"]).replace("16384", "8192");
    run("dmsetup", &["load", "vg-small", "--table", &table]);
    layout("a table that waits", By::Us, &[]).await;
    layout(
        "a device smaller than its metadata",
        By::Both(1),
        &["dmsetup resume vg-small"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_in_trouble_are_read_without_lvm() {
    group();
    layout(
        "a pool that fails when full",
        By::Us,
        &[
            "lvm lvcreate -y -l 4 --poolmetadatasize 4M --errorwhenfull y -T vg/full",
            "lvm lvcreate -y -V 64M -T vg/full -n v",
        ],
    )
    .await;
    output(
        "dd",
        &[
            "if=/dev/zero",
            "of=/dev/vg/v",
            "bs=1M",
            "count=40",
            "oflag=direct",
        ],
    );
    layout("out of data space", By::Us, &[]).await;
    assert!(lvm(&["lvs", "--noheadings", "-o", "lv_attr", "vg/full"]).contains('D'));
    layout("with space again", By::Us, &["lvm lvextend -l +4 vg/full"]).await;
    run("dmsetup", &["suspend", "vg-full-tpool"]);
    layout("a suspended pool", By::Us, &[]).await;
    run("dmsetup", &["resume", "vg-full-tpool"]);
    // Its metadata on a device that takes no more writes: the pool fails.
    lvm(&[
        "lvcreate",
        "-y",
        "-L",
        "32M",
        "--poolmetadatasize",
        "4M",
        "-T",
        "vg/sick",
    ]);
    lvm(&["lvcreate", "-y", "-V", "32M", "-T", "vg/sick", "-n", "s"]);
    run("udevadm", &["settle"]);
    let table = run("dmsetup", &["table", "vg-sick_tmeta"]);
    let sectors = table.split(' ').nth(1).unwrap();
    run(
        "dmsetup",
        &["suspend", "--nolockfs", "--noflush", "vg-sick_tmeta"],
    );
    run(
        "dmsetup",
        &[
            "load",
            "vg-sick_tmeta",
            "--table",
            &format!("0 {sectors} error"),
        ],
    );
    run("dmsetup", &["resume", "vg-sick_tmeta"]);
    output(
        "dd",
        &[
            "if=/dev/zero",
            "of=/dev/vg/s",
            "bs=1M",
            "count=4",
            "oflag=direct",
        ],
    );
    println!("{}", run("dmsetup", &["status", "vg-sick-tpool"]));
    layout("a pool without metadata", By::Both(1), &[]).await;
    output("dmsetup", &["remove_all", "--force"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn other_types_are_asked_of_lvm() {
    for (name, commands) in [
        (
            "raid0",
            &["lvm lvcreate -y --type raid0 -i2 -L 8M -n r vg"][..],
        ),
        ("raid1", &["lvm lvcreate -y --type raid1 -m1 -L 8M -n r vg"]),
        ("raid5", &["lvm lvcreate -y --type raid5 -i2 -L 8M -n r vg"]),
        (
            "mirror",
            &["lvm lvcreate -y --type mirror -m1 -L 8M -n m vg"],
        ),
        (
            "cache",
            &[
                "lvm lvcreate -y -L 16M -n c vg",
                "lvm lvcreate -y --type cache-pool -L 8M -n cp vg",
                "lvm lvconvert -y --type cache --cachepool vg/cp vg/c",
            ],
        ),
        (
            "a cache volume",
            &[
                "lvm lvcreate -y -L 16M -n c vg",
                "lvm lvcreate -y -L 16M -n fast vg",
                "lvm lvconvert -y --type cache --cachevol vg/fast vg/c",
            ],
        ),
        (
            "writecache",
            &[
                "lvm lvcreate -y -an -Zn -Wn -L 16M -n w vg",
                "lvm lvcreate -y -an -Zn -Wn -L 8M -n fast vg",
                "lvm lvconvert -y --type writecache --cachevol vg/fast vg/w",
            ],
        ),
    ] {
        group();
        layout(name, By::Lvm("segment_type"), commands).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn groups_that_must_not_be_changed_are_asked_of_lvm() {
    let [first, second, third] = &disks()[..3] else {
        panic!("three disks")
    };
    group();
    layout(
        "exported",
        By::Lvm("flag"),
        &[
            "lvm lvcreate -an -y -Zn -Wn -l 4 -n a vg",
            "lvm vgexport vg",
        ],
    )
    .await;
    lvm(&["vgimport", "vg"]);
    layout("imported", By::Us, &[]).await;
    let other = r#"lvm vgchange -y --config local/system_id="a"global/system_id_source="lvmlocal" --systemid other vg"#;
    layout("of another system", By::Lvm("flag"), &[other]).await;
    group();
    layout(
        "ignored metadata",
        By::Lvm("copies"),
        &[&format!("lvm pvchange --metadataignore y {second}")],
    )
    .await;
    group();
    lvm(&[
        "lvcreate", "-an", "-y", "-Zn", "-Wn", "-l", "2", "-n", "a", "vg",
    ]);
    run(
        "dd",
        &[
            "if=/dev/zero",
            &format!("of={third}"),
            "bs=1M",
            "count=1",
            "oflag=direct",
            "status=none",
        ],
    );
    layout("a PV that is missing", By::Lvm("pv"), &[]).await;
    group();
    run(
        "dd",
        &[
            &format!("if={third}"),
            "of=/tmp/head",
            "bs=1M",
            "count=1",
            "iflag=direct",
            "status=none",
        ],
    );
    lvm(&[
        "lvcreate", "-an", "-y", "-Zn", "-Wn", "-l", "2", "-n", "a", "vg", first,
    ]);
    run(
        "dd",
        &[
            "if=/tmp/head",
            &format!("of={third}"),
            "bs=1M",
            "count=1",
            "oflag=direct",
            "status=none",
        ],
    );
    layout("copies that differ", By::Lvm("copies"), &[]).await;
    clean();
    lvm(&["pvcreate", "--pvmetadatacopies", "0", second]);
    lvm(&["vgcreate", "vg", first, second, third]);
    layout(
        "a PV without metadata",
        By::Us,
        &["lvm lvcreate -y -l 4 -n a vg"],
    )
    .await;
    clean();
    lvm(&["pvcreate", "--pvmetadatacopies", "2", first]);
    lvm(&["vgcreate", "vg", first]);
    layout(
        "two areas on a disk",
        By::Us,
        &["lvm lvcreate -y -l 4 -n a vg"],
    )
    .await;
    clean();
}
