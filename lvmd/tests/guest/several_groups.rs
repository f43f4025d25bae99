//! Device classes over several volume groups.

use std::collections::BTreeSet;

use lvmd::proto::CreateLvRequest;
use tonic::Code;

use crate::harness::{Daemon, MIB, clean, code, disks, eventually, lvm, write_config};

const SPREAD: &str = "device-classes:
- {name: spread, volume-groups: [vg, other], default: true, spare-gb: 0, zero: none, thick-snapshots: copy}
- {name: pair, volume-groups: [vg, other], spare-gb: 0, zero: none, lvcreate-options: [--type=raid1, -m1, --nosync]}
";
/// The same without the group `other`.
const LESS: &str = "device-classes:
- {name: spread, volume-groups: [vg], default: true, spare-gb: 0, zero: none, thick-snapshots: copy}
";
const THIN: &str = "device-classes:
- {name: thin, volume-groups: [vg, other], spare-gb: 0, type: thin, thin-pool: {name: pool, overprovision-ratio: 1.0}}
";

/// A VG `vg` of one disk, and `other` of two.
fn two_groups() {
    clean();
    let disks = disks();
    lvm(&["vgcreate", "vg", &disks[0]]);
    lvm(&["vgcreate", "other", &disks[1], &disks[2]]);
}

/// The groups that have an LV of this name.
fn groups_of(name: &str) -> Vec<String> {
    let select = format!("lv_name={name}");
    let found = lvm(&["lvs", "--noheadings", "-o", "vg_name", "-S", &select]);
    found.split_whitespace().map(str::to_owned).collect()
}

