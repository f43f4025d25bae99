//! Every RPC on thick and thin volumes.

use lvmd::proto::CreateLvSnapshotRequest;
use tonic::Code;

use crate::harness::{BOTH, Daemon, GIB, MIB, code, eventually, lvm, make_vg, node, run};

/// How many other volumes there are meanwhile, in two runs.
const OTHERS: [usize; 2] = [0, 100];

/// A VG `vg` with the pool `pool`, and so many volumes of a class in it. They are inactive: udevd takes 0.4 s to see one.
fn make_vg_with(others: usize, class: &str) {
    make_vg(2, true);
    let what = if class == "thin" {
        "-an -V 4M -T vg/pool"
    } else {
        "-an -l 1 -Zn -Wn vg"
    };
    let lines = (0..others).map(|i| format!("\nlvcreate -y -qq {what} -n other{i:03}"));
    let script = "/tmp/others.lvm";
    std::fs::write(script, format!("#!lvm{}\n", lines.collect::<String>())).unwrap();
    if others > 0 {
        lvm(&[script]);
    }
    run("udevadm", &["settle"]);
}

async fn life_of_a_volume(class: &str, others: usize) {
    make_vg_with(others, class);
    let lvmd = Daemon::start(BOTH).await;
    let before = lvmd.free(class).await.unwrap();
    let made = lvmd.create("v1", class, 10 * MIB).await.unwrap();
    assert_eq!(made.size_bytes, 12 * MIB, "whole extents of 4 MiB");
    std::fs::write(node(&made), b"data").unwrap();
    assert_eq!(lvmd.free(class).await.unwrap(), before - 12 * 1024 * 1024);
    assert_eq!(
        lvmd.create("v1", class, 10 * MIB).await.unwrap().dev_minor,
        made.dev_minor,
        "a repeated request finds it"
    );
    assert_eq!(
        code(lvmd.create("v1", class, 20 * MIB).await),
        Code::AlreadyExists
    );

    assert_eq!(lvmd.resize("v1", class, 17 * MIB).await.unwrap(), 20 * MIB);
    assert_eq!(
        lvmd.resize("v1", class, MIB).await.unwrap(),
        20 * MIB,
        "nothing shrinks"
    );
    assert_eq!(
        lvm(&[
            "lvs",
            "--noheadings",
            "-o",
            "lv_size",
            "--units",
            "m",
            "--nosuffix",
            "vg/v1"
        ]),
        "20.00"
    );

    // udevd looks at a device that changed; until it is done the volume is open.
    run("udevadm", &["settle"]);
    let listed = lvmd.list(class).await.unwrap();
    assert_eq!(listed.len(), others + 1);
    let [volume] = &*listed
        .iter()
        .filter(|lv| lv.name == "v1")
        .collect::<Vec<_>>()
    else {
        panic!("{listed:?}")
    };
    assert_eq!(
        (volume.name.as_str(), volume.path.as_str()),
        ("v1", "/dev/vg/v1")
    );
    assert_eq!(
        volume.attr,
        lvm(&["lvs", "--noheadings", "-o", "lv_attr", "vg/v1"])
    );
    let other = if class == "thin" { "thick" } else { "thin" };
    assert!(lvmd.names(other).await.is_empty());

    lvmd.remove("v1", class).await.unwrap();
    assert_eq!(
        code(lvmd.remove("v1", class).await),
        Code::NotFound,
        "shown not to exist"
    );
    assert_eq!(lvmd.free(class).await.unwrap(), before);
    assert!(!lvm(&["lvs", "--noheadings", "-o", "lv_name"]).contains("v1"));
    assert_eq!(lvmd.names(class).await.len(), others);
    lvmd.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thick_volume_lives_and_dies() {
    for others in OTHERS {
        life_of_a_volume("thick", others).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thin_volume_lives_and_dies() {
    for others in OTHERS {
        life_of_a_volume("thin", others).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn snapshots_are_taken_grown_and_independent() {
    for others in OTHERS {
        life_of_snapshots(others).await;
    }
}

async fn life_of_snapshots(others: usize) {
    make_vg_with(others, "thin");
    let lvmd = Daemon::start(BOTH).await;
    let source = lvmd.create("src", "thin", 32 * MIB).await.unwrap();
    std::fs::write(node(&source), b"before").unwrap();
    let ro = lvmd.snapshot("src", "ro", "ro", 0).await.unwrap();
    assert_eq!(ro.size_bytes, 32 * MIB);
    let rw = lvmd.snapshot("src", "rw", "rw", 64 * MIB).await.unwrap();
    assert_eq!(rw.size_bytes, 64 * MIB);
    let grown_ro = lvmd
        .snapshot("src", "ro-grown", "ro", 64 * MIB)
        .await
        .unwrap();
    assert_eq!(grown_ro.size_bytes, 64 * MIB);
    std::fs::write(node(&source), b"after!").unwrap();
    for snapshot in [&ro, &rw, &grown_ro] {
        let mut head = [0; 6];
        std::io::Read::read_exact(&mut std::fs::File::open(node(snapshot)).unwrap(), &mut head)
            .unwrap();
        assert_eq!(&head, b"before", "{snapshot:?}");
    }
    let written = std::fs::File::options().write(true).open(node(&ro));
    let written = written.and_then(|mut file| {
        std::io::Write::write_all(&mut file, &[1; 4096])?;
        file.sync_all()
    });
    assert!(written.is_err(), "a read-only snapshot takes no writes");
    assert_eq!(
        lvmd.snapshot("src", "rw", "rw", 64 * MIB)
            .await
            .unwrap()
            .dev_minor,
        rw.dev_minor,
        "a repeated request finds it"
    );
    assert_eq!(
        code(lvmd.snapshot("src", "rw", "ro", 0).await),
        Code::AlreadyExists
    );
    assert_eq!(
        code(lvmd.snapshot("src", "small", "ro", MIB).await),
        Code::OutOfRange
    );
    assert_eq!(
        code(lvmd.snapshot("nothing", "s", "ro", 0).await),
        Code::NotFound
    );
    assert_eq!(
        code(lvmd.snapshot("src", "s", "maybe", 0).await),
        Code::InvalidArgument
    );
    assert_eq!(
        code(lvmd.snapshot("src", "huge", "rw", 64 * GIB).await),
        Code::ResourceExhausted
    );
    lvmd.remove("src", "thin").await.unwrap();
    let mut names = lvmd.names("thin").await;
    assert_eq!(names.len(), others + 3);
    names.retain(|name| !name.starts_with("other"));
    assert_eq!(
        names,
        ["ro", "ro-grown", "rw"],
        "snapshots outlive their source"
    );
    lvmd.stop();
}

/// How many lvm commands ended so far, reports left out.
fn processes(daemon: &Daemon) -> u64 {
    let page = daemon.page("/metrics").1;
    page.lines()
        .filter(|line| line.starts_with("lvmd_command_seconds_count") && !line.contains("report"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_one_lvm_process() {
    make_vg(1, true);
    let daemon = Daemon::start(BOTH).await;
    // The first volume in a fresh pool, and whatever was looked at when lvmd started.
    daemon.create("first", "thin", 8 * MIB).await.unwrap();
    let mut before = processes(&daemon);
    let mut took = |what: &str, expected: u64| {
        let now = processes(&daemon);
        assert_eq!(now - before, expected, "{what}");
        before = now;
    };
    let long = "basalt.pvc=a-namespace/a-claim-with-a-rather-long-name-as-people-have-them";
    for class in ["thick", "thin"] {
        let tags = ["basalt.lv=v", long];
        let made = daemon.create_tagged("v", class, 8 * MIB, &tags).await;
        made.unwrap();
        let listed = daemon.list(class).await.unwrap();
        assert!(listed.iter().any(|lv| lv.name == "v" && lv.tags == tags));
        took(&format!("creating {class}"), 1);
        daemon.resize("v", class, 12 * MIB).await.unwrap();
        took(&format!("growing {class}"), 1);
        daemon.remove("v", class).await.unwrap();
        took(&format!("removing {class}"), 1);
    }
    daemon.snapshot("first", "ro", "ro", 0).await.unwrap();
    took("a snapshot", 1);
    daemon
        .snapshot("first", "rw", "rw", 12 * MIB)
        .await
        .unwrap();
    took("a snapshot that grows", 2);
    daemon.stop();

    let zeroed = BOTH.replace(", zero: none", "");
    let daemon = Daemon::start(&zeroed).await;
    daemon.create("v", "thick", 8 * MIB).await.unwrap();
    let before = processes(&daemon);
    daemon.remove("v", "thick").await.unwrap();
    // Tagging and renaming, and removing when it is overwritten; lvm counts when it has ended.
    eventually("its space is given back by two processes", async || {
        let out = lvm(&["lvs", "--noheadings", "-o", "lv_name", "-a", "vg"]);
        let took = processes(&daemon) - before;
        assert!(took <= 2, "{took}");
        took == 2 && !out.contains("wiping")
    })
    .await;
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_version_made_with_fewer_tags_is_found_and_gets_the_others() {
    make_vg(1, true);
    let lvmd = Daemon::start(BOTH).await;
    let tags = async |name: &str, class: &str| {
        let all = lvmd.list(class).await.unwrap();
        let mut tags = all.into_iter().find(|lv| lv.name == name).unwrap().tags;
        tags.sort();
        tags
    };
    let copy = async |tags: &[&str]| {
        let request = CreateLvSnapshotRequest {
            name: "s".into(),
            source_volume: "thin".into(),
            device_class: "thin".into(),
            access_type: "ro".into(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..Default::default()
        };
        let made = lvmd.lv().create_lv_snapshot(request).await?;
        Ok::<_, tonic::Status>(made.into_inner().snapshot.unwrap())
    };
    let (fewer, all) = (["basalt.lv=pvc-1"], ["basalt.lv=pvc-1", "basalt.pvc=ns/a"]);
    for class in ["thick", "thin"] {
        let make = async |tags: &[&str]| lvmd.create_tagged(class, class, 8 * MIB, tags).await;
        make(&fewer).await.unwrap();
        make(&all).await.unwrap();
        assert_eq!(tags(class, class).await, all);
        assert_eq!(code(make(&["basalt.lv=pvc-2"]).await), Code::AlreadyExists);
    }
    copy(&fewer).await.unwrap();
    copy(&all).await.unwrap();
    assert_eq!(tags("s", "thin").await, all);
    assert_eq!(code(copy(&["basalt.lv=pvc-2"]).await), Code::AlreadyExists);
    lvmd.stop();
}
