//! Requests about one disk, which a person writes beside the classes.

use std::collections::BTreeSet;
use std::time::Instant;

use super::error::Problem;
use super::raw::{REMOVAL, Removal, WIPE, Wipe};
use super::{Approval, instant, vg_uuid};
use crate::facts::DiskId;

/// Asks that a disk of ours leaves its group: what is on it is moved to the group's other
/// disks, and its PV is removed. As long as the request stands, the disk is not taken again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskRemovalRequest {
    /// `metadata.name`.
    pub name: String,
    /// The node the disk is in.
    pub node: String,
    /// The disk.
    pub target: Target,
    /// The disk is gone for good: nothing is moved, its claim is withdrawn.
    pub lost: bool,
    /// Whether it is certain that it stands; else it did when the API server was last heard.
    pub certain: bool,
}

/// Which disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// By its id.
    Disk(DiskId),
    /// By the UUID of the PV on it.
    Pv(String),
}

impl DiskRemovalRequest {
    /// Whether it asks this of this disk; `pv_uuid` is the one that its PV has or had.
    pub fn names(&self, node: &str, disk: &DiskId, pv_uuid: &str) -> bool {
        self.node == node
            && match &self.target {
                Target::Disk(id) => id == disk,
                Target::Pv(uuid) => uuid == pv_uuid,
            }
    }
}

/// Asks that a disk is wiped, as it was when a person looked at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskWipeRequest {
    /// `metadata.name`.
    pub name: String,
    /// The node the disk is in.
    pub node: String,
    /// The disk.
    pub disk: DiskId,
    /// The digest of what stood on it, in hex.
    pub fingerprint: String,
    /// The names of the signatures that stood on it.
    pub signatures: BTreeSet<String>,
    /// How.
    pub method: WipeMethod,
    /// When it is void, in seconds since 1970.
    pub not_after: u64,
    /// What a person says after having seen what will be destroyed.
    pub confirm: Option<String>,
    /// How far it is certain that all this is still so.
    pub standing: Standing,
}

/// How far it is certain that a request still stands as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is in a file of the node.
    File,
    /// It is an object of a cluster.
    Object {
        /// Its uid: another object may get its name.
        uid: String,
        /// Until when the last word of the API server that it stands counts; `None`: there is none.
        until: Option<Instant>,
    },
}

impl DiskWipeRequest {
    /// Whether it is the same request, unchanged; when it was last seen to stand is no part of it.
    pub fn is_still(&self, other: &Self) -> bool {
        let bare = |request: &Self| {
            let mut request = request.clone();
            if let Standing::Object { until, .. } = &mut request.standing {
                *until = None;
            }
            request
        };
        bare(self) == bare(other)
    }

    /// Whether a wipe may begin `now` for all that is known of it.
    ///
    /// # Errors
    /// What is not known.
    pub fn stands(&self, now: Instant) -> Result<(), String> {
        match self.standing {
            Standing::File => Ok(()),
            Standing::Object { until, .. } if until.is_some_and(|until| now < until) => Ok(()),
            Standing::Object { .. } => Err(
                "the API server has not said just now that the request still stands; it is asked again"
                    .to_owned(),
            ),
        }
    }
}

/// How a disk is wiped.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
pub enum WipeMethod {
    /// The signatures themselves, as wipefs(8) does; the rest stays, and with it NotZeroed.
    SignaturesOnly,
    /// All of it is overwritten with zeroes.
    Full,
}

/// The wipe requests, and all that is wrong with them.
pub(super) fn wipes(raw: Vec<Wipe>) -> (Vec<DiskWipeRequest>, Vec<Problem>) {
    let mut names = BTreeSet::new();
    let (mut wipes, mut problems) = (Vec::new(), Vec::new());
    for Wipe { metadata, spec, .. } in raw {
        let disk = DiskId::from(spec.disk_id);
        // The same rules as for an approval: a node, a disk, a digest.
        let named = Approval::new(&spec.node, disk, &spec.expect.fingerprint);
        let checked = match (named, instant::parse(&spec.not_after)) {
            (Err(why), _) => Err(why),
            (_, None) => Err(format!(
                "notAfter {:?} is no moment such as 2026-11-20T12:00Z",
                spec.not_after
            )),
            _ if !names.insert(metadata.name.clone()) => {
                Err("another request has this name".to_owned())
            }
            (Ok(named), Some(not_after)) => Ok((named, not_after)),
        };
        match checked {
            Ok((named, not_after)) => wipes.push(DiskWipeRequest {
                name: metadata.name,
                node: named.node,
                disk: named.disk_id,
                fingerprint: named.fingerprint,
                signatures: spec.expect.signatures.into_iter().collect(),
                method: spec.method,
                not_after,
                confirm: spec.confirm,
                standing: Standing::File,
            }),
            Err(what) => problems.push(Problem::Request {
                kind: WIPE,
                name: metadata.name,
                what,
            }),
        }
    }
    (wipes, problems)
}

