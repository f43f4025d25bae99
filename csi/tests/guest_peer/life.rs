//! The life of volumes through an lvmd that is away at first, and once more in the middle.

use std::path::Path;

use csi::error::{self, Error};
use csi::kubernetes::local::Local;
use csi::proto::ProbeRequest;
use csi::proto::identity_client::IdentityClient;
use csi::remote::Remote;
use futures::StreamExt;
use lvmd::metrics::Metrics;
use lvmd::units::Bytes;
use lvmd::volumes::{Access, Create, Listed, SnapshotOf, VolumeError};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::client::{Client, MIB, mount};
use crate::harness::{Driver, make_vg, run};
use crate::lvmd_apart::{Lvmd, Whose, eventually, socket};

const SIZE: Bytes = Bytes(64 << 20);

#[tokio::test(flavor = "multi_thread")]
async fn volumes_live_through_an_lvmd_of_its_own() {
    lives(Whose::Ours).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn volumes_live_through_topolvms_lvmd() {
    lives(Whose::TopoLvms).await;
}

async fn lives(whose: Whose) {
    make_vg(2, true);
    let place = tempfile::tempdir().unwrap();
    let driver = start(&socket(place.path())).await;
    let mut client = Client::of(&driver).await;
    let mut identity = IdentityClient::new(driver.connect().await);
    let probed = identity.probe(ProbeRequest {}).await.unwrap();
    assert_eq!(probed.into_inner().ready, Some(false));
    let refused = client.publish("a", mount("ext4")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let words = socket(place.path()).display().to_string();
    assert!(refused.message().contains(&words), "{refused}");
    let remote = Remote::new(socket(place.path())).unwrap();
    let mut rooms = Box::pin(remote.rooms());
    let stop = CancellationToken::new();
    let metrics = Metrics::register(&mut Registry::default(), None);
    tokio::spawn(remote.clone().listen(metrics, stop.clone()));
    let error = remote.create(&volume("a", "thin")).await.unwrap_err();
    assert_eq!(error::code(&error), Code::Unavailable, "{error}");

    let daemon = Lvmd::start(whose, place.path());
    eventually("it is ready", async || {
        let probed = identity.probe(ProbeRequest {}).await.unwrap();
        probed.into_inner().ready == Some(true)
    })
    .await;
    let room = rooms.next().await.unwrap();
    let classes: Vec<_> = room.classes.keys().map(String::as_str).collect();
    assert_eq!(classes, ["thick", "thin"]);
    assert_eq!(room.default, room.classes["thin"], "the pool's promise");
    for (name, class) in [("a", "thin"), ("t", "thick")] {
        assert_eq!(remote.find(name).await.unwrap(), None);
        let made = remote.create(&volume(name, class)).await.unwrap();
        assert_eq!(made, SIZE);
        match remote.create(&volume(name, class)).await {
            Ok(again) => assert_eq!(again, SIZE),
            Err(error) => assert!(is_there(&error), "{error}"),
        }
        let found = remote.find(name).await.unwrap();
        assert_eq!(found, Some((class.to_owned(), SIZE)));
    }
    all(whose, &remote).await;
    let nowhere = remote.create(&volume("n", "nowhere")).await.unwrap_err();
    assert_eq!(error::code(&nowhere), Code::NotFound, "{nowhere}");
    let mut large = volume("n", "thick");
    large.size = Bytes(1 << 40);
    let large = remote.create(&large).await.unwrap_err();
    assert_eq!(error::code(&large), Code::ResourceExhausted, "{large}");

    let file = client.target().join("file");
    client.publish("t", mount("xfs")).await.unwrap_err();
    client.publish("t", mount("ext4")).await.unwrap();
    client.unpublish("t").await;
    client.publish("a", mount("ext4")).await.unwrap();
    std::fs::write(&file, "written").unwrap();
    run("sync", &[]);
    drop(daemon);
    eventually("it is away", async || {
        let stats = client.stats("a").await;
        stats.is_err_and(|status| status.code() == Code::Unavailable)
    })
    .await;
    let error = remote.grow("a", "thin", Bytes(2 * SIZE.0)).await;
    let error = error.unwrap_err();
    assert_eq!(error::code(&error), Code::Unavailable, "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "written");

    let _daemon = Lvmd::start(whose, place.path());
    eventually("it is back", async || client.stats("a").await.is_ok()).await;
    assert_eq!(
        remote.grow("a", "thin", Bytes(2 * SIZE.0)).await.unwrap().0,
        2 * SIZE.0
    );
    let target = client.target();
    client.expand("a", 128 * MIB, &target).await;
    let stats = client.stats("a").await.unwrap();
    assert!(stats.usage[0].total > 100 * MIB, "{stats:?}");
    assert!(!stats.volume_condition.unwrap().abnormal);
    client.unpublish("a").await;

    copies(whose, &remote, &mut client, &file).await;
    removals(&remote).await;
    stop.cancel();
    driver.stop();
}

/// Our lvmd tells of all volumes what LVM does; of TopoLVM's it is not said that there are none.
async fn all(whose: Whose, remote: &Remote) {
    let told = remote.inventory().await;
    if whose == Whose::TopoLvms {
        let error = told.unwrap_err();
        assert_eq!(error::code(&error), Code::FailedPrecondition, "{error}");
        assert!(
            error.to_string().contains("node.lvmdEmbedded: true"),
            "{error}"
        );
        return;
    }
    let mut told = told.unwrap();
    told.classes.sort();
    assert_eq!(told.classes, ["thick", "thin"]);
    let group = run("lvm", &["vgs", "--noheadings", "-o", "vg_uuid", "vg"]);
    let listed = |name: &str, class: &str| Listed {
        vg: "vg".into(),
        vg_uuid: group.trim().to_owned(),
        name: name.into(),
        classes: vec![class.to_owned()],
        size: SIZE,
        tags: vec![format!("basalt.lv={name}")],
        is_whole: true,
        is_open: false,
    };
    let mut volumes = told.volumes;
    // udevd looks at a new device, and has it open meanwhile.
    for volume in &mut volumes {
        volume.is_open = false;
        volume.tags.retain(|tag| tag.starts_with("basalt.lv="));
    }
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(volumes, [listed("a", "thin"), listed("t", "thick")]);
}

/// A snapshot and what is restored from it have what was written; one that is not active is made so.
async fn copies(whose: Whose, remote: &Remote, client: &mut Client, file: &Path) {
    for (name, source, access) in [("s", "a", Access::ReadOnly), ("b", "s", Access::ReadWrite)] {
        let copy = SnapshotOf {
            source: source.into(),
            name: name.into(),
            class: "thin".into(),
            size: Bytes(2 * SIZE.0),
            access,
            tags: vec![format!("basalt.lv={name}")],
        };
        assert_eq!(remote.copy(&copy).await.unwrap().0, 2 * SIZE.0);
    }
    run("lvm", &["lvchange", "-an", "vg/b"]);
    if whose == Whose::TopoLvms {
        let refused = client.publish("b", mount("ext4")).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("vgchange -ay"), "{refused}");
        run("lvm", &["vgchange", "-ay", "vg"]);
    }
    client.publish("b", mount("ext4")).await.unwrap();
    assert_eq!(std::fs::read_to_string(file).unwrap(), "written");
    let busy = remote.remove("b", "thin").await.unwrap_err();
    assert!(!is_gone(&busy), "{busy}");
    client.unpublish("b").await;
}

/// Only what is shown to be gone is called so.
async fn removals(remote: &Remote) {
    let unknown = remote.remove("a", "nowhere").await.unwrap_err();
    let without_class = |error: &Error| {
        matches!(
            error,
            Error::Volume(VolumeError::RemovalWithoutClass { .. })
        )
    };
    assert!(without_class(&unknown), "{unknown}");
    run("lvm", &["vgchange", "-an", "vg"]);
    run("lvm", &["vgrename", "vg", "other"]);
    let away = remote.remove("a", "thin").await.unwrap_err();
    assert!(!is_gone(&away), "its group is away: {away}");
    run("lvm", &["vgrename", "other", "vg"]);
    run("lvm", &["vgchange", "-ay", "vg"]);
    for (name, class) in [("b", "thin"), ("s", "thin"), ("a", "thin"), ("t", "thick")] {
        eventually("it is removed", async || {
            remote.remove(name, class).await.is_ok()
        })
        .await;
        let gone = remote.remove(name, class).await.unwrap_err();
        assert!(is_gone(&gone), "{gone}");
        assert_eq!(remote.find(name).await.unwrap(), None);
    }
    let left = run("lvm", &["lvs", "--noheadings", "-o", "lv_name", "vg"]);
    assert_eq!(left, "pool");
}

/// A node that uses the lvmd at `socket`, and whose API server is away.
async fn start(socket: &Path) -> Driver {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("kubeconfig");
    std::fs::write(&config, NOBODY).unwrap();
    // A client trusts somebody, or it is none.
    let ca = rcgen::generate_simple_self_signed(["nobody".to_owned()]).unwrap();
    std::fs::write(dir.path().join("ca.crt"), ca.cert.pem()).unwrap();
    let args = [Path::new("--lvmd-socket"), socket];
    Driver::start_with(dir, &args, &[("KUBECONFIG", &config)]).await
}

const NOBODY: &str = "{apiVersion: v1, kind: Config, current-context: c,
  clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1', certificate-authority: ca.crt}}],
  contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {}}]}";

fn volume(name: &str, class: &str) -> Create {
    Create {
        name: name.into(),
        class: class.into(),
        option_class: String::new(),
        size: SIZE,
        tags: vec![format!("basalt.lv={name}")],
    }
}

fn is_there(error: &Error) -> bool {
    matches!(error, Error::Volume(VolumeError::Exists { .. }))
}

fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Volume(VolumeError::VolumeMissing { .. }))
}
