//! Thick classes that share a volume group, and one that has two.

use csi::proto::ListVolumesRequest;
use tonic::Code;

use crate::client::{Client, MIB, block};
use crate::harness::{Driver, disks, make_vg, run};

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

const SPREAD: &str = "device-classes:
- {name: spread, volume-groups: [vg, other], default: true, spare-gb: 0, zero: none}
";
const LESS: &str = "device-classes:
- {name: spread, volume-group: vg, default: true, spare-gb: 0, zero: none}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_in_a_group_that_is_away_or_no_longer_listed_is_not_called_gone() {
    make_vg(1, false);
    run("lvm", &["vgcreate", "other", &disks()[1]]);
    let driver = Driver::start(SPREAD).await;
    let mut client = Client::of(&driver).await;
    // The first goes to the first of two that are as large, the next to the one with more room then.
    let here = client.create("here", "", 80 * MIB, block()).await;
    let there = client.create("there", "", 8 * MIB, block()).await;
    let is_in = |vg: &str, id: &str| run("lvm", &["lvs", "--noheadings", vg]).contains(id);
    assert!(is_in("vg", &here) && is_in("other", &there));
    let mut both = vec![here.clone(), there.clone()];
    both.sort();
    assert_eq!(listed(&mut client).await, both);
    run("lvm", &["vgrename", "other", "away"]);
    let published = client.publish(&there, block()).await.unwrap_err();
    let deleted = client.delete(&there).await.unwrap_err();
    assert_eq!(
        (published.code(), deleted.code()),
        (Code::Unavailable, Code::Unavailable)
    );
    client.publish(&here, block()).await.unwrap();
    client.unpublish(&here).await;

    let driver = Driver::start_in(driver.kill(), LESS).await;
    let mut client = Client::of(&driver).await;
    for refused in [
        client.publish(&there, block()).await.map(drop),
        client.delete(&there).await.map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("volume group away"), "{refused}");
    }
    assert!(is_in("away", &there));
    client.delete(&here).await.unwrap();

    run("lvm", &["vgrename", "away", "other"]);
    let driver = Driver::start_in(driver.kill(), SPREAD).await;
    let mut client = Client::of(&driver).await;
    client.publish(&there, block()).await.unwrap();
    client.unpublish(&there).await;
    client.delete(&there).await.unwrap();
    client.delete(&there).await.unwrap();
    assert!(!is_in("other", &there));
    driver.stop();
    println!("result: 2 volumes in 2 groups; 4 refusals while one was away or not listed");
}