/// The requests, and all that is wrong with them.
pub(super) fn removals(raw: Vec<Removal>) -> (Vec<DiskRemovalRequest>, Vec<Problem>) {
    let mut names = BTreeSet::new();
    let (mut removals, mut problems) = (Vec::new(), Vec::new());
    for Removal { metadata, spec, .. } in raw {
        let target = match (spec.disk_id, spec.pv_uuid) {
            (Some(id), None) if !id.is_empty() => Ok(Target::Disk(DiskId::from(id))),
            (None, Some(uuid)) if vg_uuid(&uuid).is_ok() => Ok(Target::Pv(uuid)),
            (None, Some(uuid)) => Err(format!(
                "pvUUID {uuid:?} is no UUID of a PV; disk-watcher status shows it"
            )),
            _ => Err("name the disk, by diskId or by pvUUID".to_owned()),
        };
        let target = match target {
            Ok(_) if spec.node.is_empty() => Err("name the node".to_owned()),
            Ok(_) if !names.insert(metadata.name.clone()) => {
                Err("another request has this name".to_owned())
            }
            target => target,
        };
        match target {
            Ok(target) => removals.push(DiskRemovalRequest {
                name: metadata.name,
                node: spec.node,
                target,
                lost: spec.lost,
                certain: true,
            }),
            Err(what) => problems.push(Problem::Request {
                kind: REMOVAL,
                name: metadata.name,
                what,
            }),
        }
    }
    (removals, problems)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    const CLASS: &str = "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {name: fast}\nspec:\n  select: {model: [x]}\n  volumeGroup: {name: fast}\n";

    fn request(spec: &str) -> String {
        format!(
            "apiVersion: basalt.storage/v1alpha1\nkind: DiskRemovalRequest\nmetadata: {{name: out}}\nspec: {spec}\n"
        )
    }

    #[test]
    fn a_request_stands_beside_classes_in_any_order() {
        let uuid = "kElRyR-yYhZ-ZH3a-5oHN-vWQu-qCsC-wcGjTa";
        for text in [
            format!("{CLASS}---\n{}", request("{node: n1, diskId: naa.1}")),
            format!(
                "# first\n---\n{}--- # then\n{CLASS}",
                request("{node: n1, diskId: naa.1}")
            ),
            request("{node: n1, diskId: naa.1}"),
        ] {
            let config = Config::load(&text).unwrap();
            assert_eq!(
                config.classes.len(),
                text.matches("kind: DiskClass").count()
            );
            let [removal] = &config.removals[..] else {
                panic!("{config:?}")
            };
            let naa = DiskId::from("naa.1".to_owned());
            assert!(removal.names("n1", &naa, uuid));
            assert!(!removal.names("n2", &naa, uuid));
            assert!(!removal.names("n1", &DiskId::from("naa.2".to_owned()), uuid));
        }
        let by_pv = Config::load(&request(&format!("{{node: n1, pvUUID: {uuid}}}"))).unwrap();
        assert!(by_pv.removals[0].names("n1", &DiskId::from("any".to_owned()), uuid));
    }

    #[test]
    fn a_request_that_cannot_be_meant_is_refused_with_its_line() {
        let error = |text: &str| Config::load(text).unwrap_err().to_string();
        for (spec, wanted) in [
            ("{node: n1}", "diskId or by pvUUID"),
            ("{node: n1, diskId: a, pvUUID: b}", "diskId or by pvUUID"),
            ("{node: n1, pvUUID: fast}", "no UUID of a PV"),
            ("{node: '', diskId: a}", "name the node"),
        ] {
            let text = error(&request(spec));
            assert!(text.contains(wanted) && text.contains("out"), "{text}");
        }
        let twice = request("{node: n1, diskId: a}");
        assert!(error(&format!("{twice}---\n{twice}")).contains("this name"));
        let unknown = error(&format!("{CLASS}---\n{}", request("{node: n1, disk: a}")));
        assert!(unknown.contains("line 11"), "{unknown}");
    }

    #[test]
    fn a_request_of_a_cluster_stands_only_for_as_long_as_its_word_counts() {
        let now = Instant::now();
        let later = now + std::time::Duration::from_secs(1);
        let of = |uid: &str, until| DiskWipeRequest {
            name: "w".into(),
            node: "n1".into(),
            disk: DiskId::from("naa.1".to_owned()),
            fingerprint: "ab".into(),
            signatures: BTreeSet::new(),
            method: WipeMethod::Full,
            not_after: 0,
            confirm: Some("destroy naa.1 on n1".into()),
            standing: Standing::Object {
                uid: uid.into(),
                until,
            },
        };
        let asked = of("u", Some(later));
        assert!(asked.stands(now).is_ok() && asked.stands(later).is_err());
        assert!(of("u", None).stands(now).is_err());
        assert!(asked.is_still(&of("u", None)), "the API server is away");
        assert!(
            !asked.is_still(&of("v", Some(later))),
            "another of its name"
        );
        let mut taken_back = of("u", Some(later));
        taken_back.confirm = None;
        assert!(!asked.is_still(&taken_back));
        let of_file = DiskWipeRequest {
            standing: Standing::File,
            ..asked.clone()
        };
        assert!(of_file.stands(later).is_ok() && !asked.is_still(&of_file));
    }
}
