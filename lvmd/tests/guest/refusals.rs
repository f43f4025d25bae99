//! Every code an operation can be refused with, and that a refusal changes nothing.

use tonic::Code;

use crate::harness::{
    BOTH, Daemon, GIB, MIB, code, disks, eventually, lvm, make_vg, node, output, run, write_config,
};

fn layout() -> String {
    // udevd opens a new device to look at it, which lvs shows.
    run("udevadm", &["settle"]);
    lvm(&[
        "lvs",
        "-a",
        "--noheadings",
        "-o",
        "lv_name,lv_size,lv_attr,lv_tags",
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_with_its_code_and_changes_nothing() {
    make_vg(2, true);
    let lvmd = Daemon::start(BOTH).await;
    lvmd.create("thick1", "thick", 8 * MIB).await.unwrap();
    lvmd.create("thin1", "thin", 8 * MIB).await.unwrap();
    let before = layout();

    assert_eq!(code(lvmd.create("x", "nothing", MIB).await), Code::NotFound);
    assert_eq!(code(lvmd.free("nothing").await), Code::NotFound);
    assert_eq!(code(lvmd.list("nothing").await), Code::NotFound);
    assert_eq!(
        code(lvmd.resize("thick1", "nothing", GIB).await),
        Code::NotFound
    );
    assert_eq!(
        code(lvmd.resize("nothing", "thick", GIB).await),
        Code::NotFound
    );
    for bad in ["a/b", "", "-x", "x_tdata", "a b"] {
        assert_eq!(
            code(lvmd.create(bad, "thick", MIB).await),
            Code::InvalidArgument,
            "{bad:?}"
        );
    }
    assert_eq!(
        code(lvmd.create_tagged("x", "thick", MIB, &["@at"]).await),
        Code::InvalidArgument
    );
    assert_eq!(
        code(lvmd.create("x", "thick", 0).await),
        Code::InvalidArgument
    );
    assert_eq!(
        code(lvmd.create("x", "thick", -1).await),
        Code::InvalidArgument
    );
    assert_eq!(
        code(lvmd.create("x", "thick", 10 * GIB).await),
        Code::ResourceExhausted
    );
    assert_eq!(
        code(lvmd.create("x", "thin", 10 * GIB).await),
        Code::ResourceExhausted
    );
    assert_eq!(
        code(lvmd.resize("thick1", "thick", 10 * GIB).await),
        Code::ResourceExhausted
    );
    assert_eq!(
        code(lvmd.resize("thin1", "thin", 10 * GIB).await),
        Code::ResourceExhausted
    );
    // A removal never reads as "already removed" because the class is gone or another.
    assert_eq!(
        code(lvmd.remove("thick1", "nothing").await),
        Code::FailedPrecondition
    );
    assert_eq!(
        code(lvmd.remove("thick1", "thin").await),
        Code::FailedPrecondition
    );
    assert_eq!(
        code(lvmd.remove("thin1", "thick").await),
        Code::FailedPrecondition
    );
    assert_eq!(
        code(lvmd.remove("pool", "thin").await),
        Code::FailedPrecondition
    );
    assert_eq!(
        code(lvmd.remove("pool", "thick").await),
        Code::FailedPrecondition
    );
    assert_eq!(
        code(lvmd.resize("thin1", "thick", 16 * MIB).await),
        Code::FailedPrecondition
    );
    assert_eq!(
        code(lvmd.create("thin1", "thick", 8 * MIB).await),
        Code::AlreadyExists
    );
    assert_eq!(layout(), before, "a refusal changes nothing");
    lvmd.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_volume_and_an_origin_of_thick_snapshots_are_not_removed() {
    make_vg(2, true);
    let lvmd = Daemon::start(BOTH).await;
    for class in ["thick", "thin"] {
        let made = lvmd.create("held", class, 8 * MIB).await.unwrap();
        let open = std::fs::File::open(node(&made)).unwrap();
        assert_eq!(
            code(lvmd.remove("held", class).await),
            Code::FailedPrecondition
        );
        drop(open);
        eventually("the volume is removed once closed", async || {
            lvmd.remove("held", class).await.is_ok()
        })
        .await;
    }
    lvmd.create("origin", "thick", 8 * MIB).await.unwrap();
    lvm(&["lvcreate", "-y", "-s", "-L", "4M", "-n", "cow", "vg/origin"]);
    assert_eq!(
        code(lvmd.remove("origin", "thick").await),
        Code::FailedPrecondition
    );
    assert_eq!(
        code(lvmd.resize("origin", "thick", 16 * MIB).await),
        Code::FailedPrecondition
    );
    lvmd.create_tagged("foreign", "thick", 4 * MIB, &["basalt.owner=somebody"])
        .await
        .unwrap();
    assert_eq!(
        code(lvmd.remove("foreign", "thick").await),
        Code::FailedPrecondition
    );
    lvmd.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_lvm_does_not_take_for_a_thin_volume_are_an_invalid_argument() {
    make_vg(2, true);
    let options = "lvcreate-option-classes:
- {name: raid1, options: [--type=raid1]}
- {name: mirrors, options: [--mirrors=1]}
";
    let lvmd = Daemon::start(&format!("{BOTH}{options}")).await;
    for class in ["raid1", "mirrors"] {
        let request = lvmd::proto::CreateLvRequest {
            name: "v".into(),
            device_class: "thin".into(),
            size_bytes: 8 * MIB,
            lvcreate_option_class: class.into(),
            ..Default::default()
        };
        let refused = lvmd.lv().create_lv(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{class}: {refused}");
        println!("{class}: {refused}");
    }
    assert!(lvmd.names("thin").await.is_empty());
    lvmd.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_a_group_with_a_long_name_is_overwritten_and_removed() {
    make_vg(1, false);
    let group = format!("a-{}", "g".repeat(80));
    lvm(&["vgrename", "vg", &group]);
    let config = format!(
        "device-classes:\n- {{name: a, volume-group: {group}, default: true, spare-gb: 0}}\n"
    );
    let lvmd = Daemon::start(&config).await;
    lvmd.create("v", "a", 8 * MIB).await.unwrap();
    lvmd.remove("v", "a").await.unwrap();
    assert!(
        lvmd.names("a").await.is_empty(),
        "it is out of sight at once"
    );
    assert_eq!(code(lvmd.remove("v", "a").await), Code::NotFound);
    eventually("it is overwritten and gone", async || {
        lvm(&["lvs", "--noheadings", "-o", "lv_name", &group]).is_empty()
    })
    .await;
    assert!(lvmd.log().contains("overwritten"));
    lvmd.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn spare_space_stripes_and_raid_count_before_lvcreate_and_after() {
    make_vg(2, false);
    let config = "device-classes:
- {name: spare, volume-group: vg, default: true, spare-gb: 1, zero: none}
lvcreate-option-classes:
- {name: raid1, options: [--type=raid1]}
- {name: stripe2, options: [--stripes=2]}
- {name: toomany, options: [--stripes=4]}
";
    let lvmd = Daemon::start(config).await;
    assert_eq!(lvmd.free("spare").await.unwrap(), 0);
    assert_eq!(
        code(lvmd.create("x", "spare", 4 * MIB).await),
        Code::ResourceExhausted,
        "spare space is enforced"
    );
    write_config(
        lvmd.dir.path(),
        &config.replace("spare-gb: 1", "spare-gb: 0"),
    );
    eventually("the new configuration is taken up", async || {
        lvmd.free("spare").await.unwrap() > 0
    })
    .await;
    let free = i64::try_from(lvmd.free("spare").await.unwrap()).unwrap();

    let with = async |name: &str, class: &str, size: i64| {
        let request = lvmd::proto::CreateLvRequest {
            name: name.into(),
            device_class: "spare".into(),
            lvcreate_option_class: class.into(),
            size_bytes: size,
            ..Default::default()
        };
        lvmd.lv()
            .create_lv(request)
            .await
            .map(|r| r.into_inner().volume.unwrap())
    };
    assert_eq!(
        code(with("x", "raid1", free / 2 + MIB).await),
        Code::ResourceExhausted
    );
    assert_eq!(
        code(with("x", "toomany", 16 * MIB).await),
        Code::ResourceExhausted,
        "more stripes than disks"
    );
    assert_eq!(
        code(with("x", "unknown", 16 * MIB).await),
        Code::InvalidArgument
    );
    assert_eq!(
        with("s", "stripe2", 4 * MIB).await.unwrap().size_bytes,
        8 * MIB,
        "a multiple of the stripes"
    );
    assert_eq!(
        with("s", "stripe2", 4 * MIB).await.unwrap().size_bytes,
        8 * MIB,
        "and found again"
    );
    with("r", "raid1", 8 * MIB).await.unwrap();
    assert_eq!(
        lvm(&["lvs", "--noheadings", "-o", "segtype", "vg/r"]),
        "raid1"
    );
    let all = i64::try_from(lvmd.free("spare").await.unwrap()).unwrap();
    lvmd.create("all", "spare", all).await.unwrap();
    assert_eq!(lvmd.free("spare").await.unwrap(), 0);
    assert_eq!(
        code(lvmd.create("more", "spare", 4 * MIB).await),
        Code::ResourceExhausted
    );
    lvmd.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_creations_keep_the_overprovision_limit() {
    make_vg(1, true);
    let lvmd = Daemon::start(BOTH).await;
    let free = i64::try_from(lvmd.free("thin").await.unwrap()).unwrap();
    let each = free / 10 / (4 * MIB) * (4 * MIB);
    let tasks: Vec<_> = (0..20)
        .map(|i| {
            let mut client = lvmd.lv();
            let request = lvmd::proto::CreateLvRequest {
                name: format!("p{i}"),
                device_class: "thin".into(),
                size_bytes: each,
                ..Default::default()
            };
            tokio::spawn(async move { client.create_lv(request).await.map(drop) })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => made += 1,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
    }
    assert_eq!(made, free / each);
    lvmd.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_really_full_pool_takes_no_new_volume() {
    make_vg(1, true);
    let lvmd = Daemon::start(BOTH).await;
    let size = lvm(&[
        "lvs",
        "--noheadings",
        "--units",
        "m",
        "--nosuffix",
        "-o",
        "lv_size",
        "vg/pool",
    ]);
    let pool_mib = size.trim().parse::<f64>().unwrap();
    let made = lvmd.create("big", "thin", GIB).await.unwrap();
    let write = |percent: f64| {
        let count = format!("count={:.0}", pool_mib * percent / 100.0);
        output(
            "dd",
            &[
                "if=/dev/urandom",
                &format!("of={}", node(&made).display()),
                "bs=1M",
                &count,
                "oflag=direct",
                "status=none",
            ],
        );
    };
    write(80.0);
    lvmd.create("above-the-mark", "thin", 4 * MIB)
        .await
        .unwrap();
    write(96.0);
    assert_eq!(
        code(lvmd.create("above-the-gate", "thin", 4 * MIB).await),
        Code::ResourceExhausted
    );
    assert_eq!(
        code(lvmd.snapshot("big", "s", "ro", 0).await),
        Code::ResourceExhausted
    );
    let _ = disks();
    lvmd.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vg_of_another_host_or_exported_is_frozen_and_says_why() {
    make_vg(1, false);
    let lvmd = Daemon::start(
        "device-classes:\n- {name: a, volume-group: vg, default: true, spare-gb: 0, zero: none}\n",
    )
    .await;
    assert!(lvmd.free("a").await.unwrap() > 0);
    for (freeze, thaw, code_name) in [
        ("vgexport vg", "vgimport vg", "Exported"),
        ("vgchange -y --systemid otherhost vg", "", "ForeignSystemID"),
    ] {
        lvm(&freeze.split(' ').collect::<Vec<_>>());
        let refused = lvmd.create("v", "a", 4 * MIB).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains(code_name), "{refused}");
        assert_eq!(lvmd.free("a").await.unwrap(), 0, "it draws no volumes");
        if !thaw.is_empty() {
            lvm(&thaw.split(' ').collect::<Vec<_>>());
            lvmd.create("v", "a", 4 * MIB).await.unwrap();
            lvmd.remove("v", "a").await.unwrap();
        }
    }
    lvmd.stop();
}
