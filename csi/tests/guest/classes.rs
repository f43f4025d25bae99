//! Thick classes that share a volume group.

use csi::proto::ListVolumesRequest;

use crate::client::{Client, MIB, block};
use crate::harness::{Driver, make_vg};

const ONE: &str = "device-classes:
- {name: plain, volume-group: vg, default: true, spare-gb: 0, zero: none}
";
const TWO: &str = "device-classes:
- {name: plain, volume-group: vg, default: true, spare-gb: 0, zero: none}
- {name: raid, volume-group: vg, spare-gb: 0, zero: none, lvcreate-options: [--type=raid1, -m1, --nosync]}
";

async fn listed(client: &mut Client) -> Vec<String> {
    let listed = client
        .controller
        .list_volumes(ListVolumesRequest::default());
    let entries = listed.await.unwrap().into_inner().entries;
    let ids = entries
        .into_iter()
        .map(|entry| entry.volume.unwrap().volume_id);
    let mut ids: Vec<_> = ids.collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_from_before_the_second_class_of_its_group_is_there_once() {
    make_vg(2, false);
    let driver = Driver::start(ONE).await;
    let mut client = Client::of(&driver).await;
    let before = client.create("before", "", 8 * MIB, block()).await;
    let driver = Driver::start_in(driver.kill(), TWO).await;
    let mut client = Client::of(&driver).await;
    let raid = client.create("raid", "raid", 8 * MIB, block()).await;
    assert_eq!(
        client.create("raid", "raid", 8 * MIB, block()).await,
        raid,
        "asked again"
    );
    let mut both = vec![before.clone(), raid.clone()];
    both.sort();
    assert_eq!(listed(&mut client).await, both);
    for id in &both {
        client.publish(id, block()).await.unwrap();
        client.unpublish(id).await;
        client.delete(id).await.unwrap();
    }
    assert_eq!(listed(&mut client).await, Vec::<String>::new());
    driver.stop();
}
