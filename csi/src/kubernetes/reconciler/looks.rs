//! The node looks at its volumes again and again: whether something is wrong with them, and
//! whether there are some that no object names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, ObjectReference};
use kube::runtime::events::EventType;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};
use tracing::warn;

use super::Reconciler;
use crate::kubernetes::local::{FileSystems, Local};
use crate::kubernetes::logical_volume::LogicalVolume;
use crate::kubernetes::strays;

/// At least this long between two looks, so that a burst of changes is few of them.
const PAUSE: Duration = Duration::from_secs(1);
/// And this many times as long as a look takes: a node with many volumes does not look all the time.
const SHARE: u32 = 10;
/// What no change tells of is seen after this time.
const NET: Duration = Duration::from_secs(60);

impl<L: Local, F: FileSystems> Reconciler<L, F> {
    /// Looks until it is dropped.
    pub(super) async fn look(&self, objects: Store<LogicalVolume>) {
        // It ends before it is ready only with the controller that fills it.
        if objects.wait_until_ready().await.is_err() {
            return;
        }
        let mut changes = self.local.changes();
        let mut said = BTreeMap::new();
        let mut known = BTreeSet::new();
        loop {
            changes.mark_unchanged();
            let started = Instant::now();
            said = self.say_health(&objects, said).await;
            known = self.say_strays(&objects, known).await;
            tokio::time::sleep(PAUSE.max(started.elapsed() * SHARE)).await;
            tokio::select! {
                Ok(()) = changes.changed() => {}
                () = tokio::time::sleep(NET) => {}
            }
        }
    }

    /// Says which LVs no object names; an Event tells of those not among `known`. Gives what is
    /// known then.
    async fn say_strays(
        &self,
        objects: &Store<LogicalVolume>,
        known: BTreeSet<String>,
    ) -> BTreeSet<String> {
        // What is made or removed meanwhile is named before or after.
        let mut named = named(objects);
        let inventory = match self.local.inventory().await {
            Ok(inventory) => inventory,
            Err(error) => {
                let news = self.strays.lock().await.cannot_tell(&error.to_string());
                if news {
                    warn!(%error, "which volumes no object names cannot be told");
                }
                return known;
            }
        };
        named.extend(self::named(objects));
        let strays = strays::of(inventory.volumes, &named);
        self.strays.lock().await.tell(&strays, inventory.classes);
        let orphans = strays.iter().filter(|stray| stray.is_orphan());
        let now: BTreeSet<String> = orphans.map(|stray| stray.lv.clone()).collect();
        if !now.is_subset(&known) {
            let note = format!(
                "no LogicalVolume names {} of the volumes here; nothing removes them: \
                 kubectl topolvm orphans shows them, kubectl topolvm adopt brings them back",
                now.len()
            );
            warn!(node = self.node, "{note}");
            let reason = "OrphanedVolumes";
            let node = self.node_reference();
            self.publish(&node, EventType::Warning, reason, &note).await;
        }
        now
    }

    /// The Node as kubectl looks for its Events: the kubelet too has its name for its uid.
    fn node_reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(Node::api_version(&()).into_owned()),
            kind: Some(Node::kind(&()).into_owned()),
            name: Some(self.node.clone()),
            uid: Some(self.node.clone()),
            ..ObjectReference::default()
        }
    }
}

/// The LVs that objects name, made or to be made. One that is given up names none.
fn named(objects: &Store<LogicalVolume>) -> BTreeSet<String> {
    let objects = objects.state();
    let living = objects.iter().filter(|object| !object.is_given_up());
    let ids = living.flat_map(|object| [object.volume_id().map(str::to_owned), object.uid()]);
    ids.flatten().collect()
}
