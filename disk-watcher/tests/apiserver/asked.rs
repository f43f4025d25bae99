//! What people ask for in the words that the node's own objects show them: an approval, a wipe, disks by a label, copies in Secrets.
//! From one object to the other, with the node's disks played.

use std::sync::Arc;
use std::time::Instant;

use disk_watcher::config::{Approval, Config};
use disk_watcher::facts::DiskId;
use disk_watcher::journal::Held;
use disk_watcher::kubernetes::compose::compose;
use disk_watcher::kubernetes::types::{
    DiskClass, DiskClassSpec, DiskWipeRequest, DiskWipeRequestSpec, NodeDisk, NodeDiskStatus,
};
use disk_watcher::kubernetes::view::disk_object;
use disk_watcher::kubernetes::written::Kept;
use disk_watcher::status::{DiskState, NodeRequest, RequestState};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::server::{Server, eventually};
use crate::status::{Playing, disk, status};

/// A node that does what objects say, and says so.
struct Asked {
    node: Playing,
    kept: Kept,
}

impl Asked {
    fn start(server: &Server, name: &str) -> Self {
        Self {
            node: Playing::start(server, name),
            kept: Kept::default(),
        }
    }

    /// What it does now.
    fn config(&mut self) -> Config {
        let told = self.node.told.borrow().clone();
        let composed = compose(&Config::default(), &told, &self.kept, Some(&Held::new()));
        self.kept = composed.kept;
        let verdicts = Arc::new(composed.verdicts);
        self.node.verdicts.send_if_modified(|before| {
            let changed = *before != verdicts;
            *before = verdicts;
            changed
        });
        composed.config
    }

    /// Waits until what it does is so.
    async fn does(&mut self, what: &str, is: impl Fn(&Config) -> bool) -> Config {
        eventually(what, async || Some(self.config()).filter(&is)).await
    }
}

/// What the object of a disk shows, once it is so.
async fn shows(server: &Server, id: &str, is: impl Fn(&NodeDiskStatus) -> bool) -> NodeDiskStatus {
    let disks: Api<NodeDisk> = Api::all(server.client.clone());
    let name = disk_object("n1", &DiskId::from(id.to_owned()));
    eventually("the disk's object shows it", async || {
        let status = disks.get_opt(&name).await.unwrap()?.status?;
        is(&status).then_some(status)
    })
    .await
}

/// A class of these fields beside what each has.
async fn class(server: &Server, more: Value) -> Api<DiskClass> {
    let classes: Api<DiskClass> = Api::all(server.client.clone());
    let mut spec =
        json!({"mode": "Enforce", "select": {"model": ["x"]}, "volumeGroup": {"name": "fast"}});
    spec.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let class = DiskClass::new("fast", DiskClassSpec(spec));
    classes
        .create(&PostParams::default(), &class)
        .await
        .unwrap();
    classes
}

