//! What the node does for a pod needs no lvm, and waits for nobody who changes the volume group.

use std::path::Path;

use crate::client::{Client, MIB, block, device, mount};
use crate::fake_lvm::Fake;
use crate::harness::{Driver, THIN, make_vg, run};

/// The calls of lvm that were noted there.
fn calls(file: &Path) -> Vec<String> {
    let calls = std::fs::read_to_string(file).unwrap_or_default();
    calls.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_published_measured_grown_and_unpublished_while_somebody_changes_its_group() {
    make_vg(2, true);
    let driver = Driver::start(THIN).await;
    let mut client = Client::of(&driver).await;
    let (small, large) = (64 * MIB, 128 * MIB);
    let mut volumes = Vec::new();
    for (name, capability) in [
        ("ext4", mount("ext4")),
        ("xfs", mount("xfs")),
        ("block", block()),
    ] {
        // xfs is made on no less than 300 MiB.
        let factor = if name == "xfs" { 5 } else { 1 };
        let id = client
            .create(name, "thin", factor * small, capability.clone())
            .await;
        // Made and grown by now is what the controller asks for.
        client.extend(&id, factor * large).await;
        volumes.push((id, capability, factor * large));
    }
    let dir = tempfile::tempdir().unwrap();
    let noted = dir.path().join("calls");
    let script = format!("echo \"$@\" >>{}\nexec $REAL \"$@\"", noted.display());
    let lvm = Fake::install(dir.path(), &script);
    // As an lvm that takes long holds it (lvmlockctl(8), file locking).
    let lock = std::fs::File::create("/run/lock/lvm/V_vg").unwrap();
    lock.lock().unwrap();
    let target = client.target();
    for (id, capability, size) in &volumes {
        client.publish(id, capability.clone()).await.unwrap();
        client.publish(id, capability.clone()).await.unwrap();
        client.stats(id).await.unwrap();
        client.expand(id, *size, &target).await;
        let total = client.stats(id).await.unwrap().usage[0].total;
        assert!(total > size * 7 / 10, "{id} has {total} bytes of {size}");
        client.unpublish(id).await;
    }
    assert_eq!(calls(&noted), [""; 0], "lvm was run");
    drop(lock);

    // The one that a reboot left inactive needs one call.
    let (id, capability, _) = &volumes[0];
    device(id);
    let real = dir.path().join("real/lvm");
    run(
        real.to_str().unwrap(),
        &["lvchange", "-an", &format!("vg/{id}")],
    );
    client.publish(id, capability.clone()).await.unwrap();
    let called = calls(&noted);
    println!("\nresult: to publish an inactive volume lvm was called with {called:?}");
    assert_eq!(called.len(), 1, "{called:?}");
    client.unpublish(id).await;
    drop(lvm);
    driver.stop();
}
