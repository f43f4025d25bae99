//! mkfs that does not come to its end: what it left is made anew, unless it is somebody's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tonic::Code;

use crate::client::{Client, MIB, block, device, mount};
use crate::harness::{Driver, THIN, make_vg, output, run};
use crate::random::Random;

const KINDS: [&str; 3] = ["ext4", "xfs", "btrfs"];

/// What blkid calls it.
fn blkid(device: &str) -> String {
    let out = output("blkid", &["-p", "-o", "value", "-s", "TYPE", device]);
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// Whether the device begins with anything.
fn is_blank(device: &str) -> bool {
    output("cmp", &["-n", "1048576", device, "/dev/zero"])
        .status
        .success()
}

/// The file system is whole, says its own checker, which changes nothing.
fn assert_whole(kind: &str, device: &str) {
    match kind {
        "ext4" => run("e2fsck", &["-fn", device]),
        "xfs" => run("xfs_repair", &["-n", device]),
        _ => run("btrfs", &["check", "--readonly", device]),
    };
}

/// The volume is published, keeps what is written to it, and is whole.
async fn assert_usable(client: &mut Client, id: &str, kind: &str) {
    client.publish(id, mount(kind)).await.unwrap();
    let file = client.target().join("data");
    std::fs::write(&file, kind).unwrap();
    client.unpublish(id).await;
    assert_whole(kind, &device(id));
    client.publish(id, mount(kind)).await.unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), kind);
    client.unpublish(id).await;
}

/// A thick volume on one disk whose middle gives errors until [`Self::mend`]: mkfs begins and fails.
struct Broken {
    dm: String,
    table: String,
}

impl Broken {
    fn new(device: &str, size: i64) -> Self {
        let dm = run(
            "dmsetup",
            &["info", "-c", "--noheadings", "-o", "name", device],
        );
        let table = run("dmsetup", &["table", &dm]);
        let this = Self { dm, table };
        let words: Vec<_> = this.table.split(' ').collect();
        let (disk, start) = (words[3], words[4].parse::<i64>().unwrap());
        let (from, to, end) = (48 * MIB / 512, (size - 2 * MIB) / 512, size / 512);
        this.load(&format!(
            "0 {from} linear {disk} {start}\\n{from} {} error\\n{to} {} linear {disk} {}",
            to - from,
            end - to,
            start + to
        ));
        this
    }

    fn load(&self, table: &str) {
        let dm = &self.dm;
        let script = format!(
            "dmsetup suspend {dm} && printf '{table}' | dmsetup load {dm} && dmsetup resume {dm}"
        );
        run("sh", &["-c", &script]);
    }

