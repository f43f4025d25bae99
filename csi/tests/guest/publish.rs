//! Publishing, growing, copying: the ways of a volume through its life.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use csi::proto::volume_capability::AccessMode;
use csi::proto::volume_capability::access_mode::Mode;
use tonic::Code;

use crate::client::{Client, MIB, block, device, mount};
use crate::harness::{Driver, THIN, make_vg, run};

/// How many mounts there are at a path.
fn mounts_at(path: &Path) -> usize {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    lvmd::mountinfo::parse(&table)
        .iter()
        .filter(|mount| mount.at == path)
        .count()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Bytes of the volume published at the default target.
async fn total(client: &mut Client, id: &str) -> i64 {
    let stats = client.stats(id).await.unwrap();
    assert!(!stats.volume_condition.unwrap().abnormal);
    stats.usage[0].total
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_publish_mounts_once_and_leaves_the_roots_mode_alone() {
    make_vg(2, true);
    let driver = Driver::start(THIN).await;
    let mut client = Client::of(&driver).await;
    let id = client.create("fs", "thin", 64 * MIB, mount("ext4")).await;
    let target = client.target();
    client.publish(&id, mount("ext4")).await.unwrap();
    assert_eq!(mode(&target), 0o2777, "upstream's default");
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o750)).unwrap();
    client.publish(&id, mount("ext4")).await.unwrap();
    assert_eq!((mounts_at(&target), mode(&target)), (1, 0o750));
    let busy = client.delete(&id).await.unwrap_err();
    assert_eq!(busy.code(), Code::FailedPrecondition, "{busy}");
    client.unpublish(&id).await;
    client.unpublish(&id).await;
    assert!(!target.exists());
    let mut request = client.publish_request(&id, mount("ext4"));
    request
        .volume_context
        .insert("basalt.storage/root-mode".into(), "0711".into());
    client.node.node_publish_volume(request).await.unwrap();
    assert_eq!(mode(&target), 0o711);
    client.unpublish(&id).await;

    let id = client.create("device", "thin", 64 * MIB, block()).await;
    for _ in 0..3 {
        client.publish(&id, block()).await.unwrap();
    }
    assert!(
        std::fs::metadata(&target)
            .unwrap()
            .file_type()
            .is_block_device()
    );
    assert_eq!(mounts_at(&target), 1);
    assert_eq!(total(&mut client, &id).await, 64 * MIB);
    client.unpublish(&id).await;
    assert!(!target.exists());
    driver.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_for_reading_only_is_never_written() {
    make_vg(2, true);
    let driver = Driver::start(THIN).await;
    let mut client = Client::of(&driver).await;
    let id = client.create("fs", "thin", 64 * MIB, mount("ext4")).await;
    let mut request = client.publish_request(&id, mount("ext4"));
    request.readonly = true;
    let blank = client
        .node
        .node_publish_volume(request.clone())
        .await
        .unwrap_err();
    assert_eq!(blank.code(), Code::FailedPrecondition, "{blank}");
    client.publish(&id, mount("ext4")).await.unwrap();
    std::fs::write(client.target().join("data"), "x").unwrap();
    client.unpublish(&id).await;
    client
        .node
        .node_publish_volume(request.clone())
        .await
        .unwrap();
    assert!(std::fs::write(client.target().join("data"), "y").is_err());
    assert_eq!(
        std::fs::read_to_string(client.target().join("data")).unwrap(),
        "x"
    );
    client.node.node_publish_volume(request).await.unwrap();
    let other = client.publish(&id, mount("ext4")).await.unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists, "{other}");
    client.unpublish(&id).await;
    driver.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workloads_share_a_volume_unless_it_is_for_one() {
    make_vg(2, true);
    let driver = Driver::start(THIN).await;
    let mut client = Client::of(&driver).await;
    for (mode, second) in [
        (Mode::SingleNodeMultiWriter, Ok(())),
        (Mode::SingleNodeSingleWriter, Err(Code::FailedPrecondition)),
    ] {
        for plain in [mount("xfs"), block()] {
            let mut capability = plain;
            capability.access_mode = Some(AccessMode { mode: mode.into() });
            let id = client
                .create(
                    &format!("{capability:?}"),
                    "thin",
                    300 * MIB,
                    capability.clone(),
                )
                .await;
            client.publish(&id, capability.clone()).await.unwrap();
            let mut other = client.publish_request(&id, capability);
            let beside = driver.dir.path().join("pods/b/mount");
            other.target_path = beside.display().to_string();
            let result = client
                .node
                .node_publish_volume(other)
                .await
                .map(drop)
                .map_err(|e| e.code());
            assert_eq!(result, second, "{mode:?}");
            client.unpublish(&id).await;
            let unpublish = csi::proto::NodeUnpublishVolumeRequest {
                volume_id: id.clone(),
                target_path: beside.display().to_string(),
            };
            client.node.node_unpublish_volume(unpublish).await.unwrap();
            client.delete(&id).await.unwrap();
        }
    }
    driver.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_grow_mounted_and_unmounted() {
    make_vg(4, true);
    let driver = Driver::start(THIN).await;
    let mut client = Client::of(&driver).await;
    for kind in ["ext4", "xfs", "btrfs"] {
        let id = client.create(kind, "thin", 300 * MIB, mount(kind)).await;
        client.publish(&id, mount(kind)).await.unwrap();
        let first = total(&mut client, &id).await;
        let target = client.target();
        client.grow(&id, 400 * MIB, &target).await;
        let second = total(&mut client, &id).await;
        assert!(second > first + 80 * MIB, "{kind}: {first} {second}");
        client.unpublish(&id).await;
        // Nobody called NodeExpandVolume: the next publish grows it.
        run("lvm", &["lvextend", "-L", "500M", &format!("vg/{id}")]);
        client.publish(&id, mount(kind)).await.unwrap();
        let third = total(&mut client, &id).await;
        assert!(third > second + 80 * MIB, "{kind}: {second} {third}");
        println!("{kind}: {first} -> {second} mounted -> {third} unmounted");
        client.unpublish(&id).await;
        client.delete(&id).await.unwrap();
    }
    driver.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_mounted_beside_their_source_and_are_their_own() {
    make_vg(4, true);
    let driver = Driver::start(THIN).await;
    let mut client = Client::of(&driver).await;
    let read = |path: &Path| std::fs::read_to_string(path.join("data")).unwrap();
    let id = client
        .create("source", "thin", 300 * MIB, mount("xfs"))
        .await;
    client.publish(&id, mount("xfs")).await.unwrap();
    let target = client.target();
    std::fs::write(target.join("data"), "before").unwrap();
    run("sync", &["-f", target.to_str().unwrap()]);
    let snapshot = client.snapshot(&id, "snapshot").await;
    std::fs::write(target.join("data"), "after").unwrap();
    run("sync", &["-f", target.to_str().unwrap()]);
    let copies = [
        (
            client
                .restore_of(&snapshot, "restored", 400 * MIB, mount("xfs"))
                .await,
            "before",
        ),
        (
            client
                .clone_of(&id, "cloned", 300 * MIB, mount("xfs"))
                .await,
            "after",
        ),
    ];
    for (copy, data) in copies {
        let beside = driver.dir.path().join("pods/copy");
        let mut request = client.publish_request(&copy, mount("xfs"));
        request.target_path = beside.display().to_string();
        client.node.node_publish_volume(request).await.unwrap();
        assert_eq!(read(&beside), data);
        std::fs::write(beside.join("data"), "changed").unwrap();
        assert_eq!(read(&target), "after");
        let unpublish = csi::proto::NodeUnpublishVolumeRequest {
            volume_id: copy.clone(),
            target_path: beside.display().to_string(),
        };
        client.node.node_unpublish_volume(unpublish).await.unwrap();
        client.delete(&copy).await.unwrap();
    }
    // A snapshot outlives its source.
    client.unpublish(&id).await;
    client.delete(&id).await.unwrap();
    assert!(!Path::new(&device(&id)).exists());
    let copy = client
        .restore_of(&snapshot, "later", 300 * MIB, mount("xfs"))
        .await;
    client.publish(&copy, mount("xfs")).await.unwrap();
    assert_eq!(read(&target), "before");
    client.unpublish(&copy).await;
    driver.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_device_shows_in_the_volumes_condition() {
    make_vg(1, false);
    let driver = Driver::start(
        THIN.lines()
            .filter(|l| !l.contains("thin-pool"))
            .collect::<Vec<_>>()
            .join("\n")
            .as_str(),
    )
    .await;
    let mut client = Client::of(&driver).await;
    let id = client.create("v", "thick", 64 * MIB, mount("ext4")).await;
    client.publish(&id, mount("ext4")).await.unwrap();
    let dm = run(
        "dmsetup",
        &["info", "-c", "--noheadings", "-o", "name", &device(&id)],
    );
    let table = run("dmsetup", &["table", &dm]);
    run(
        "sh",
        &[
            "-c",
            &format!(
                "dmsetup suspend {dm} && echo 0 131072 error | dmsetup load {dm} && dmsetup resume {dm}"
            ),
        ],
    );
    // ext4 gives up at the first write it cannot make.
    let _ = std::fs::write(client.target().join("data"), vec![1; 1 << 20]);
    let _ = crate::harness::output("sync", &["-f", client.target().to_str().unwrap()]);
    let started = Instant::now();
    let condition = loop {
        let condition = client.stats(&id).await.unwrap().volume_condition.unwrap();
        if condition.abnormal || started.elapsed() > Duration::from_secs(30) {
            break condition;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    println!("condition: {}", condition.message);
    assert!(condition.abnormal);
    run(
        "sh",
        &[
            "-c",
            &format!(
                "dmsetup suspend --nolockfs {dm} && printf '{table}' | dmsetup load {dm} && dmsetup resume {dm}"
            ),
        ],
    );
    client.unpublish(&id).await;
    driver.stop();
}
