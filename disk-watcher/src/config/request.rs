//! Requests about one disk, which a person writes beside the classes.

use std::collections::BTreeSet;

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
}