    fn mend(self) {
        self.load(&self.table);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_was_not_finished_is_made_again() {
    make_vg(2, false);
    let driver = Driver::start(THIN).await;
    let mut client = Client::of(&driver).await;
    for kind in KINDS {
        let size = 320 * MIB;
        let id = client.create(kind, "thick", size, mount(kind)).await;
        let broken = Broken::new(&device(&id), size);
        let failed = client.publish(&id, mount(kind)).await.unwrap_err();
        assert!(failed.message().contains("mkfs"), "{failed}");
        println!(
            "{kind}: mkfs failed and left what blkid calls {:?}, blank: {}",
            blkid(&device(&id)),
            is_blank(&device(&id))
        );
        broken.mend();
        assert_usable(&mut client, &id, kind).await;
        client.delete(&id).await.unwrap();
    }
    driver.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_driver_made_of_an_unfinished_file_system_is_kept() {
    make_vg(2, false);
    let driver = Driver::start(THIN).await;
    let mut client = Client::of(&driver).await;
    for kind in ["ext4", "xfs"] {
        let size = 320 * MIB;
        let id = client.create(kind, "thick", size, mount(kind)).await;
        let broken = Broken::new(&device(&id), size);
        client.publish(&id, mount(kind)).await.unwrap_err();
        broken.mend();
        // As upstream does; a user's file is on it then.
        let at = driver.dir.path().join("upstream");
        std::fs::create_dir_all(&at).unwrap();
        let force = if kind == "ext4" { "-F" } else { "-f" };
        run("wipefs", &["-a", &device(&id)]);
        run(&format!("mkfs.{kind}"), &["-q", force, &device(&id)]);
        run("mount", &[&device(&id), at.to_str().unwrap()]);
        std::fs::write(at.join("data"), "theirs").unwrap();
        run("umount", &[at.to_str().unwrap()]);
        client.publish(&id, mount(kind)).await.unwrap();
        let data = std::fs::read_to_string(client.target().join("data")).unwrap();
        assert_eq!(data, "theirs", "{kind}");
        client.unpublish(&id).await;
        client.delete(&id).await.unwrap();
    }
    driver.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_file_system_that_was_given_out_as_a_device_is_its_users() {
    make_vg(2, false);
    let driver = Driver::start(THIN).await;
    let mut client = Client::of(&driver).await;
    let size = 320 * MIB;
    let id = client.create("v", "thick", size, mount("xfs")).await;
    let broken = Broken::new(&device(&id), size);
    client.publish(&id, mount("xfs")).await.unwrap_err();
    broken.mend();
    client.publish(&id, block()).await.unwrap();
    run(
        "dd",
        &[
            "if=/dev/urandom",
            &format!("of={}", client.target().display()),
            "bs=1M",
            "count=1",
            "conv=fsync,notrunc",
        ],
    );
    client.unpublish(&id).await;
    let sum = run("sha256sum", &[&device(&id)]);
    let refused = client.publish(&id, mount("xfs")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert_eq!(run("sha256sum", &[&device(&id)]), sum);
    driver.stop();
}

/// How often mkfs of each kind is cut.
fn cuts() -> u32 {
    let all = std::env::vars().any(|(key, _)| key == "BASALT_ALL");
    if all { 30 } else { 4 }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_formatting() {
    make_vg(3, true);
    let mut random = Random::new();
    println!("moments from {random:?}");
    let mut driver = Driver::start(THIN).await;
    for kind in KINDS {
        let mut client = Client::of(&driver).await;
        let mut takes = Duration::ZERO;
        for name in ["first", "second"] {
            let id = client.create(name, "thin", 300 * MIB, mount(kind)).await;
            let started = Instant::now();
            client.publish(&id, mount(kind)).await.unwrap();
            takes = started.elapsed();
            client.unpublish(&id).await;
            client.delete(&id).await.unwrap();
        }
        let mut left = BTreeMap::<String, u32>::new();
        for cut in 0..cuts() {
            let mut client = Client::of(&driver).await;
            let id = client
                .create(&format!("{kind}{cut}"), "thin", 300 * MIB, mount(kind))
                .await;
            let micros = random.below(u64::try_from(takes.as_micros()).unwrap());
            let publish = client.publish(&id, mount(kind));
            let _ = tokio::time::timeout(Duration::from_micros(micros), publish).await;
            let entries = driver.dir.path().join("formatting");
            let dir = driver.kill();
            let entry = std::fs::read_dir(entries).is_ok_and(|dir| dir.count() > 0);
            let found = match (blkid(&device(&id)).as_str(), is_blank(&device(&id))) {
                ("", true) => "blank".to_owned(),
                ("", false) => "unknown".to_owned(),
                (known, _) => known.to_owned(),
            };
            let noted = if entry { "noted" } else { "not noted" };
            *left.entry(format!("{found}, {noted}")).or_default() += 1;
            driver = Driver::start_in(dir, THIN).await;
            let mut client = Client::of(&driver).await;
            assert_usable(&mut client, &id, kind).await;
            client.delete(&id).await.unwrap();
        }
        println!(
            "result: {kind}: killed with its mkfs at {} random moments of {takes:.0?}, left {left:?}, each usable and \
             whole at the next publish",
            cuts()
        );
    }
    driver.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_does_not_zero_shows_no_removed_volume_where_a_file_system_is_told_by() {
    make_vg(1, true);
    run("lvm", &["lvchange", "-q", "--zero", "n", "vg/pool"]);
    let driver = Driver::start(THIN).await;
    let mut client = Client::of(&driver).await;
    let size = 300 * MIB;
    let id = client.create("removed", "thin", size, block()).await;
    client.publish(&id, block()).await.unwrap();
    let fill = format!(
        "yes JUNKJUNK | dd of={} bs=1M count=64 iflag=fullblock oflag=direct status=none",
        device(&id)
    );
    run("sh", &["-c", &fill]);
    client.unpublish(&id).await;
    client.delete(&id).await.unwrap();

    let id = client.create("new", "thin", size, mount("ext4")).await;
    assert!(is_blank(&device(&id)), "nothing is written to a new volume");
    assert_usable(&mut client, &id, "ext4").await;
    let junk = |from: &str| {
        let count = format!("{from} {} | grep -ac JUNKJUNK || true", device(&id));
        run("sh", &["-c", &count]).parse::<u64>().unwrap()
    };
    let (edge, all) = (junk("head -c 1048576"), junk("cat"));
    println!("result: of a removed volume {all} lines show, {edge} of them in the first MiB");
    assert_eq!(edge, 0);
    driver.stop();
}