fn free_in(vg: &str) -> u64 {
    let free = ["-o", "vg_free", "--units", "b", "--nosuffix", vg];
    lvm(&[&["vgs", "--noheadings"][..], &free].concat())
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_goes_to_the_roomier_group_and_is_found_in_whichever_it_is() {
    two_groups();
    let lvmd = Daemon::start(SPREAD).await;
    assert_eq!(lvmd.free("spread").await.unwrap(), free_in("other"));
    lvmd.create("o", "", 600 * MIB).await.unwrap();
    lvmd.create("v", "", 300 * MIB).await.unwrap();
    lvmd.create("o2", "", 400 * MIB).await.unwrap();
    assert_eq!(groups_of("o"), ["other"]);
    assert_eq!(groups_of("v"), ["vg"], "the roomier one by then");
    assert_eq!(groups_of("o2"), ["other"]);
    assert_eq!(lvmd.free("").await.unwrap(), free_in("vg"));
    let full = lvmd.create("w", "", 300 * MIB).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted);
    assert!(
        full.message().contains("vg: ") && full.message().contains("other: "),
        "{full}"
    );

    // Asked again, and after a cut that left it, or the half of it, in the fuller group.
    lvmd.create("v", "", 300 * MIB).await.unwrap();
    lvmd.remove("o2", "spread").await.unwrap();
    lvm(&["lvcreate", "-y", "-n", "left", "-L", "8M", "vg"]);
    let creating = ["--addtag", "basalt.state=creating"];
    lvm(&[
        &["lvcreate", "-y", "-n", "half", "-L", "8M", "vg"][..],
        &creating,
    ]
    .concat());
    assert!(free_in("other") > free_in("vg"));
    for name in ["left", "half"] {
        let made = lvmd.create(name, "", 8 * MIB).await.unwrap();
        assert_eq!(made.size_bytes, 8 * MIB);
        assert_eq!(groups_of(name), ["vg"], "{name}");
    }
    assert_eq!(
        lvm(&["lvs", "--noheadings", "-o", "lv_tags", "vg/half"]),
        "basalt.device-class=spread"
    );

    assert_eq!(lvmd.resize("v", "", 308 * MIB).await.unwrap(), 308 * MIB);
    assert_eq!(lvmd.activate("v", "spread").await.unwrap().name, "v");
    eventually("left is copied", async || {
        let copied = lvmd.snapshot_in("spread", "left", "s", "ro", 0, &[]).await;
        copied.is_ok()
    })
    .await;
    assert_eq!(groups_of("s"), ["vg"], "where its source is");
    assert_eq!(lvmd.names("spread").await, ["half", "left", "o", "s", "v"]);
    for name in ["half", "left", "o", "s", "v"] {
        lvmd.remove(name, "spread").await.unwrap();
        assert_eq!(code(lvmd.remove(name, "spread").await), Code::NotFound);
    }
    assert_eq!(lvm(&["lvs", "--noheadings"]), "");

    // The class's figures and those of each group.
    eventually("metrics say so", async || {
        let (_, page) = lvmd.page("/metrics");
        let has = |line: String| page.lines().any(|is| is == line);
        has(format!(
            "topolvm_volumegroup_available_bytes{{device_class=\"spread\"}} {}",
            free_in("other")
        )) && ["vg", "other"].iter().all(|vg| {
            let labels = format!("{{device_class=\"spread\",volume_group=\"{vg}\"}}");
            has(format!(
                "lvmd_class_volumegroup_free_bytes{labels} {}",
                free_in(vg)
            ))
        })
    })
    .await;
    println!("result: 7 volumes and a copy in 2 groups of a class");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_has_not_what_it_takes_leaves_it_to_the_next_and_requests_at_once_are_spread()
{
    two_groups();
    for (name, disk) in ["filler1", "filler2"].into_iter().zip(&disks()[1..]) {
        lvm(&["lvcreate", "-y", "-n", name, "-L", "320M", "other", disk]);
    }
    let lvmd = Daemon::start(SPREAD).await;
    assert!(free_in("vg") > free_in("other"));
    lvmd.create("p", "pair", 20 * MIB).await.unwrap();
    assert_eq!(groups_of("p"), ["other"], "vg has one disk");
    lvm(&["lvremove", "-y", "other/filler1", "other/filler2"]);

    let names: Vec<_> = (0..8).map(|n| format!("v{n}")).collect();
    // Each is asked for twice, at once.
    let asked = names.iter().chain(&names).map(|name| {
        let mut client = lvmd.lv();
        let request = CreateLvRequest {
            name: name.clone(),
            size_bytes: 120 * MIB,
            ..Default::default()
        };
        tokio::spawn(async move { client.create_lv(request).await })
    });
    for made in asked.collect::<Vec<_>>() {
        made.await.unwrap().unwrap();
    }
    let places: Vec<_> = names.iter().map(|name| groups_of(name)).collect();
    assert!(places.iter().all(|groups| groups.len() == 1), "{places:?}");
    let used: BTreeSet<_> = places.into_iter().flatten().collect();
    assert_eq!(used.len(), 2);
    println!("result: 16 requests at once for 8 names, each in one of 2 groups");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_group_is_away_nothing_is_called_gone_and_nothing_new_is_made() {
    two_groups();
    let lvmd = Daemon::start(SPREAD).await;
    lvmd.create("o", "", 200 * MIB).await.unwrap();
    lvm(&["lvcreate", "-y", "-n", "v", "-L", "20M", "vg"]);
    lvm(&["vgrename", "other", "gone"]);
    for refused in [
        code(lvmd.remove("o", "").await),
        code(lvmd.remove("never", "").await),
        code(lvmd.resize("o", "", 300 * MIB).await),
        code(lvmd.activate("o", "").await),
        code(lvmd.create("new", "", 8 * MIB).await),
        code(lvmd.create("o", "", 200 * MIB).await),
        code(lvmd.snapshot_in("spread", "o", "s", "ro", 0, &[]).await),
    ] {
        assert_eq!(refused, Code::Unavailable);
    }
    assert_eq!(lvmd.free("spread").await.unwrap(), 0);
    // What the other group has goes on.
    assert_eq!(lvmd.names("spread").await, ["v"]);
    assert_eq!(lvmd.resize("v", "", 24 * MIB).await.unwrap(), 24 * MIB);
    assert_eq!(lvmd.activate("v", "").await.unwrap().name, "v");
    eventually("it is told", async || {
        let (_, page) = lvmd.page("/metrics");
        page.contains("lvmd_condition{device_class=\"spread\",condition=\"VGMissing\"} 1")
    })
    .await;
    lvmd.remove("v", "").await.unwrap();

    // Taken out of the list: its volumes are not gone while it is there.
    write_config(lvmd.dir.path(), LESS);
    eventually("room without it", async || {
        lvmd.free("spread").await.unwrap() > 0
    })
    .await;
    lvmd.create("new", "", 8 * MIB).await.unwrap();
    lvm(&["vgrename", "gone", "other"]);
    let kept = lvmd.remove("o", "spread").await.unwrap_err();
    assert_eq!(kept.code(), Code::FailedPrecondition);
    assert!(kept.message().contains("volume group other"), "{kept}");
    assert_eq!(groups_of("o"), ["other"]);
    assert_eq!(code(lvmd.remove("never", "").await), Code::NotFound);

    // And in again.
    write_config(lvmd.dir.path(), SPREAD);
    eventually("o is listed", async || {
        lvmd.names("spread").await == ["new", "o"]
    })
    .await;

    // A name in both is nobody's to choose.
    lvm(&["lvcreate", "-y", "-n", "o", "-L", "8M", "vg"]);
    for refused in [
        code(lvmd.remove("o", "").await),
        code(lvmd.resize("o", "", 300 * MIB).await),
        code(lvmd.activate("o", "").await),
        code(lvmd.create("o", "", 8 * MIB).await),
    ] {
        assert_eq!(refused, Code::FailedPrecondition);
    }
    assert_eq!(groups_of("o").len(), 2);
    lvm(&["lvremove", "-y", "vg/o"]);
    lvmd.remove("o", "").await.unwrap();
    println!(
        "result: 7 refusals while a group was away, 1 while it was not listed, 4 of a name in two"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn thin_volumes_are_spread_over_the_pools_and_snapshots_stay_in_theirs() {
    two_groups();
    lvm(&["lvcreate", "-y", "-L", "100M", "-T", "vg/pool"]);
    let lvmd = Daemon::start(THIN).await;
    // One group has no pool yet: it gives nothing, and takes nothing from the other.
    assert_eq!(lvmd.free("thin").await.unwrap(), 100 << 20);
    lvmd.create("a", "thin", 60 * MIB).await.unwrap();
    lvm(&["lvcreate", "-y", "-L", "200M", "-T", "other/pool"]);
    assert_eq!(lvmd.free("thin").await.unwrap(), 200 << 20);
    lvmd.create("b", "thin", 180 * MIB).await.unwrap();
    assert_eq!(
        (groups_of("a"), groups_of("b")),
        (vec!["vg".into()], vec!["other".into()])
    );
    // 40 MiB are left where a is, 20 where b is.
    assert_eq!(
        code(lvmd.snapshot("a", "s", "rw", 0).await),
        Code::ResourceExhausted
    );
    assert_eq!(groups_of("s"), Vec::<String>::new());
    lvmd.create("c", "thin", 16 * MIB).await.unwrap();
    lvmd.snapshot("c", "s", "ro", 0).await.unwrap();
    lvmd.snapshot("c", "s", "ro", 0).await.unwrap();
    assert_eq!(
        (groups_of("c"), groups_of("s")),
        (vec!["vg".into()], vec!["vg".into()])
    );
    assert_eq!(
        code(lvmd.snapshot("b", "s", "ro", 0).await),
        Code::AlreadyExists
    );
    assert_eq!(
        code(lvmd.snapshot("none", "t", "ro", 0).await),
        Code::NotFound
    );
    assert_eq!(lvmd.names("thin").await, ["a", "b", "c", "s"]);
    println!("result: 3 thin volumes and a snapshot in 2 pools of a class");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_volume_in_a_full_group_is_made_in_another_and_one_that_no_class_has_is_not_made_again()
 {
    clean();
    for (vg, disk) in ["vg", "other", "third"].into_iter().zip(disks()) {
        lvm(&["vgcreate", vg, &disk]);
    }
    let lvmd = Daemon::start(SPREAD).await;
    lvmd.create("first", "", 8 * MIB).await.unwrap();
    let creating = ["--addtag", "basalt.state=creating"];
    let half = ["lvcreate", "-y", "-n", "half", "-L", "8M", "vg"];
    lvm(&[&half[..], &creating].concat());
    lvm(&["lvcreate", "-y", "-n", "filler", "-l", "90%FREE", "vg"]);
    lvmd.create("half", "", 200 * MIB).await.unwrap();
    assert_eq!(groups_of("half"), ["other"]);

    // As when its class had that group.
    lvm(&["lvcreate", "-y", "-n", "v", "-L", "8M", "third"]);
    let there = lvmd.create("v", "", 8 * MIB).await.unwrap_err();
    assert_eq!(there.code(), Code::FailedPrecondition);
    assert!(there.message().contains("in volume group third"), "{there}");
    assert_eq!(groups_of("v"), ["third"]);
    lvm(&["lvremove", "-y", "third/v"]);
    lvmd.create("v", "", 8 * MIB).await.unwrap();
    assert_eq!(groups_of("v"), ["other"]);
    println!("result: a half made whole elsewhere, 1 refusal of a name that no class has");
}
