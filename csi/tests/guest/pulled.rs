//! A disk that is pulled while its volume is in use, and plugged in again.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::client::{Client, MIB, mount};
use crate::harness::{Driver, output, run};
use crate::scsi::Bench;

const CLASSES: &str = "device-classes:
- {name: thick, volume-group: pulled, default: true, spare-gb: 0}
";

/// What is said to be wrong with the volume; `None` while nothing is, an error while its VG is away.
async fn wrong(client: &mut Client, id: &str) -> Result<Option<String>, tonic::Code> {
    let stats = client.stats(id).await.map_err(|status| status.code())?;
    let condition = stats.volume_condition.unwrap();
    Ok(condition.abnormal.then_some(condition.message))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_whose_disk_was_pulled_is_published_again_when_the_disk_is_back() {
    let bench = Bench::new(256, 512);
    let disk = bench.add();
    run("udevadm", &["settle"]);
    let node = disk.node().to_str().unwrap().to_owned();
    run("lvm", &["vgcreate", "-q", "pulled", &node]);
    let driver = Driver::start(CLASSES).await;
    let mut client = Client::of(&driver).await;
    let id = client.create("fs", "thick", 64 * MIB, mount("ext4")).await;
    client.publish(&id, mount("ext4")).await.unwrap();
    let file = client.target().join("data");
    let mut kept = std::fs::File::create(&file).unwrap();
    kept.write_all(b"kept").unwrap();
    kept.sync_all().unwrap();
    drop(kept);

    disk.pull();
    let mut lost = std::fs::File::create(client.target().join("lost")).unwrap();
    let failed = lost.write_all(b"lost").and_then(|()| lost.sync_all());
    assert!(failed.is_err(), "who writes is told");
    drop(lost);
    disk.plug();
    assert_ne!(
        disk.node().to_str().unwrap(),
        node,
        "the old name is in use"
    );
    let back = Instant::now();
    let said = loop {
        if let Ok(Some(said)) = wrong(&mut client, &id).await
            && said.contains("gone")
        {
            break said;
        }
        assert!(back.elapsed() < Duration::from_secs(60), "nothing is said");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    println!(
        "\nresult: {:.1?} after the disk is back: {said}",
        back.elapsed()
    );

    client.unpublish(&id).await;
    client.publish(&id, mount("ext4")).await.unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    assert_eq!(wrong(&mut client, &id).await, Ok(None));
    println!("result: it was published again, with its data");
    client.unpublish(&id).await;
    client.delete(&id).await.unwrap();
    driver.stop();
    output("lvm", &["vgremove", "-q", "-y", "pulled"]);
}
