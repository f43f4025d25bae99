//! LVM's descriptions of groups of ours in Secrets of our namespace: what brings a group back
//! when the node's own disk, with the journal on it, is lost too.
//!
//! One Secret for a group and a journal, with its last changes, written as a whole out of what the
//! journal keeps. It belongs to no Node, so that it outlives the one that it is of. That it cannot be
//! written stops nothing; the group's condition BackedUp says so.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tracing::warn;

use super::view;
use crate::backup::Backups;
use crate::journal::owner_in;
use crate::metrics::Stored;
use crate::status::{Condition, NodeVolumeGroup};

/// The type of these Secrets, and of no others: the admission policy of the chart goes by it.
const TYPE: &str = "basalt.storage/volume-group";

const KIND: &str = "BackedUp";
/// At least this long between two writes for one group.
const PAUSE: Duration = Duration::from_secs(30);
/// It is written again after this long, in case somebody deleted it.
const AGAIN: Duration = Duration::from_secs(3600);
/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(20);
/// What all of one Secret's data takes at most, in bytes. Kubernetes' bound is 1 MiB (Secrets,
/// Restriction on secret data size).
const MAX: usize = 900 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Secrets {
    api: Api<Secret>,
    node: String,
    manager: String,
    journal: PathBuf,
    /// By the UUIDs of groups.
    tried: HashMap<String, Tried>,
}

#[derive(Debug)]
struct Tried {
    at: Instant,
    /// The newest change and how many were to be kept.
    what: (u64, usize),
    said: Condition,
    /// The last time that it was written.
    stored: Stored,
}

impl Secrets {
    pub(super) fn new(client: &Client, node: &str, manager: &str, journal: PathBuf) -> Self {
        Self {
            api: Api::default_namespaced(client.clone()),
            node: node.to_owned(),
            manager: manager.to_owned(),
            journal,
            tried: HashMap::new(),
        }
    }

    /// Writes what of a group is not written yet, and says how its backup stands; `None`: there
    /// is to be none.
    pub(super) async fn keep(&mut self, group: &NodeVolumeGroup) -> Option<Condition> {
        let count = group.secret_changes;
        if count == 0 {
            return None;
        }
        let texts = Backups::of(&self.journal).last(&group.uuid, count);
        let owner = owner_in(&self.journal).ok().flatten();
        let (Some((newest, _)), Some(owner)) = (texts.first(), owner) else {
            let why = "the journal has no description of it yet".to_owned();
            return Some(Condition::no(KIND, "NotKept", why));
        };
        let what = (*newest, count);
        if let Some(tried) = self.tried.get(&group.uuid) {
            let done = tried.said.status && tried.what == what;
            if tried.at.elapsed() < if done { AGAIN } else { PAUSE } {
                return Some(tried.said.clone());
            }
        }
        // A group that another journal begins anew with gets another Secret.
        let name = name(&self.node, &owner, &group.uuid);
        let mut stored = self.stored(group).unwrap_or_default();
        let said = match self.write(&name, group, &texts).await {
            Ok(()) => {
                stored = Stored::now(*newest);
                let namespace = self.api.namespace().unwrap_or_default();
                Condition {
                    message: format!("change {newest} is in Secret {namespace}/{name}"),
                    ..Condition::yes(KIND, "Stored")
                }
            }
            Err((reason, why)) => {
                warn!(group = %group.name, secret = name, %why, "its description is in no Secret yet");
                Condition::no(KIND, reason, format!("Secret {name}: {why}"))
            }
        };
        let tried = Tried {
            at: Instant::now(),
            what,
            said: said.clone(),
            stored,
        };
        self.tried.insert(group.uuid.clone(), tried);
        Some(said)
    }

    /// What was written of a group since the start; `None`: nothing was tried.
    pub(super) fn stored(&self, group: &NodeVolumeGroup) -> Option<Stored> {
        Some(self.tried.get(&group.uuid)?.stored)
    }