async fn merge<K>(api: &Api<K>, name: &str, spec: Value) -> kube::Result<K>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let patch = Patch::Merge(json!({"spec": spec}));
    api.patch(name, &PatchParams::default(), &patch).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_approved_with_the_line_that_its_object_shows_until_that_is_taken_back() {
    let server = Server::with_kinds().await;
    let classes = class(&server, json!({"discovery": "Once"})).await;
    let mut asked = Asked::start(&server, "n1");
    let fingerprint = format!("sha256:{}", "ab".repeat(32));
    let approval = Approval::new("n1", DiskId::from("naa.a".to_owned()), &fingerprint).unwrap();
    let mut waiting = disk("a", DiskState::AwaitingApproval);
    waiting.approve = Some(approval.to_string());
    asked.node.status.send_replace(status(1, &[waiting]));
    let line = shows(&server, "naa.a", |disk| disk.approve.is_some())
        .await
        .approve;
    asked
        .does("nothing is approved yet", |config| {
            config
                .classes
                .first()
                .is_some_and(|class| class.approved.is_empty())
        })
        .await;
    let approved: Value = serde_saphyr::from_str(&line.unwrap()).unwrap();
    merge(&classes, "fast", json!({"approved": approved}))
        .await
        .unwrap();
    let agreed = |config: &Config| {
        let class = config.classes.first();
        class.is_some_and(|class| class.approved == [approval.clone()])
    };
    asked.does("the disk is approved", agreed).await;
    // A digest that was cut off is no other approval, and takes none back.
    let mut cut = approved.clone();
    cut[0]["fingerprint"] = json!("sha256:ab");
    merge(&classes, "fast", json!({"approved": cut}))
        .await
        .unwrap();
    let why = eventually("the node refuses that version", async || {
        assert!(agreed(&asked.config()));
        let nodes = classes.get("fast").await.unwrap().status?.nodes;
        let mut conditions = nodes.first()?.conditions.iter();
        let valid = conditions.find(|c| c.type_ == "Valid" && c.status == "False")?;
        Some(valid.message.clone())
    })
    .await;
    assert!(
        why.contains("spec.approved") && why.contains("no fingerprint"),
        "{why}"
    );
    merge(&classes, "fast", json!({"approved": null}))
        .await
        .unwrap();
    asked
        .does("it is taken back", |config| {
            config.classes[0].approved.is_empty()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_wiped_by_the_request_that_its_object_shows_once_a_person_confirms() {
    let server = Server::with_kinds().await;
    let wipes: Api<DiskWipeRequest> = Api::default_namespaced(server.client.clone());
    let (mut asked, mut other) = (Asked::start(&server, "n1"), Asked::start(&server, "n2"));
    let mut old = disk("a", DiskState::Rejected);
    old.wipe = Some(format!(
        "{{node: n1, diskId: naa.a, expect: {{fingerprint: \"sha256:{}\", signatures: [ext4]}}, method: Full, notAfter: \"2036-11-20T12:00Z\"}}",
        "ab".repeat(32)
    ));
    asked.node.status.send_replace(status(1, &[old.clone()]));
    let offer = shows(&server, "naa.a", |disk| disk.wipe.is_some())
        .await
        .wipe;
    let offer: Value = serde_saphyr::from_str(&offer.unwrap()).unwrap();
    let request = DiskWipeRequest::new("w", DiskWipeRequestSpec(offer));
    wipes
        .create(&PostParams::default(), &request)
        .await
        .unwrap();
    let config = asked
        .does("it is asked for", |config| config.wipes.len() == 1)
        .await;
    let wipe = &config.wipes[0];
    assert_eq!(
        (wipe.confirm.as_deref(), wipe.disk.as_str()),
        (None, "naa.a")
    );
    assert!(wipe.stands(Instant::now()).is_err(), "nobody confirmed");
    assert_eq!(other.config().wipes.len(), 0, "another node's");

    // The node says of it what it does, and where it is.
    let shown = asked.node.status.clone();
    let mut looks = 1;
    let mut says = |state, message: &str, of_disk| {
        looks += 1;
        let mut now = (*status(looks, &[disk("a", of_disk)])).clone();
        now.requests = vec![NodeRequest {
            kind: "DiskWipeRequest",
            name: "w".to_owned(),
            disk: Some(DiskId::from("naa.a".to_owned())),
            state,
            message: message.to_owned(),
        }];
        shown.send_replace(Arc::new(now));
    };
    let said = async |wanted: &str| {
        eventually(&format!("the request is {wanted}"), async || {
            let status = wipes.get("w").await.unwrap().status?;
            (status.state.as_deref() == Some(wanted)).then_some(status)
        })
        .await
    };
    let confirm = "write confirm: destroy naa.a on n1";
    says(RequestState::Waiting, confirm, DiskState::Rejected);
    assert_eq!(said("Waiting").await.message.as_deref(), Some(confirm));
    let word = json!({"confirm": "destroy naa.a on n1"});
    merge(&wipes, "w", word).await.unwrap();
    says(RequestState::Wiping, "5 of 10 GiB", DiskState::Wiping);
    asked
        .does("the API server stands by it", |config| {
            config
                .wipes
                .first()
                .is_some_and(|wipe| wipe.stands(Instant::now()).is_ok())
        })
        .await;
    said("Wiping").await;
    shows(&server, "naa.a", |disk| disk.state == "Wiping").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wipe_that_is_done_is_not_begun_again_and_one_that_is_deleted_is_gone() {
    let server = Server::with_kinds().await;
    let wipes: Api<DiskWipeRequest> = Api::default_namespaced(server.client.clone());
    let spec = json!({"node": "n1", "diskId": "naa.a", "method": "Full", "confirm": "destroy naa.a on n1",
        "expect": {"fingerprint": format!("sha256:{}", "ab".repeat(32)), "signatures": ["ext4"]},
        "notAfter": "2036-11-20T12:00Z"});
    let request = DiskWipeRequest::new("w", DiskWipeRequestSpec(spec));
    wipes
        .create(&PostParams::default(), &request)
        .await
        .unwrap();
    let mut asked = Asked::start(&server, "n1");
    let stands = |config: &Config| {
        let wipe = config.wipes.first();
        wipe.is_some_and(|wipe| wipe.stands(Instant::now()).is_ok())
    };
    asked.does("it is confirmed", stands).await;
    let mut done = (*status(2, &[disk("a", DiskState::Rejected)])).clone();
    done.requests = vec![NodeRequest {
        kind: "DiskWipeRequest",
        name: "w".to_owned(),
        disk: Some(DiskId::from("naa.a".to_owned())),
        state: RequestState::Done,
        message: "wiped".to_owned(),
    }];
    asked.node.status.send_replace(Arc::new(done));
    eventually("it is done", async || {
        asked.config();
        let status = wipes.get("w").await.unwrap().status?;
        (status.state.as_deref() == Some("Done")).then_some(())
    })
    .await;
    asked
        .does("nobody asks whether it stands", |config| !stands(config))
        .await;
    // Nor does the next start, whose disk may be another's by then.
    let mut again = Asked::start(&server, "n1");
    let config = again
        .does("it is heard of", |config| config.wipes.len() == 1)
        .await;
    assert!(!stands(&config));
    wipes.delete("w", &DeleteParams::default()).await.unwrap();
    asked
        .does("it is gone", |config| config.wipes.is_empty())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_by_labels_means_a_disk_while_its_object_has_the_label() {
    let server = Server::with_kinds().await;
    let select = json!({"diskLabels": {"matchLabels": {"tier": "fast"}}});
    class(
        &server,
        json!({"select": select, "metadataBackup": {"to": "Secret", "keep": 2}}),
    )
    .await;
    let mut asked = Asked::start(&server, "n1");
    let two = [
        disk("a", DiskState::Rejected),
        disk("b", DiskState::Rejected),
    ];
    asked.node.status.send_replace(status(1, &two));
    let names = ["naa.a", "naa.b"].map(|id| disk_object("n1", &DiskId::from(id.to_owned())));
    // The disks that the class means, of those two.
    let meant = |config: &Config| -> Option<Vec<bool>> {
        let labels = config.classes.first()?.select.disk_labels.as_ref()?;
        let means = |name: &String| Some(labels.selects(config.disk_labels.get(name)?));
        names.iter().map(means).collect()
    };
    let config = asked
        .does("none is meant", |config| {
            meant(config) == Some(vec![false, false])
        })
        .await;
    assert!(config.classes[0].may_change_disks());
    assert_eq!(
        config.classes[0].secret_changes, 2,
        "the copies that it asks for"
    );
    let disks: Api<NodeDisk> = Api::all(server.client.clone());
    let label = async |value: Value| {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"tier": value}}}));
        disks
            .patch(&names[0], &PatchParams::default(), &patch)
            .await
            .unwrap();
    };
    label(json!("fast")).await;
    asked
        .does("one is meant", |config| {
            meant(config) == Some(vec![true, false])
        })
        .await;
    // Without the API server the label of before may have been taken back.
    let mut away = Asked::start(&server, "n1");
    away.kept = asked.kept.clone();
    let config = away.config();
    assert_eq!(meant(&config), Some(vec![true, false]));
    assert!(!config.classes[0].may_change_disks());
    label(json!("slow")).await;
    asked
        .does("none is meant", |config| {
            meant(config) == Some(vec![false, false])
        })
        .await;
}
