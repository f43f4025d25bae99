//! What is on a volume before it is published, and what becomes of it: nothing is ever
//! written over.

use std::os::unix::fs::FileExt;

use tonic::Code;

use crate::client::{Client, MIB, block, device, mount};
use crate::harness::{Driver, THIN, make_vg, output, run};

/// The checksum of a whole device.
fn sum(device: &str) -> String {
    run("sha256sum", &[device])
        .split(' ')
        .next()
        .unwrap()
        .to_owned()
}

/// Puts something on a device.
type Put = fn(&str);

/// Writes bytes straight to a device.
fn write(device: &str, bytes: &[u8], at: u64) {
    let file = std::fs::File::options().write(true).open(device).unwrap();
    file.write_all_at(bytes, at).unwrap();
    file.sync_all().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_a_volume_is_never_written_over() {
    make_vg(2, true);
    let driver = Driver::start(THIN).await;
    let mut client = Client::of(&driver).await;
    // (what, how it comes there). blkid knows the first five.
    let cases: [(&str, Put); 8] = [
        ("another file system", |d| drop(run("mkfs.xfs", &["-q", d]))),
        ("an older ext", |d| drop(run("mkfs.ext2", &["-q", d]))),
        ("a partition table", |d| {
            drop(output("sh", &["-c", &format!("echo ,,L | sfdisk -q {d}")]))
        }),
        ("encrypted data", |d| write(d, b"LUKS\xba\xbe\0\x02", 0)),
        ("a swap area", |d| drop(run("mkswap", &["-q", d]))),
        ("bytes at the beginning", |d| write(d, b"a database", 8192)),
        ("bytes behind the first block", |d| {
            write(d, b"a database", 500_000)
        }),
        ("bytes at the end", |d| {
            write(d, b"a database", 340 * (1 << 20) - 512)
        }),
    ];
    for (at, (what, put)) in cases.into_iter().enumerate() {
        // Made as a block volume, as a tenant that writes to it raw would have it.
        let id = client
            .create(&format!("v{at}"), "thin", 340 * MIB, block())
            .await;
        put(&device(&id));
        let before = sum(&device(&id));
        let refused = client.publish(&id, mount("ext4")).await.unwrap_err();
        assert_eq!(
            refused.code(),
            Code::FailedPrecondition,
            "{what}: {refused}"
        );
        assert_eq!(sum(&device(&id)), before, "{what}");
        println!(
            "{what}: refused with {:?}, sha256 {before} as before",
            refused.message()
        );
        client.delete(&id).await.unwrap();
    }
    driver.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_cannot_be_read_is_not_formatted() {
    make_vg(1, false);
    let driver = Driver::start(THIN).await;
    let mut client = Client::of(&driver).await;
    let id = client.create("v", "thick", 64 * MIB, mount("ext4")).await;
    let dm = run(
        "dmsetup",
        &["info", "-c", "--noheadings", "-o", "name", &device(&id)],
    );
    let table = run("dmsetup", &["table", &dm]);
    // Its end gives errors: blkid still says that there is nothing.
    let words: Vec<_> = table.split(' ').collect();
    let good: u64 = words[1].parse::<u64>().unwrap() - 64;
    let broken = format!(
        "0 {good} {} {} {}\n{good} 64 error",
        words[2], words[3], words[4]
    );
    run(
        "sh",
        &[
            "-c",
            &format!(
                "dmsetup suspend {dm} && printf '{broken}' | dmsetup load {dm} && dmsetup resume {dm}"
            ),
        ],
    );
    let blkid = output("blkid", &["-p", &device(&id)]);
    println!(
        "blkid of a volume whose end cannot be read: {:?}",
        blkid.status.code()
    );
    let refused = client.publish(&id, mount("ext4")).await.unwrap_err();
    assert!(refused.message().contains("cannot be read"), "{refused}");
    run(
        "sh",
        &[
            "-c",
            &format!(
                "dmsetup suspend {dm} && printf '{table}' | dmsetup load {dm} && dmsetup resume {dm}"
            ),
        ],
    );
    client.publish(&id, mount("ext4")).await.unwrap();
    client.unpublish(&id).await;
    driver.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inactive_volume_is_activated_checked_and_mounted_with_its_data() {
    make_vg(2, true);
    for kind in ["ext4", "xfs", "btrfs"] {
        let driver = Driver::start(THIN).await;
        let mut client = Client::of(&driver).await;
        let id = client.create(kind, "thin", 300 * MIB, mount(kind)).await;
        client.publish(&id, mount(kind)).await.unwrap();
        let file = client.target().join("data");
        std::fs::write(&file, kind).unwrap();
        client.unpublish(&id).await;
        driver.stop();
        // As after a boot on which nobody activated it.
        run("lvm", &["lvchange", "-an", &format!("vg/{id}")]);
        let driver = Driver::start(THIN).await;
        let mut client = Client::of(&driver).await;
        client.publish(&id, mount(kind)).await.unwrap();
        assert_eq!(
            std::fs::read_to_string(client.target().join("data")).unwrap(),
            kind
        );
        client.unpublish(&id).await;
        client.delete(&id).await.unwrap();
        driver.stop();
    }
}
