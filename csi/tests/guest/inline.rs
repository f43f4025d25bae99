//! Volumes that a pod's own specification asks for: made at the publish, gone with the unpublish, and nothing else with them.

use std::path::Path;
use std::time::{Duration, Instant};

use csi::proto::NodePublishVolumeRequest;
use tonic::{Code, Status};

use crate::client::{Client, MIB, block, device, mount};
use crate::harness::{Driver, THIN, make_vg, run};
use crate::random::Random;

const ID: &str = "csi-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A driver that makes inline volumes of up to 400 MiB in the class `thin`, and of up to 80 MiB in `thick`.
async fn start(dir: tempfile::TempDir) -> Driver {
    let file = dir.path().join("lvmd.yaml");
    // A class whose group this node does not have keeps nothing of the others from working.
    let absent = "- {name: absent, volume-group: absent, spare-gb: 0}\n";
    std::fs::write(&file, format!("{THIN}{absent}")).unwrap();
    let words = [
        "--standalone",
        "--inline-class=thin=400Mi",
        "--inline-class=thick=80Mi",
        "--config",
    ];
    let args: Vec<&Path> = words
        .iter()
        .map(Path::new)
        .chain([file.as_path()])
        .collect();
    Driver::start_with(dir, &args, &[]).await
}

fn request(client: &Client, class: &str, size: &str, kind: &str) -> NodePublishVolumeRequest {
    let mut request = client.publish_request(ID, mount(kind));
    request.volume_context = [
        ("csi.storage.k8s.io/ephemeral", "true"),
        ("csi.storage.k8s.io/pod.namespace", "ns"),
        ("csi.storage.k8s.io/pod.name", "pod-1"),
        ("topolvm.io/device-class", class),
        ("basalt.storage/size", size),
        ("basalt.storage/root-mode", "0770"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    request
}

async fn publish(client: &mut Client, class: &str, size: &str, kind: &str) -> Result<(), Status> {
    let request = request(client, class, size, kind);
    client.node.node_publish_volume(request).await.map(drop)
}

/// The LVs of the group that are volumes: names, sizes in MiB and tags.
fn lvs() -> Vec<String> {
    let options = "lv_name,lv_size,lv_tags";
    let all = run(
        "lvm",
        &[
            "lvs",
            "--noheadings",
            "--units",
            "m",
            "--nosuffix",
            "-o",
            options,
            "vg",
        ],
    );
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    all.lines()
        .map(words)
        .filter(|line| !line.starts_with("pool "))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inline_volume_lives_as_long_as_its_pod_through_a_reboot() {
    make_vg(2, true);
    let mut driver = start(tempfile::tempdir().unwrap()).await;
    for (class, size) in [("thin", 320), ("thick", 64)] {
        let mut client = Client::of(&driver).await;
        let kind = if class == "thin" { "xfs" } else { "ext4" };
        let asked = format!("{size}Mi");
        for _ in 0..2 {
            publish(&mut client, class, &asked, kind).await.unwrap();
        }
        let is = lvs();
        let tags =
            format!("basalt.content={kind},basalt.device-class={class},basalt.ephemeral=ns/pod-1");
        assert_eq!(is, [format!("{ID} {size}.00 {tags}")]);
        let data = client.target().join("data");
        std::fs::write(&data, class).unwrap();
        // A reboot: nothing is mounted and nothing active, and the kubelet publishes again.
        let (target, dir) = (client.target(), driver.kill());
        run("umount", &[target.to_str().unwrap()]);
        run("lvm", &["lvchange", "-an", &format!("vg/{ID}")]);
        driver = start(dir).await;
        let mut client = Client::of(&driver).await;
        publish(&mut client, class, &asked, kind).await.unwrap();
        assert_eq!(std::fs::read_to_string(&data).unwrap(), class);
        for _ in 0..2 {
            client.unpublish(ID).await;
            assert_eq!(lvs(), Vec::<String>::new());
        }
        assert!(!target.exists());
        println!("result: {class}: the same LV and data after a reboot, gone with the unpublish");
    }
    driver.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_unpublish_removes_what_was_not_made_for_a_pod() {
    make_vg(2, true);
    let driver = start(tempfile::tempdir().unwrap()).await;
    let mut client = Client::of(&driver).await;
    let volume = client.create("pvc", "thin", 64 * MIB, mount("ext4")).await;
    client.publish(&volume, mount("ext4")).await.unwrap();
    client.unpublish(&volume).await;
    // Somebody's LV with just this name.
    run("lvm", &["lvcreate", "-y", "-n", ID, "-L", "64M", "vg"]);
    let other = publish(&mut client, "thick", "64Mi", "ext4")
        .await
        .unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists, "{other}");
    client.unpublish(ID).await;
    assert_eq!(lvs().len(), 2, "{:?}", lvs());
    run("lvm", &["lvremove", "-y", &format!("vg/{ID}")]);
    // One that a person keeps: it is not to be had as a volume while it would go with its next user.
    publish(&mut client, "thin", "64Mi", "ext4").await.unwrap();
    std::fs::write(client.target().join("data"), "kept").unwrap();
    run("umount", &[client.target().to_str().unwrap()]);
    let kept = client.publish(ID, mount("ext4")).await.unwrap_err();
    assert_eq!(kept.code(), Code::FailedPrecondition, "{kept}");
    run(
        "lvm",
        &[
            "lvchange",
            "--deltag",
            "basalt.ephemeral=ns/pod-1",
            &format!("vg/{ID}"),
        ],
    );
    client.publish(ID, mount("ext4")).await.unwrap();
    client.unpublish(ID).await;
    client.publish(ID, mount("ext4")).await.unwrap();
    assert_eq!(
        std::fs::read_to_string(client.target().join("data")).unwrap(),
        "kept"
    );
    client.unpublish(ID).await;
    // And one that somebody has open stays until he has not.
    run(
        "lvm",
        &[
            "lvchange",
            "--addtag",
            "basalt.ephemeral=ns/pod-1",
            &format!("vg/{ID}"),
        ],
    );
    let held = std::fs::File::open(device(ID)).unwrap();
    let busy = client
        .node
        .node_unpublish_volume(csi::proto::NodeUnpublishVolumeRequest {
            volume_id: ID.into(),
            target_path: client.target().display().to_string(),
        });
    let busy = busy.await.unwrap_err();
    assert_eq!(busy.code(), Code::FailedPrecondition, "{busy}");
    assert_eq!(lvs().len(), 2);
    drop(held);
    client.unpublish(ID).await;
    assert_eq!(lvs().len(), 1, "{:?}", lvs());
    driver.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_or_does_not_fit_leaves_nothing() {
    make_vg(1, true);
    let driver = start(tempfile::tempdir().unwrap()).await;
    let mut client = Client::of(&driver).await;
    for (class, size, code) in [
        ("other", "64Mi", Code::FailedPrecondition),
        ("thin", "401Mi", Code::FailedPrecondition),
        ("thin", "many", Code::InvalidArgument),
    ] {
        let refused = publish(&mut client, class, size, "ext4").await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    let mut device = request(&client, "thin", "64Mi", "ext4");
    device.volume_capability = Some(block());
    let refused = client.node.node_publish_volume(device).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    run(
        "lvm",
        &["lvcreate", "-y", "-n", "full", "-l", "100%FREE", "vg"],
    );
    let full = publish(&mut client, "thick", "64Mi", "ext4")
        .await
        .unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted, "{full}");
    assert_eq!(lvs().len(), 1, "{:?}", lvs());
    driver.stop();
}

/// Asks as a kubelet does, again while the answer is Unavailable: what a cut lvcreate left is cleared away meanwhile. Gives how
/// often it had to ask again.
async fn persist(client: &mut Client, class: &str) -> usize {
    for again in 0..10 {
        match publish(client, class, "64Mi", "ext4").await {
            Ok(()) => return again,
            Err(status) if status.code() == Code::Unavailable => println!("{status}"),
            Err(status) => panic!("{status}"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("it is not published");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_is_one_volume_and_then_none() {
    let rounds = if std::env::var_os("BASALT_ALL").is_some() {
        40
    } else {
        6
    };
    make_vg(2, true);
    let mut random = Random::new();
    println!("{random:?}");
    let mut driver = start(tempfile::tempdir().unwrap()).await;
    let mut took = [Duration::from_millis(1); 2];
    let (mut left, mut again) = ([0; 2], 0);
    for round in 0..=rounds {
        let class = ["thin", "thick"][round % 2];
        // The first is not cut, and tells how long it takes.
        let moment = |random: &mut Random, took: Duration| match round {
            0 => Duration::from_secs(60),
            _ => took.mul_f64(f64::from(u32::try_from(random.below(1000)).unwrap()) / 1000.0),
        };
        let mut client = Client::of(&driver).await;
        let started = Instant::now();
        let limit = moment(&mut random, took[0]);
        let _ = tokio::time::timeout(limit, publish(&mut client, class, "64Mi", "ext4")).await;
        if round == 0 {
            took[0] = started.elapsed();
        } else {
            driver = start(driver.kill()).await;
        }
        left[0] += lvs().len();
        let mut client = Client::of(&driver).await;
        again += persist(&mut client, class).await;
        std::fs::write(client.target().join("data"), "x").unwrap();
        assert_eq!(lvs().len(), 1, "{:?}", lvs());
        let started = Instant::now();
        let limit = moment(&mut random, took[1]);
        let _ = tokio::time::timeout(limit, client.unpublish(ID)).await;
        if round == 0 {
            took[1] = started.elapsed();
        } else {
            driver = start(driver.kill()).await;
        }
        left[1] += lvs().len();
        let mut client = Client::of(&driver).await;
        client.unpublish(ID).await;
        assert!(!client.target().exists());
        assert_eq!(lvs(), Vec::<String>::new());
    }
    println!(
        "result: {rounds} kills in publishes of {:.0?} and as many in unpublishes of {:.0?}: an LV was there after {} and {}, \
         and {again} publishes after that were to be asked for again",
        took[0], took[1], left[0], left[1]
    );
    driver.stop();
}
