//! The claim that gets an adopted volume, and what the PersistentVolume has to say so that the
//! two find each other.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use lvmd::names;

use super::{Wish, is_name};
use crate::capability::BLOCK;
use crate::kubernetes::size::Size;
use crate::plugin::cluster::{Seen, handle};
use crate::plugin::strays::Found;

/// StorageClass parameter of external-provisioner: the file system.
const FS_TYPE: &str = "csi.storage.k8s.io/fstype";

/// A claim and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
    /// Its UID where it had this very volume: without it Kubernetes takes the volume for another's, and the claim stays `Lost`.
    pub(super) uid: Option<String>,
    /// The StorageClass; empty where the claim wants none.
    pub(super) class: String,
    /// What the node is told at each publish.
    pub(super) attributes: BTreeMap<String, String>,
    /// The access modes.
    pub(super) modes: Vec<String>,
}

/// Reads `namespace/name`.
pub(super) fn parse(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('/');
    let parts = parts.filter(|(namespace, name)| is_name(namespace) && is_name(name));
    let (namespace, name) = parts.ok_or("write NAMESPACE/NAME, such as default/data")?;
    Ok((namespace.to_owned(), name.to_owned()))
}

/// The claim of an LV: what is asked for, what its PersistentVolume says, what its tag says.
pub(super) fn of(seen: &Seen, found: &Found, wish: &Wish) -> Option<(String, String)> {
    let stray = &found.stray;
    let kept = seen
        .persistent
        .iter()
        .find(|pv| handle(pv) == Some(&stray.lv));
    let kept = kept.and_then(|pv| pv.spec.as_ref()?.claim_ref.as_ref());
    let kept = kept.and_then(|claim| claim.namespace.clone().zip(claim.name.clone()));
    let tag = || parse(stray.tag(names::TAG_PVC)?).ok();
    wish.claim.clone().or(kept).or_else(tag)
}

impl Bound {
    /// What the PersistentVolume `name` has to say for the claim to take it.
    pub(super) fn judge(
        seen: &Seen,
        claims: &[PersistentVolumeClaim],
        (namespace, claim): (String, String),
        name: &str,
        found: &Found,
        content: &str,
        wish: &Wish,
    ) -> Result<Self, String> {
        let taken = seen.persistent.iter().find(|pv| {
            let spec = pv.spec.as_ref();
            spec.and_then(|spec| spec.claim_ref.as_ref())
                .is_some_and(|its| {
                    its.namespace.as_deref() == Some(&namespace)
                        && its.name.as_deref() == Some(&claim)
                })
        });
        if let Some(pv) = taken {
            return Err(format!(
                "PersistentVolume {} is for this claim: --lv with --claim names another",
                pv.name_any()
            ));
        }
        let there = claims.iter().find(|there| {
            there.namespace().as_deref() == Some(&namespace) && there.name_any() == claim
        });
        let spec = there.and_then(|there| there.spec.as_ref());
        if let Some(spec) = spec {
            let volume = spec.volume_name.as_deref().unwrap_or_default();
            if !volume.is_empty() && volume != name {
                return Err(format!(
                    "the claim has PersistentVolume {volume}: --lv with --claim names another"
                ));
            }
            let mode = spec.volume_mode.as_deref().unwrap_or("Filesystem");
            if (mode == "Block") != (content == BLOCK) {
                return Err(format!("the claim is for {mode}, and this is {content}"));
            }
            let requests = spec.resources.as_ref();
            let asked = requests.and_then(|all| all.requests.as_ref()?.get("storage"));
            let asked = asked.map(|asked| Size::from(asked.0.clone()).bytes());
            match asked {
                Some(Ok(asked)) if asked > found.stray.size() => {
                    return Err(format!("the claim asks for {asked}, which is more"));
                }
                Some(Err(error)) => return Err(error.to_string()),
                _ => {}
            }
        }
        let of_claim = spec.and_then(|spec| spec.storage_class_name.clone());
        let had = spec.is_some_and(|spec| spec.volume_name.as_deref() == Some(name));
        let class = class(seen, found, content, wish, of_claim)?;
        let ours = class.and_then(|class| class.parameters.clone());
        let ours = ours.unwrap_or_default().into_iter();
        Ok(Self {
            namespace,
            name: claim,
            uid: there.filter(|_| had).and_then(ResourceExt::uid),
            class: class.map(ResourceExt::name_any).unwrap_or_default(),
            attributes: ours
                .filter(|(key, _)| key.starts_with(names::PARAM_OWN))
                .collect(),
            modes: spec
                .and_then(|spec| spec.access_modes.clone())
                .filter(|modes| !modes.is_empty())
                .unwrap_or_else(|| vec!["ReadWriteOnce".to_owned()]),
        })
    }
}

/// The StorageClass: the one asked for, the claim's, or the only one whose volumes are like
/// this one. `None` where the claim wants none.
fn class<'a>(
    seen: &'a Seen,
    found: &Found,
    content: &str,
    wish: &Wish,
    of_claim: Option<String>,
) -> Result<Option<&'a StorageClass>, String> {
    if let Some(name) = wish.storage_class.clone().or(of_claim) {
        if name.is_empty() {
            return Ok(None);
        }
        let named = seen.classes.iter().find(|class| class.name_any() == name);
        let ours = named.filter(|class| class.provisioner == names::DRIVER);
        return ours.map(Some).ok_or(format!(
            "there is no StorageClass {name} of {}",
            names::DRIVER
        ));
    }
    let fits: Vec<&StorageClass> = seen
        .classes
        .iter()
        .filter(|class| fits(class, found.stray.class(), content))
        .collect();
    match fits[..] {
        [only] => Ok(Some(only)),
        [] => Err("no StorageClass makes such volumes: --storage-class".to_owned()),
        _ => {
            let names: Vec<_> = fits.iter().map(|class| class.name_any()).collect();
            Err(format!(
                "StorageClasses {} make such volumes: --storage-class",
                names.join(", ")
            ))
        }
    }
}

/// Whether volumes of a StorageClass are of this device class and content.
fn fits(class: &StorageClass, device_class: &str, content: &str) -> bool {
    let value = |key: &str| {
        let value = class.parameters.as_ref().and_then(|all| all.get(key));
        value.map_or("", String::as_str)
    };
    // Without one it is the node's default class, which may be this.
    let its = value(names::PARAM_CLASS);
    let made = match value(FS_TYPE) {
        "" => "ext4",
        other => other,
    };
    class.provisioner == names::DRIVER
        && (its.is_empty() || its == device_class)
        && (content == BLOCK || content == made)
}
