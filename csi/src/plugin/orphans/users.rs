//! Who may use a volume that no PersistentVolume stands for any more, or is about to. Whoever may still want the data is looked for
//! before it goes for good, whether its LogicalVolume is there or lost too.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::ResourceExt;
use lvmd::names;

use crate::kubernetes::claims::uses;
use crate::plugin::cluster::Seen;

/// Who may use volumes without a PersistentVolume that says so.
#[derive(Debug, Default)]
pub struct Users {
    /// All claims.
    pub claims: Vec<PersistentVolumeClaim>,
    /// All pods.
    pub pods: Vec<Pod>,
    /// All VolumeAttachments.
    pub attachments: Vec<VolumeAttachment>,
}

/// A volume whose data is to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doomed<'a> {
    /// The name that its LogicalVolume has or had, which is its PersistentVolume's too.
    pub(super) name: &'a str,
    /// Its LV.
    pub(super) lv: &'a str,
    /// Its node.
    pub(super) node: &'a str,
    /// `namespace/name` of the claim it was made for, where that is known.
    pub(super) claim: Option<&'a str>,
    /// `namespace/name` of the pod whose inline volume it is; other words where that is not known.
    pub(super) pod: Option<&'a str>,
}

impl Users {
    /// Who may use it, or is about to, in words, with the way out.
    pub(super) fn of(&self, seen: &Seen, doomed: &Doomed<'_>) -> Option<String> {
        self.claim(doomed)
            .or_else(|| content(seen, doomed))
            .or_else(|| copy(seen, doomed))
            .or_else(|| self.attachment(doomed))
            .or_else(|| self.pod(seen, doomed))
            .or_else(|| self.owner(doomed))
    }

    /// A claim whose PersistentVolume has this name: one that was lost, or that is just being made.
    fn claim(&self, doomed: &Doomed<'_>) -> Option<String> {
        let name = doomed.name;
        let claim = self.claims.iter().find(|claim| {
            let spec = claim.spec.as_ref();
            let bound = spec.and_then(|spec| spec.volume_name.as_deref());
            let made = claim.uid().map(|uid| format!("pvc-{uid}"));
            bound == Some(name) || made.as_deref() == Some(name)
        })?;
        Some(format!(
            "PersistentVolumeClaim {} is there and its volume is {name}, so its LV may be needed still: delete the claim first, if \
             nobody wants the data",
            place(claim)
        ))
    }

    fn attachment(&self, doomed: &Doomed<'_>) -> Option<String> {
        let attachment = self.attachments.iter().find(|attachment| {
            let source = &attachment.spec.source;
            let inline = source.inline_volume_spec.as_ref();
            let handle = inline.and_then(|spec| spec.csi.as_ref());
            attachment.spec.attacher == names::DRIVER
                && (source.persistent_volume_name.as_deref() == Some(doomed.name)
                    || handle.is_some_and(|csi| csi.volume_handle == doomed.lv))
        })?;
        Some(format!(
            "VolumeAttachment {} is there, of {}, so its LV may be needed still: end the pods that use it",
            attachment.name_any(),
            doomed.name
        ))
    }

    /// A pod on its node whose claim is gone, or has no other volume that is there.
    fn pod(&self, seen: &Seen, doomed: &Doomed<'_>) -> Option<String> {
        let (namespace, claim) = doomed.claim?.split_once('/')?;
        let mut claims = self.claims.iter();
        let there = claims.find(|there| {
            there.namespace().as_deref() == Some(namespace) && there.name_any() == claim
        });
        let another = there.and_then(|there| there.spec.as_ref()?.volume_name.as_deref());
        if another.is_some_and(|another| seen.persistent.iter().any(|pv| pv.name_any() == another))
        {
            return None;
        }
        let pod = self.pods.iter().find(|pod| {
            let status = pod.status.as_ref();
            let phase = status.and_then(|status| status.phase.as_deref());
            pod.namespace().as_deref() == Some(namespace)
                && is_on(pod, doomed.node)
                && !matches!(phase, Some("Succeeded" | "Failed"))
                && uses(pod, claim)
        })?;
        Some(format!(
            "pod {} is on its node and uses the claim {claim}, for which {} was made, so its LV may be needed still: end the pod first",
            place(pod),
            doomed.name
        ))
    }

