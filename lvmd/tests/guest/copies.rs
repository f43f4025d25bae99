//! Copies of disks.

use lvmd::cmd::Host;
use lvmd::lvm::reader::Reader;
use lvmd::lvm::snapshot::Freeze;
use lvmd::lvm::tool::Tool;

use crate::harness::{disks, make_vg, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_disk_is_noticed_by_who_asks_for_one_group_alone() {
    make_vg(1, false);
    let [disk, other] = &disks()[..2] else {
        panic!("two disks are needed")
    };
    let (from, to) = (format!("if={disk}"), format!("of={other}"));
    let copy = ["bs=1M", "count=2", "seek=4", "oflag=direct", "status=none"];
    run("dd", &[&[from.as_str(), &to][..], &copy].concat());
    let reader = Reader::new(Host, Tool::beside_us("test"));
    let frozen = async || {
        let snapshot = reader.read_group(&[], "vg").await.unwrap();
        let frozen = &snapshot.vg("vg").unwrap().frozen;
        frozen.iter().map(Freeze::code).collect::<Vec<_>>()
    };
    assert_eq!(frozen().await, [""; 0]);
    let size: u64 = run("blockdev", &["--getsz", disk]).parse().unwrap();
    let table = format!("0 {} linear {other} 8192", size - 8192);
    for _ in 0..3 {
        run("dmsetup", &["create", "copy", "--table", &table]);
        assert!(frozen().await.contains(&"DuplicatePV"));
        assert!(frozen().await.contains(&"DuplicatePV"));
        run("udevadm", &["settle"]);
        run("dmsetup", &["remove", "copy"]);
        assert_eq!(frozen().await, [""; 0]);
    }
}