    async fn write(
        &self,
        name: &str,
        group: &NodeVolumeGroup,
        texts: &[(u64, Vec<u8>)],
    ) -> Result<(), (&'static str, String)> {
        let packed = pack(texts).map_err(|error| ("Failed", error.to_string()))?;
        let data = packed.ok_or_else(|| {
            let why = format!("the description is larger than {MAX} bytes, packed; take the journal's copy off the node by other means, and write metadataBackup: {{to: None}}");
            ("TooLarge", why)
        })?;
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "labels": {"app.kubernetes.io/managed-by": "disk-watcher"},
                "annotations": {
                    "basalt.storage/node": self.node,
                    "basalt.storage/volume-group": group.name,
                    "basalt.storage/volume-group-uuid": group.uuid,
                },
            },
            "type": TYPE,
            "data": data,
        });
        let params = PatchParams::apply(&self.manager).force();
        let patch = Patch::Apply(secret);
        match tokio::time::timeout(ANSWER, self.api.patch(name, &params, &patch)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => Err((
                "Forbidden",
                format!(
                    "{}; the chart gives that right with kubernetes.admissionPolicy, and without it write metadataBackup: {{to: None}}",
                    status.message
                ),
            )),
            Ok(Err(error)) => Err(("Failed", error.to_string())),
            Err(_) => Err(("Failed", "the API server does not answer".to_owned())),
        }
    }
}

/// The name of the Secret; the admission policy of the chart knows its form.
fn name(node: &str, owner: &str, group: &str) -> String {
    format!("vg-{}", view::name(node, &format!("{owner} {group}")))
}

/// The data of a Secret: as many changes as fit, beginning with the newest, each as
/// `<number>.vg.gz`. `None`: not even the newest fits. The same changes are the same bytes.
fn pack(texts: &[(u64, Vec<u8>)]) -> io::Result<Option<BTreeMap<String, ByteString>>> {
    let mut data = BTreeMap::new();
    let mut room = MAX;
    for (seqno, text) in texts {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(text)?;
        let packed = gzip.finish()?;
        let Some(rest) = room.checked_sub(packed.len()) else {
            break;
        };
        room = rest;
        data.insert(format!("{seqno}.vg.gz"), ByteString(packed));
    }
    Ok(Some(data).filter(|data| !data.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use sha2::{Digest, Sha256};
    use std::io::Read;

    /// What gzip cannot make smaller.
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let blocks = (0u64..).map(|n| Sha256::digest([seed, n].map(u64::to_le_bytes).concat()));
        blocks.flatten().take(length).collect()
    }

    #[test]
    fn the_newest_changes_that_fit_are_packed_and_can_be_unpacked() {
        let texts = [
            (12, b"fast { seqno = 12 }".to_vec()),
            (11, noise(1, MAX / 2)),
            (10, noise(2, MAX / 2)),
            (9, b"fast { seqno = 9 }".to_vec()),
        ];
        let data = pack(&texts).unwrap().unwrap();
        let keys: Vec<_> = data.keys().collect();
        assert_eq!(keys, ["11.vg.gz", "12.vg.gz"], "none is left out between");
        let mut text = Vec::new();
        let mut gzip = GzDecoder::new(&data["12.vg.gz"].0[..]);
        gzip.read_to_end(&mut text).unwrap();
        assert_eq!(text, texts[0].1);
        assert_eq!(pack(&texts).unwrap().unwrap(), data, "the same bytes");
        assert_eq!(pack(&[(1, noise(3, MAX + 1))]).unwrap(), None);
    }

    #[test]
    fn each_node_journal_and_group_has_a_secret_of_its_own() {
        let one = name("n1", "me", "uuid");
        assert!(one.starts_with("vg-n1-") && one.len() == "vg-n1-".len() + 12);
        for other in [
            name("n1", "you", "uuid"),
            name("n1", "me", "other"),
            name("n2", "me", "uuid"),
        ] {
            assert_ne!(one, other);
        }
    }
}
