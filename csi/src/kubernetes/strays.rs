//! LVs of a node that no LogicalVolume names: what the node says of them on its Node object,
//! as a metric and as an Event, and `kubectl topolvm` reads. Nobody removes one unasked.
//!
//! One whose tags say that a driver in a cluster made it is an orphan: objects were lost, or
//! given up. Others, of upstream's node or of a person, are listed and counted nowhere: only
//! a person can know what they are.

use std::collections::BTreeSet;

use lvmd::names;
use lvmd::units::Bytes;
use lvmd::volumes::Listed;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Bytes of an annotation that are taken at most; Kubernetes gives 256 KiB to all of an object.
const ROOM: usize = 64 << 10;

/// An LV that no LogicalVolume names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stray {
    /// Its VG, by name.
    pub vg: String,
    /// Its VG, for good.
    pub vg_uuid: String,
    /// Its name, which is the volume's id.
    pub lv: String,
    /// The device classes it can be in.
    pub classes: Vec<String>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Whether it can be a volume: it is written to, and is no thick snapshot.
    pub whole: bool,
    /// Whether somebody on the node has it open.
    pub open: bool,
    /// Its tags that begin with `basalt.`.
    pub tags: Vec<String>,
}

/// What a node says of its strays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Strays {
    /// Orphans first.
    pub strays: Vec<Stray>,
    /// How many more there are, for which there was no room.
    #[serde(default)]
    pub more: usize,
}

impl Stray {
    /// The value of a tag.
    pub fn tag(&self, key: &str) -> Option<&str> {
        names::tag_value(&self.tags, key)
    }

    /// Whether a driver in a cluster made it. Without a cluster its tags are the memory, and
    /// say when it was made.
    pub fn is_orphan(&self) -> bool {
        let made = self.tag(names::TAG_LV).is_some() || self.is_inline();
        made && self.tag(names::TAG_CREATED).is_none()
    }

    /// Whether it is a pod's inline volume, which goes with the pod. It is no stray while it is mounted; one that is not is
    /// what a kubelet left that never came back, or what a pod waits for after a reboot.
    pub fn is_inline(&self) -> bool {
        self.tag(names::TAG_EPHEMERAL).is_some()
    }

    /// Its device class: the one it was made in, where that has it still.
    pub fn class(&self) -> &str {
        let made_in = self.tag(names::TAG_DEVICE_CLASS);
        let made_in = made_in.filter(|class| self.classes.iter().any(|has| has == class));
        made_in.unwrap_or_else(|| self.classes.first().map_or("", String::as_str))
    }

    /// Its size.
    pub fn size(&self) -> Bytes {
        Bytes(self.size_bytes)
    }
}

/// Those of a node's volumes that are not among `named`, orphans first.
pub fn of(listed: Vec<Listed>, named: &BTreeSet<String>) -> Vec<Stray> {
    let unnamed = listed.into_iter().filter(|lv| !named.contains(&lv.name));
    let mut strays: Vec<_> = unnamed
        .map(|lv| Stray {
            vg: lv.vg,
            vg_uuid: lv.vg_uuid,
            lv: lv.name,
            classes: lv.classes,
            size_bytes: lv.size.0,
            whole: lv.is_whole,
            open: lv.is_open,
            tags: {
                let ours = lv.tags.into_iter();
                ours.filter(|tag| tag.starts_with("basalt.")).collect()
            },
        })
        .filter(|stray| !(stray.is_inline() && stray.open))
        .collect();
    strays.sort_by(|a, b| {
        let key = |stray: &Stray| (!stray.is_orphan(), stray.vg.clone(), stray.lv.clone());
        key(a).cmp(&key(b))
    });
    strays
}

/// The annotation's text; `None` when there is nothing to say.
pub fn text(strays: &[Stray]) -> Option<String> {
    let mut room = ROOM;
    let fits = strays.iter().take_while(|stray| {
        let length = serde_json::to_string(stray).map_or(ROOM, |text| text.len() + 1);
        let left = room.checked_sub(length);
        room = left.unwrap_or(0);
        left.is_some()
    });
    let said: Vec<_> = fits.cloned().collect();
    let more = strays.len() - said.len();
    let said = Strays { strays: said, more };
    (!strays.is_empty()).then(|| serde_json::to_string(&said).unwrap_or_default())
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    device_class: String,
}

/// Where a node's strays are told: the annotation's text to whoever keeps the Node object, the
/// number of orphans to the metrics.
#[derive(Debug, Clone, Default)]
pub struct Told {
    text: watch::Sender<Option<Option<String>>>,
    orphans: Family<Class, Gauge>,
    classes: BTreeSet<String>,
}

impl Told {
    /// With its metric, of node `node`.
    pub fn register(registry: &mut Registry, node: &str) -> Self {
        let this = Self::default();
        registry
            .sub_registry_with_label(("node".into(), node.to_owned().into()))
            .register(
                "topolvm_orphaned_volumes",
                "LVs that a cluster's driver made and no LogicalVolume names",
                this.orphans.clone(),
            );
        this
    }

