//! What the Node object says of this node's classes: upstream's annotations, one for each
//! class with the bytes it can give, which the controller, GetCapacity and the scheduler
//! extender read; upstream's finalizer; and which LVs no LogicalVolume names, or why that
//! cannot be told.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{Config, watcher};
use kube::{Api, Client, ResourceExt};
use lvmd::names;
use lvmd::proto::WatchResponse;
use lvmd::units::Bytes;
use lvmd::volumes::NodeState;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::cache::Cache;
use super::strays::Said;

/// At least this long between two writes, so that a burst of volumes is few of them.
const PAUSE: Duration = Duration::from_millis(500);
/// When a failed write is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// What the classes of a node can give, each in one volume. One whose VG or pool is away gives nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// The default class; nothing when there is none.
    pub default: Bytes,
    /// Every class.
    pub classes: BTreeMap<String, Bytes>,
}

impl From<&NodeState> for Room {
    fn from(state: &NodeState) -> Self {
        let present = state.classes.iter().map(|c| (c.class.clone(), c.free));
        let absent = state.absent.iter();
        let absent = absent.map(|(class, _)| (class.clone(), Bytes(0)));
        Self {
            default: state.default_free(),
            classes: present.chain(absent).collect(),
        }
    }
}

impl From<&WatchResponse> for Room {
    fn from(told: &WatchResponse) -> Self {
        // Of a thin class the VG's room is nothing that a volume could have.
        let present = told.items.iter().map(|item| {
            let pool = item.thin_pool.as_ref();
            let free = pool.map_or(item.free_bytes, |pool| pool.overprovision_bytes);
            (item.device_class.clone(), Bytes(free))
        });
        let absent = told.absent.iter();
        let absent = absent.map(|absent| (absent.device_class.clone(), Bytes(0)));
        Self {
            default: Bytes(told.free_bytes),
            classes: present.chain(absent).collect(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct NodeObject {
    name: String,
    api: Api<Node>,
    cache: Cache<PartialObjectMeta<Node>>,
    stop: CancellationToken,
}

impl NodeObject {
    /// Starts to watch the Node of this name.
    pub fn start(
        client: &Client,
        name: String,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let nodes: Api<PartialObjectMeta<Node>> = Api::all(client.clone());
        let own = Config::default().fields(&format!("metadata.name={name}"));
        Self {
            cache: Cache::follow(watcher(nodes, own), tasks, stop),
            api: Api::all(client.clone()),
            stop: stop.clone(),
            name,
        }
    }

    /// Keeps the object true until the program or `rooms` ends: writes when there is other
    /// room or something else is said of `strays`, and when somebody else changed the object.
    pub async fn run(
        self,
        rooms: impl Stream<Item = Room> + Send,
        mut strays: watch::Receiver<Option<Said>>,
    ) {
        let mut rooms = std::pin::pin!(rooms);
        let mut told = self.cache.told();
        let mut last = None;
        loop {
            tokio::select! {
                room = rooms.next() => match room {
                    Some(room) => last = Some(room),
                    None => return,
                },
                _ = told.changed() => {}
                Ok(()) = strays.changed() => {}
                () = tokio::time::sleep(AGAIN) => {}
                () = self.stop.cancelled() => return,
            }
            if let Some(room) = &last {
                self.write(|node| patch(node, &wanted(room))).await;
            }
            // Apart, as an admission policy of an older chart refuses it.
            let said = strays.borrow_and_update().clone();
            if let Some(said) = said {
                self.write(|node| strays_patch(node, &said)).await;
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    async fn write(&self, patch: impl FnOnce(&PartialObjectMeta<Node>) -> Option<Value>) {
        let Some(node) = self.cache.store().get(&ObjectRef::new(&self.name)) else {
            return;
        };
        let Some(patch) = patch(&node) else {
            return;
        };
        let params = PatchParams::default();
        let written = self
            .api
            .patch_metadata(&self.name, &params, &Patch::Merge(&patch))
            .await;
        if let Err(error) = written {
            warn!(node = self.name, %error, "what there is here is not written to the Node yet");
        }
    }
}

/// The annotations for it.
fn wanted(room: &Room) -> BTreeMap<String, String> {
    let key = |class: &str| format!("{}{class}", names::CAPACITY_PREFIX);
    let classes = room.classes.iter();
    let classes = classes.map(|(class, free)| (key(class), free.0.to_string()));
    let default = (key(names::CAPACITY_DEFAULT), room.default.0.to_string());
    classes.chain([default]).collect()
}

/// The patch that makes a Node say so; `None` when it does, or when it is being deleted:
/// then a finalizer must not come back. Annotations of classes that are gone go too.
fn patch(node: &PartialObjectMeta<Node>, wanted: &BTreeMap<String, String>) -> Option<Value> {
    if node.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let there = node.annotations();
    let gone = there
        .keys()
        .filter(|key| key.starts_with(names::CAPACITY_PREFIX) && !wanted.contains_key(*key))
        .map(|key| (key.clone(), Value::Null));
    let new = wanted
        .iter()
        .filter(|(key, value)| there.get(*key) != Some(*value))
        .map(|(key, value)| (key.clone(), json!(value)));
    let annotations: serde_json::Map<_, _> = gone.chain(new).collect();
    let mut metadata = serde_json::Map::new();
    if !annotations.is_empty() {
        metadata.insert("annotations".into(), annotations.into());
    }
    let is_finalizer = |name: &String| name == names::FINALIZER_NODE;
    if !node.finalizers().iter().any(is_finalizer) {
        // The list is written whole, so only if nobody changed it since.
        let mut all = node.finalizers().to_vec();
        all.push(names::FINALIZER_NODE.to_owned());
        metadata.insert("finalizers".into(), json!(all));
        metadata.insert("resourceVersion".into(), json!(node.resource_version()));
    }
    (!metadata.is_empty()).then(|| json!({"metadata": metadata}))
}

/// The patch that makes a Node say which volumes no object names, or that this cannot be told; `None` when it does.
fn strays_patch(node: &PartialObjectMeta<Node>, said: &Said) -> Option<Value> {
    let there = node.annotations().get(names::ANNOTATION_STRAYS);
    let there = there.map(String::as_str);
    let text = said.text(there);
    if text.as_deref() == there {
        return None;
    }
    let mut metadata = json!({"annotations": {names::ANNOTATION_STRAYS: text}});
    if matches!(said, Said::Unknown(_)) {
        // It is made of what is there, so only if nobody changed that since.
        metadata["resourceVersion"] = json!(node.resource_version());
    }
    Some(json!({"metadata": metadata}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvmd::proto::{AbsentClass, ThinPoolItem, WatchItem};
    use lvmd::volumes::ClassState;

    fn state() -> NodeState {
        let class = |name: &str, free, is_default| ClassState {
            class: name.into(),
            volume_group: "vg".into(),
            is_default,
            free: Bytes(free),
            vg_free: Bytes(0),
            vg_size: Bytes(0),
            pool: None,
            frozen: Vec::new(),
            conditions: Vec::new(),
        };
        NodeState {
            members: Vec::new(),
            classes: vec![class("ssd", 10, true), class("hdd", 20, false)],
            absent: vec![("tape".into(), "volume group t is not there".into())],
            others: Vec::new(),
        }
    }

    fn told() -> WatchResponse {
        let item = |class: &str, free_bytes, pool: Option<u64>| WatchItem {
            device_class: class.into(),
            free_bytes,
            thin_pool: pool.map(|overprovision_bytes| ThinPoolItem {
                overprovision_bytes,
                ..ThinPoolItem::default()
            }),
            ..WatchItem::default()
        };
        WatchResponse {
            free_bytes: 10,
            items: vec![item("ssd", 7, Some(10)), item("hdd", 20, None)],
            absent: vec![AbsentClass {
                device_class: "tape".into(),
                reason: "volume group t is not there".into(),
            }],
        }
    }

    fn node(metadata: Value) -> PartialObjectMeta<Node> {
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    #[test]
    fn every_class_has_upstreams_annotation_and_an_absent_one_gives_nothing() {
        let expected = [
            ("00default", "10"),
            ("hdd", "20"),
            ("ssd", "10"),
            ("tape", "0"),
        ];
        let expected = expected
            .map(|(class, bytes)| (format!("capacity.topolvm.io/{class}"), bytes.to_owned()));
        assert_eq!(
            wanted(&Room::from(&state())),
            BTreeMap::from(expected.clone())
        );
        assert_eq!(
            wanted(&Room::from(&told())),
            BTreeMap::from(expected),
            "of an lvmd in another process too"
        );
        let none = wanted(&Room::default());
        assert_eq!(none["capacity.topolvm.io/00default"], "0");
    }

    #[test]
    fn volumes_without_objects_stand_on_the_node_while_there_are_any() {
        let without = node(json!({"annotations": {"someone/else": "1"}}));
        let with = node(json!({"annotations": {"basalt.storage/strays": "a"}}));
        let patched = |node, text: Option<&str>| {
            let patch = strays_patch(node, &Said::All(text.map(str::to_owned)))?;
            assert_eq!(patch["metadata"].get("resourceVersion"), None);
            Some(patch["metadata"]["annotations"]["basalt.storage/strays"].clone())
        };
        assert_eq!(patched(&without, None), None);
        assert_eq!(patched(&with, Some("a")), None);
        assert_eq!(patched(&with, Some("b")), Some(json!("b")));
        assert_eq!(patched(&with, None), Some(Value::Null));
    }

    #[test]
    fn a_node_that_cannot_tell_says_so_beside_what_it_told_before() {
        let before = json!({"strays": [], "more": 3}).to_string();
        let there = |text: &str| {
            let annotations = json!({"basalt.storage/strays": text});
            node(json!({"resourceVersion": "7", "annotations": annotations}))
        };
        let unknown = Said::Unknown("lvmd is away".into());
        let patch = strays_patch(&there(&before), &unknown).unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        let text = &patch["metadata"]["annotations"]["basalt.storage/strays"];
        let text = text.as_str().unwrap();
        let said: Value = serde_json::from_str(text).unwrap();
        let both = json!({"strays": [], "more": 3, "unknown": "lvmd is away"});
        assert_eq!(said, both);
        assert_eq!(strays_patch(&there(text), &unknown), None);
    }

    #[test]
    fn a_node_gets_what_is_new_and_loses_what_is_gone_and_nothing_else() {
        let wanted = wanted(&Room::from(&state()));
        let metadata = json!({
            "name": "n1", "resourceVersion": "7", "finalizers": ["other/x"],
            "annotations": {
                "capacity.topolvm.io/ssd": "10", "capacity.topolvm.io/old": "5",
                "capacity.topolvm.io/hdd": "1", "someone/else": "1"
            }
        });
        assert_eq!(
            patch(&node(metadata), &wanted).unwrap(),
            json!({"metadata": {
                "annotations": {
                    "capacity.topolvm.io/old": null, "capacity.topolvm.io/hdd": "20",
                    "capacity.topolvm.io/tape": "0", "capacity.topolvm.io/00default": "10"
                },
                "finalizers": ["other/x", "topolvm.io/node"],
                "resourceVersion": "7"
            }})
        );
        let mut all = json!({"finalizers": ["topolvm.io/node"], "annotations": wanted});
        assert_eq!(patch(&node(all.clone()), &wanted), None);
        all["annotations"]["capacity.topolvm.io/ssd"] = json!("9");
        let only = patch(&node(all.clone()), &wanted).unwrap();
        assert_eq!(
            only,
            json!({"metadata": {"annotations": {"capacity.topolvm.io/ssd": "10"}}})
        );
        all["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(patch(&node(all), &wanted), None);
    }
}
