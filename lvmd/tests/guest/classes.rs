//! Several thick classes of one volume group.

use tonic::Code;

use crate::harness::{Daemon, MIB, code, eventually, lvm, make_vg, write_config};

const ONE: &str = "device-classes:
- {name: plain, volume-group: vg, default: true, spare-gb: 0, zero: none, thick-snapshots: copy}
";
const TWO: &str = "device-classes:
- {name: raid, volume-group: vg, spare-gb: 0, zero: none, lvcreate-options: [--type=raid1, -m1, --nosync]}
- {name: plain, volume-group: vg, default: true, spare-gb: 0, zero: none, thick-snapshots: copy}
";

#[tokio::test(flavor = "multi_thread")]
async fn each_thick_class_of_a_group_has_its_own_volumes_and_those_of_before() {
    make_vg(2, false);
    let lvmd = Daemon::start(ONE).await;
    lvmd.create("before", "plain", 8 * MIB).await.unwrap();
    let dir = lvmd.stop();
    write_config(dir.path(), TWO);
    let lvmd = Daemon::start_in(dir, TWO).await;
    lvmd.create("p", "", 8 * MIB).await.unwrap();
    lvmd.create("r", "raid", 8 * MIB).await.unwrap();
    let segment = |name: &str| {
        let lv = format!("vg/{name}");
        lvm(&["lvs", "--noheadings", "-o", "segtype,lv_tags", &lv])
    };
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(segment("r")), "raid1 basalt.device-class=raid");
    assert_eq!(words(segment("p")), "linear basalt.device-class=plain");
    assert_eq!(words(segment("before")), "linear");
    assert_eq!(lvmd.names("raid").await, ["before", "r"]);
    assert_eq!(lvmd.names("plain").await, ["before", "p"]);
    assert_eq!(
        lvmd.create("r", "raid", 8 * MIB).await.unwrap().size_bytes,
        8 * MIB,
        "asked again"
    );
    assert!(lvmd.free("raid").await.unwrap() * 2 <= lvmd.free("plain").await.unwrap());

    // Nothing is done to another class's volume.
    assert_eq!(
        code(lvmd.create("r", "plain", 8 * MIB).await),
        Code::AlreadyExists
    );
    for wrong in [
        code(lvmd.remove("r", "plain").await),
        code(lvmd.resize("r", "plain", 16 * MIB).await),
        code(lvmd.snapshot_in("plain", "r", "s", "ro", 0, &[]).await),
    ] {
        assert_eq!(wrong, Code::FailedPrecondition);
    }
    assert_eq!(lvmd.names("raid").await, ["before", "r"]);

    eventually("p is copied", async || {
        let copied = lvmd.snapshot_in("plain", "p", "s", "ro", 0, &[]).await;
        copied.is_ok()
    })
    .await;
    assert_eq!(lvmd.names("plain").await, ["before", "p", "s"]);
    assert_eq!(
        lvmd.names("raid").await,
        ["before", "r"],
        "the copy is of its source's class"
    );

    assert_eq!(lvmd.resize("r", "raid", 16 * MIB).await.unwrap(), 16 * MIB);
    lvmd.remove("before", "plain").await.unwrap();
    lvmd.remove("r", "raid").await.unwrap();
    lvmd.remove("s", "plain").await.unwrap();
    lvmd.remove("p", "plain").await.unwrap();
    assert_eq!(lvm(&["lvs", "--noheadings", "vg"]), "");
    println!("result: 2 thick classes of a group, 4 volumes, 4 refusals");
}
