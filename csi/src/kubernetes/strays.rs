//! LVs of a node that no LogicalVolume names: what the node says of them on its Node object,
//! as a metric and as an Event, and `kubectl topolvm` reads. Nobody removes one unasked. A node
//! that cannot tell says so: that nothing is said would be read as that there is nothing.
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
/// Characters of a reason that stand in it at most.
const REASON: usize = 1000;

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
    /// Why the node cannot tell now, with the way out; then the rest is what it told before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
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
    let said = Strays {
        strays: said,
        more,
        unknown: None,
    };
    (!strays.is_empty()).then(|| serde_json::to_string(&said).unwrap_or_default())
}

/// What a look came to, for the annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Its text; `None` when there are no strays.
    All(Option<String>),
    /// Why it cannot be told, with the way out.
    Unknown(String),
}

impl Said {
    /// The annotation's text in place of the one that is `there`. What was told before is kept when nothing can be told now.
    pub fn text(&self, there: Option<&str>) -> Option<String> {
        let why = match self {
            Self::All(text) => return text.clone(),
            Self::Unknown(why) => why.clone(),
        };
        let before = there.and_then(|text| serde_json::from_str(text).ok());
        let said = Strays {
            unknown: Some(why),
            ..before.unwrap_or_default()
        };
        Some(serde_json::to_string(&said).unwrap_or_default())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    device_class: String,
}

/// Where a node's strays are told: the annotation's text to whoever keeps the Node object, the
/// number of orphans, or that it is not known, to the metrics.
#[derive(Debug, Clone, Default)]
pub struct Told {
    said: watch::Sender<Option<Said>>,
    orphans: Family<Class, Gauge>,
    unknown: Gauge,
    classes: BTreeSet<String>,
}

impl Told {
    /// With its metrics, of node `node`.
    pub fn register(registry: &mut Registry, node: &str) -> Self {
        let this = Self::default();
        // Nothing is known before the first look.
        this.unknown.set(1);
        let own = registry.sub_registry_with_label(("node".into(), node.to_owned().into()));
        own.register(
            "topolvm_orphaned_volumes",
            "LVs that a cluster's driver made and no LogicalVolume names",
            this.orphans.clone(),
        );
        own.register(
            "topolvm_orphaned_volumes_unknown",
            "1 while it cannot be told which LVs no LogicalVolume names",
            this.unknown.clone(),
        );
        this
    }

    /// What the last look came to; `None` before the first.
    pub fn said(&self) -> watch::Receiver<Option<Said>> {
        self.said.subscribe()
    }

    /// Says what a look came to. `classes`: all that could be looked at.
    pub fn tell(&mut self, strays: &[Stray], classes: Vec<String>) {
        self.forget_all_but(classes.into_iter().collect());
        for class in &self.classes {
            let its = strays
                .iter()
                .filter(|stray| stray.is_orphan() && stray.class() == class);
            let device_class = class.clone();
            self.orphans
                .get_or_create(&Class { device_class })
                .set(i64::try_from(its.count()).unwrap_or(i64::MAX));
        }
        self.unknown.set(0);
        self.say(Said::All(text(strays)));
    }

    /// Says that a look failed, for this reason. Gives whether that is news.
    pub fn cannot_tell(&mut self, why: &str) -> bool {
        self.forget_all_but(BTreeSet::new());
        self.unknown.set(1);
        self.say(Said::Unknown(why.chars().take(REASON).collect()))
    }

    fn forget_all_but(&mut self, classes: BTreeSet<String>) {
        for gone in self.classes.difference(&classes) {
            let device_class = gone.clone();
            self.orphans.remove(&Class { device_class });
        }
        self.classes = classes;
    }

    fn say(&self, said: Said) -> bool {
        let said = Some(said);
        self.said.send_if_modified(|was| {
            let differs = *was != said;
            *was = said;
            differs
        })
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
        let all = Strays {
            strays,
            ..Strays::default()
        };
        assert_eq!(read, all);
        assert_eq!(text(&[]), None);
    }

    #[test]
    fn what_cannot_be_told_now_takes_nothing_back() {
        let before = text(&of(vec![listed("a", &[])], &BTreeSet::new())).unwrap();
        let unknown = Said::Unknown("lvmd is away".into());
        let now = unknown.text(Some(&before)).unwrap();
        let read: Strays = serde_json::from_str(&now).unwrap();
        assert_eq!(read.unknown.as_deref(), Some("lvmd is away"));
        assert_eq!(read.strays[0].lv, "a");
        assert_eq!(unknown.text(Some(&now)), Some(now.clone()), "said once");
        let other = Said::Unknown("another reason".into()).text(Some(&now));
        assert!(other.unwrap().contains("another reason"));
        // Nothing was told before.
        let read: Strays = serde_json::from_str(&unknown.text(None).unwrap()).unwrap();
        assert!(read.strays.is_empty() && read.unknown.is_some());
        // And when it can be told again, nothing of it is left.
        assert_eq!(Said::All(None).text(Some(&now)), None);
        assert_eq!(
            Said::All(Some(before.clone())).text(Some(&now)),
            Some(before)
        );
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
        let receiver = told.said();
        let unknown =
            |value: u8| format!("topolvm_orphaned_volumes_unknown{{node=\"n1\"}} {value}\n");
        let page = |registry: &Registry| {
            let mut page = String::new();
            encode(&mut page, registry).unwrap();
            page
        };
        let strays = of(
            vec![listed("a", &["basalt.lv=x"]), listed("b", &[])],
            &BTreeSet::new(),
        );
        assert!(
            page(&registry).contains(&unknown(1)),
            "before the first look"
        );
        told.tell(&strays, vec!["thick".into(), "other".into()]);
        let sample = |class: &str, n: u32| {
            format!("topolvm_orphaned_volumes{{node=\"n1\",device_class=\"{class}\"}} {n}\n")
        };
        let first = page(&registry);
        assert!(first.contains(&sample("thick", 1)), "{first}");
        assert!(first.contains(&sample("other", 0)), "{first}");
        assert!(first.contains(&unknown(0)), "{first}");
        assert!(matches!(&*receiver.borrow(), Some(Said::All(Some(_)))));
        told.tell(&[], vec!["thick".into()]);
        let second = page(&registry);
        assert!(
            second.contains(&sample("thick", 0)) && !second.contains("other"),
            "{second}"
        );
        assert_eq!(*receiver.borrow(), Some(Said::All(None)));
        assert!(told.cannot_tell("lvmd is away") && !told.cannot_tell("lvmd is away"));
        let third = page(&registry);
        assert!(
            third.contains(&unknown(1)) && !third.contains("topolvm_orphaned_volumes{"),
            "{third}"
        );
        let why = Said::Unknown("lvmd is away".into());
        assert_eq!(*receiver.borrow(), Some(why));
    }
}
