//! A disk that is pulled while its volume is in use, and plugged in again.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use csi::proto::NodeUnpublishVolumeRequest;

use crate::client::{Client, MIB, mount};
use crate::harness::{Driver, output, run};
use crate::scsi::Bench;

const CLASSES: &str = "device-classes:
- {name: thick, volume-group: pulled, default: true, spare-gb: 0}
- {name: thin, volume-group: pulled, spare-gb: 0, type: thin, thin-pool: {name: pool, overprovision-ratio: 2.0}}
";

/// What is said to be wrong with the volume; `None` while nothing is, an error while its VG is away.
async fn wrong(client: &mut Client, id: &str) -> Result<Option<String>, tonic::Code> {
    let stats = client.stats(id).await.map_err(|status| status.code())?;
    let condition = stats.volume_condition.unwrap();
    Ok(condition.abnormal.then_some(condition.message))
}

/// Writes a file and waits until it is on the disk.
fn synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Waits until the volume's device is said to be on a disk that is gone, and gives the words with the time it took.
async fn gone(client: &mut Client, id: &str) -> String {
    let back = Instant::now();
    loop {
        if let Ok(Some(said)) = wrong(client, id).await
            && said.contains("gone")
        {
            return format!("{:.1?} after the disk is back: {said}", back.elapsed());
        }
        assert!(back.elapsed() < Duration::from_secs(60), "nothing is said");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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
    synced(&file, b"kept").unwrap();

    disk.pull();
    let failed = synced(&client.target().join("lost"), b"lost");
    assert!(failed.is_err(), "who writes is told");
    disk.plug();
    assert_ne!(
        disk.node().to_str().unwrap(),
        node,
        "the old name is in use"
    );
    let said = gone(&mut client, &id).await;
    println!("\nresult: {said}");

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

/// What is in memory of a pool that lost its disk is never written to the disk that comes back: the pool waits until
/// nothing of it is open, and starts from what was committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_whose_disk_was_pulled_is_used_again_when_the_disk_is_back_and_nothing_of_it_is_open()
 {
    let bench = Bench::new(256, 512);
    let disk = bench.add();
    run("udevadm", &["settle"]);
    let node = disk.node().to_str().unwrap().to_owned();
    run("lvm", &["vgcreate", "-q", "pulled", &node]);
    let pool = ["lvcreate", "-q", "-L", "200M", "-T", "pulled/pool"];
    run("lvm", &pool);
    let driver = Driver::start(CLASSES).await;
    let mut client = Client::of(&driver).await;
    let ids = [
        client.create("one", "thin", 64 * MIB, mount("ext4")).await,
        client.create("two", "thin", 64 * MIB, mount("ext4")).await,
    ];
    for id in &ids {
        client.publish(id, mount("ext4")).await.unwrap();
        synced(&client.target().join("data"), id.as_bytes()).unwrap();
        client.unpublish(id).await;
    }
    let other = driver.dir.path().join("pods/b/mount");
    let mut request = client.publish_request(&ids[1], mount("ext4"));
    request.target_path = other.display().to_string();
    client.node.node_publish_volume(request).await.unwrap();
    client.publish(&ids[0], mount("ext4")).await.unwrap();

    disk.pull();
    // The pool has to find blocks for it, and write down which: it cannot.
    let failed = synced(&client.target().join("lost"), &vec![7; 8 << 20]);
    assert!(failed.is_err(), "who writes is told");
    disk.plug();
    let said = gone(&mut client, &ids[0]).await;
    println!("\nresult: {said}");

    client.unpublish(&ids[0]).await;
    let refused = client.publish(&ids[0], mount("ext4")).await.unwrap_err();
    assert!(
        refused.message().contains(&ids[1]) && refused.message().contains("end what uses"),
        "the other volume is in use: {refused}"
    );
    println!("result: while another is mounted: {}", refused.message());
    let request = NodeUnpublishVolumeRequest {
        volume_id: ids[1].clone(),
        target_path: other.display().to_string(),
    };
    client.node.node_unpublish_volume(request).await.unwrap();
    for id in &ids {
        client.publish(id, mount("ext4")).await.unwrap();
        let kept = std::fs::read_to_string(client.target().join("data")).unwrap();
        assert_eq!(&kept, id, "what was synced is there");
        synced(&client.target().join("new"), &vec![9; 8 << 20]).unwrap();
        assert_eq!(wrong(&mut client, id).await, Ok(None));
        client.unpublish(id).await;
    }
    println!("result: both were published again, with their data, and can be written");
    run("lvm", &["lvchange", "-q", "-an", "pulled"]);
    run("lvm", &["lvchange", "-q", "-y", "-ay", "pulled/pool_tmeta"]);
    run("thin_check", &["/dev/pulled/pool_tmeta"]);
    run("lvm", &["lvchange", "-q", "-an", "pulled/pool_tmeta"]);
    for id in &ids {
        client.delete(id).await.unwrap();
    }
    driver.stop();
    output("lvm", &["vgremove", "-q", "-y", "pulled"]);
}