    /// The pod whose inline volume it is. After a reboot such a pod is there before its kubelet publishes the volume again, with
    /// the data that is on it. A pod stays on its node, so one of this name on another node is another pod.
    fn owner(&self, doomed: &Doomed<'_>) -> Option<String> {
        let named = doomed.pod?;
        let is_known = named
            .split_once('/')
            .is_some_and(|(namespace, name)| ![namespace, name].contains(&"?"));
        let pod = self.pods.iter().find(|pod| {
            is_on(pod, doomed.node) && has_inline(pod) && (!is_known || place(*pod) == named)
        })?;
        let whose = match is_known {
            true => "so this LV may be one of them",
            false => "and no tag says whose this LV is",
        };
        Some(format!(
            "pod {} is on its node and has inline volumes, {whose}: an inline volume goes with its pod, and until then the kubelet \
             publishes it again, after a reboot too. Delete the pod, and its node removes the LV; if one of its name comes again at \
             once, first scale down what makes it",
            place(pod)
        ))
    }
}

/// The VolumeSnapshotContent that a snapshot is being taken for: it names it only afterwards.
fn content(seen: &Seen, doomed: &Doomed<'_>) -> Option<String> {
    let its = format!("snapcontent-{}", doomed.name.strip_prefix("snapshot-")?);
    let found = seen
        .snapshots
        .iter()
        .any(|content| content.name_any() == its);
    found.then(|| {
        format!(
            "VolumeSnapshotContent {its} is there and its snapshot is {}, so its LV may be needed still: delete the VolumeSnapshot \
             first, if nobody wants it",
            doomed.name
        )
    })
}

/// A copy that is still being made of it.
fn copy(seen: &Seen, doomed: &Doomed<'_>) -> Option<String> {
    let name = doomed.name;
    let mut all = seen.volumes.iter();
    let copy = all.find(|copy| copy.spec.source == name && copy.volume_id().is_none())?;
    Some(format!(
        "LogicalVolume {} is being made of {name}: wait until it is made, or delete what asks for it",
        copy.name_any()
    ))
}

/// Whether a pod asks for volumes of the driver in its own specification.
pub(crate) fn has_inline(pod: &Pod) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter());
    volumes.flatten().any(|volume| {
        let csi = volume.csi.as_ref();
        csi.is_some_and(|csi| csi.driver == names::DRIVER)
    })
}

fn is_on(pod: &Pod, node: &str) -> bool {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.node_name.as_deref()) == Some(node)
}

fn place(object: &impl ResourceExt) -> String {
    let namespace = object.namespace().unwrap_or_default();
    format!("{namespace}/{}", object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A pod `ns/db` on this node with this volume.
    fn pod(node: &str, volume: Value) -> Users {
        let mut volume = volume;
        volume["name"] = json!("v");
        let pod = json!({"metadata": {"namespace": "ns", "name": "db"},
            "spec": {"nodeName": node, "containers": [], "volumes": [volume]}});
        Users {
            pods: vec![serde_json::from_value(pod).unwrap()],
            ..Users::default()
        }
    }

    fn inline(driver: &str) -> Value {
        json!({"csi": {"driver": driver}})
    }

    /// What speaks against the end of an inline volume of node `n1` with this tag.
    fn against(users: &Users, tag: &str) -> Option<String> {
        let doomed = Doomed {
            name: "adopted-csi-1",
            lv: "csi-1",
            node: "n1",
            claim: None,
            pod: Some(tag),
        };
        users.of(&Seen::default(), &doomed)
    }

    #[test]
    fn an_inline_volume_is_kept_while_its_pod_is_there() {
        let why = against(&pod("n1", inline("topolvm.io")), "ns/db").unwrap();
        for part in ["pod ns/db", "goes with its pod", "Delete the pod"] {
            assert!(why.contains(part), "{part:?} is not in {why}");
        }
        for (users, tag) in [
            (pod("n1", inline("topolvm.io")), "ns/other"),
            (pod("n2", inline("topolvm.io")), "ns/db"),
            (pod("n1", inline("other.io")), "ns/db"),
            (Users::default(), "ns/db"),
        ] {
            assert_eq!(against(&users, tag), None, "{users:?}");
        }
    }

    #[test]
    fn of_an_inline_volume_whose_pod_no_tag_names_any_pod_may_be_the_owner() {
        for tag in ["pod", "?/?"] {
            let why = against(&pod("n1", inline("topolvm.io")), tag).unwrap();
            assert!(why.contains("no tag says whose"), "{why}");
            assert_eq!(against(&pod("n2", inline("topolvm.io")), tag), None);
        }
    }
}