    /// The annotation's text as it is to be: `None` until the first look, then whether there
    /// is one.
    pub fn text(&self) -> watch::Receiver<Option<Option<String>>> {
        self.text.subscribe()
    }

    /// Says what a look came to. `classes`: all that could be looked at.
    pub fn tell(&mut self, strays: &[Stray], classes: Vec<String>) {
        let now: BTreeSet<String> = classes.into_iter().collect();
        for gone in self.classes.difference(&now) {
            let device_class = gone.clone();
            self.orphans.remove(&Class { device_class });
        }
        for class in &now {
            let its = strays
                .iter()
                .filter(|stray| stray.is_orphan() && stray.class() == class);
            let device_class = class.clone();
            self.orphans
                .get_or_create(&Class { device_class })
                .set(i64::try_from(its.count()).unwrap_or(i64::MAX));
        }
        self.classes = now;
        let text = Some(text(strays));
        self.text.send_if_modified(|was| {
            let differs = *was != text;
            *was = text;
            differs
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    fn listed(name: &str, tags: &[&str]) -> Listed {
        Listed {
            vg: "vg".into(),
            vg_uuid: "aaaaaa-1".into(),
            name: name.into(),
            classes: vec!["thick".into(), "other".into()],
            size: Bytes(1 << 30),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            is_whole: true,
            is_open: false,
        }
    }

    #[test]
    fn an_orphan_is_what_a_clusters_driver_made_and_no_object_names() {
        let all = vec![
            listed("foreign", &[]),
            listed(
                "lost",
                &["basalt.lv=pvc-1", "basalt.device-class=other", "x"],
            ),
            listed("named", &["basalt.lv=pvc-2"]),
            listed("standalone", &["basalt.lv=a", "basalt.created=1"]),
        ];
        let strays = of(all, &BTreeSet::from(["named".to_owned()]));
        let said: Vec<_> = strays
            .iter()
            .map(|stray| (stray.lv.as_str(), stray.is_orphan(), stray.class()))
            .collect();
        assert_eq!(
            said,
            [
                ("lost", true, "other"),
                ("foreign", false, "thick"),
                ("standalone", false, "thick"),
            ]
        );
        assert_eq!(
            strays[0].tags.len(),
            2,
            "others' tags are nobody's business"
        );
        let read: Strays = serde_json::from_str(&text(&strays).unwrap()).unwrap();
        assert_eq!(read, Strays { strays, more: 0 });
        assert_eq!(text(&[]), None);
    }

    #[test]
    fn a_pods_inline_volume_is_an_orphan_when_nobody_has_it_mounted() {
        let open = Listed {
            is_open: true,
            ..listed("mounted", &["basalt.ephemeral=ns/pod"])
        };
        let left = listed("left", &["basalt.ephemeral=ns/pod"]);
        let strays = of(vec![open, left], &BTreeSet::new());
        let said: Vec<_> = strays
            .iter()
            .map(|stray| (stray.lv.as_str(), stray.is_orphan()))
            .collect();
        assert_eq!(said, [("left", true)]);
    }

    #[test]
    fn an_annotation_never_grows_too_large() {
        let name = |n: usize| format!("{n:0100}");
        let all: Vec<_> = (0..1000).map(|n| listed(&name(n), &[])).collect();
        let strays = of(all, &BTreeSet::new());
        let text = text(&strays).unwrap();
        assert!(text.len() < 100 << 10, "{}", text.len());
        let read: Strays = serde_json::from_str(&text).unwrap();
        assert_eq!(read.strays.len() + read.more, 1000);
        assert_eq!(read.strays[0].lv, name(0));
    }

    #[test]
    fn orphans_are_counted_by_class_and_a_class_that_is_gone_is_not() {
        let mut registry = Registry::default();
        let mut told = Told::register(&mut registry, "n1");
        let receiver = told.text();
        let page = |registry: &Registry| {
            let mut page = String::new();
            encode(&mut page, registry).unwrap();
            page
        };
        let strays = of(
            vec![listed("a", &["basalt.lv=x"]), listed("b", &[])],
            &BTreeSet::new(),
        );
        told.tell(&strays, vec!["thick".into(), "other".into()]);
        let sample = |class: &str, n: u32| {
            format!("topolvm_orphaned_volumes{{node=\"n1\",device_class=\"{class}\"}} {n}\n")
        };
        let first = page(&registry);
        assert!(first.contains(&sample("thick", 1)), "{first}");
        assert!(first.contains(&sample("other", 0)), "{first}");
        assert!(receiver.borrow().clone().flatten().is_some());
        told.tell(&[], vec!["thick".into()]);
        let second = page(&registry);
        assert!(
            second.contains(&sample("thick", 0)) && !second.contains("other"),
            "{second}"
        );
        assert_eq!(*receiver.borrow(), Some(None));
    }
}
