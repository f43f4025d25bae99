//! Volumes that a pod's own specification asks for (CSI ephemeral inline volumes).
//!
//! The kubelet asks nobody but the node for them, so the node makes one at the first publish and removes it at the
//! unpublish. No object tells of one: its LV has the id that the kubelet gave it, and the tag [`names::TAG_EPHEMERAL`],
//! without which nothing is ever removed here. A repeated publish, also after a reboot, finds the LV by that id.

use std::collections::{BTreeMap, HashMap};

use lvmd::cmd::Runner;
use lvmd::engine::EngineError;
use lvmd::lvm::valid;
use lvmd::names;
use lvmd::units::Bytes;
use lvmd::volumes::{Create, VolumeError};
use tonic::{Code, Status};
use tracing::info;

use super::Node;
use super::device::{Device, Devices};
use crate::capability::Access;
use crate::error::{self, Error};
use crate::size::{DEFAULT, Minimums, Range};

/// Begins what a kubelet adds to the attributes of a volume.
const KUBELETS: &str = "csi.storage.k8s.io/";
/// How many letters of hex a kubelet's id has behind `csi-`: SHA-256 of the pod's uid and the volume's name.
const HASH: usize = 64;

/// Which inline volumes are made: the device classes, and the most a volume of each may have. None unless one is named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// The largest volume by class.
    pub classes: BTreeMap<String, Bytes>,
    /// The least a volume gets.
    pub minimums: Minimums,
}

/// An inline volume, as its pod asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    id: String,
    class: String,
    size: Bytes,
    access: Access,
    pod: String,
}

impl Wanted {
    /// Reads what the attributes say; `None` for a volume that a PersistentVolume stands for.
    ///
    /// # Errors
    /// One of them cannot be meant.
    pub(super) fn read(
        id: &str,
        context: &HashMap<String, String>,
        access: &Access,
        read_only: bool,
    ) -> Result<Option<Self>, Error> {
        let told = |name: &str| {
            context
                .get(&format!("{KUBELETS}{name}"))
                .map(String::as_str)
        };
        if told("ephemeral") != Some("true") {
            return Ok(None);
        }
        let wrong = |why: String| Err(Error::Invalid(format!("inline volume {id}: {why}")));
        if !is_kubelets(id) {
            return wrong("a kubelet's ids are csi- and the SHA-256 of pod and volume".into());
        }
        if *access == Access::Block || read_only {
            return wrong("it is made empty, so it is a file system that can be written to".into());
        }
        if context.contains_key(names::PARAM_OPTION_CLASS) {
            let key = names::PARAM_OPTION_CLASS;
            return wrong(format!(
                "{key} is not for inline volumes; its device class's options are used"
            ));
        }
        let Some(class) = context
            .get(names::PARAM_CLASS)
            .filter(|class| !class.is_empty())
        else {
            return wrong(format!("name its device class in {}", names::PARAM_CLASS));
        };
        let size = match context.get(names::PARAM_SIZE) {
            None => DEFAULT,
            Some(text) => match text.parse() {
                Ok(size) if size > Bytes(0) => size,
                _ => {
                    return wrong(format!(
                        "{} is {text:?}: write a size such as 2Gi",
                        names::PARAM_SIZE
                    ));
                }
            },
        };
        let [namespace, pod] = ["pod.namespace", "pod.name"].map(|name| told(name).unwrap_or("?"));
        Ok(Some(Self {
            id: id.to_owned(),
            class: class.clone(),
            size,
            access: access.clone(),
            pod: format!("{namespace}/{pod}"),
        }))
    }
}

impl Allowed {
    /// The LV of an inline volume.
    ///
    /// # Errors
    /// Its class or its size is not allowed.
    fn judge(&self, wanted: &Wanted) -> Result<Create, Error> {
        let refused = |why: String| {
            Err(Error::Precondition(format!(
                "inline volume {} of pod {}: {why}",
                wanted.id, wanted.pod
            )))
        };
        let Some(limit) = self.classes.get(&wanted.class) else {
            let known: Vec<&str> = self.classes.keys().map(String::as_str).collect();
            return refused(match known.is_empty() {
                true => {
                    "none are made here: name device classes for them in node.inlineVolumes.classes"
                        .into()
                }
                false => format!(
                    "device class {:?} is not for them; {} may be used",
                    wanted.class,
                    known.join(", ")
                ),
            });
        };
        let floor = self.minimums.of_access(&wanted.access);
        let range = Range {
            required: wanted.size,
            limit: None,
        };
        let size = range.choose(floor)?;
        if size > *limit {
            return refused(format!(
                "it would have {size}, and in device class {:?} the most for an inline volume is {limit}",
                wanted.class
            ));
        }
        let content = match &wanted.access {
            Access::Mount { kind, .. } => kind.name(),
            Access::Block => crate::capability::BLOCK,
        };
        // Without a pod's name it is an inline volume too.
        let of_pod = names::tag(names::TAG_EPHEMERAL, &wanted.pod);
        let of_pod = match valid::tag(&of_pod) {
            Ok(()) => of_pod,
            Err(_) => names::tag(names::TAG_EPHEMERAL, "pod"),
        };
        Ok(Create {
            name: wanted.id.clone(),
            class: wanted.class.clone(),
            option_class: String::new(),
            size,
            tags: vec![
                of_pod,
                names::tag(names::TAG_DEVICE_CLASS, &wanted.class),
                names::tag(names::TAG_CONTENT, content),
            ],
        })
    }
}

/// Whether it is an id that kubelets give to inline volumes. No LogicalVolume's uid and no volume of a node without a cluster
/// looks like it.
fn is_kubelets(id: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    id.strip_prefix("csi-")
        .is_some_and(|hash| hash.len() == HASH && hash.bytes().all(hex))
}

/// Whether its tags say that it goes with its pod. One that a LogicalVolume was made for since does not.
fn goes_with_its_pod(device: &Device) -> bool {
    let has = |key| names::tag_value(&device.tags, key).is_some();
    is_kubelets(&device.id) && has(names::TAG_EPHEMERAL) && !has(names::TAG_LV)
}

/// An answer after which a kubelet unpublishes the volume when its pod goes. After another it believes that there is none,
/// and what was made would stay (kubelet 1.35, `isFinalError` of its CSI client).
pub(super) fn lasting(error: Error) -> Error {
    match error::code(&error) {
        Code::Unavailable | Code::Aborted | Code::ResourceExhausted => error,
        _ => Error::Unavailable(Status::from(error).message().to_owned()),
    }
}

impl<D: Devices, R: Runner> Node<D, R> {
    /// The device of an inline volume, made unless it is there.
    pub(super) async fn inline(&self, wanted: &Wanted) -> Result<Device, Error> {
        let devices = &self.inner.devices;
        let found = devices.find_in(&wanted.id, &wanted.class).await;
        match found.map_err(lasting)? {
            Some(device) if goes_with_its_pod(&device) => return Ok(device),
            Some(_) => {
                let (id, tag) = (&wanted.id, names::TAG_EPHEMERAL);
                return Err(Error::Exists(format!(
                    "LV {id} is there and no inline volume: it has no tag {tag}"
                )));
            }
            None => {}
        }
        let create = self.inner.allowed.judge(wanted)?;
        info!(volume = wanted.id, pod = wanted.pod, size = %create.size, "an inline volume is made");
        devices.make(&create).await.map_err(lasting)?;
        self.require(&wanted.id).await.map_err(lasting)
    }

    /// The device of a volume that a PersistentVolume stands for.
    pub(super) async fn persistent(&self, id: &str) -> Result<Device, Error> {
        let device = self.require(id).await?;
        if goes_with_its_pod(&device) {
            return Err(Error::Precondition(format!(
                "LV {id} is a pod's inline volume, and would be removed when a pod that uses it ends: to keep it, take its \
                 tag {} away with lvchange --deltag",
                names::TAG_EPHEMERAL
            )));
        }
        Ok(device)
    }

    /// Removes an inline volume that is published nowhere any more. Other volumes are not even looked for.
    pub(super) async fn end_inline(&self, id: &str) -> Result<(), Error> {
        if !is_kubelets(id) {
            return Ok(());
        }
        match self.left(id).await? {
            Some(device) if goes_with_its_pod(&device) => {
                info!(volume = id, "an inline volume is removed");
                self.inner.devices.remove(&device).await
            }
            _ => Ok(()),
        }
    }

    /// The LV of this id. A group that is away counts where inline volumes of its class are made: a node need not have the
    /// groups of all classes.
    async fn left(&self, id: &str) -> Result<Option<Device>, Error> {
        let devices = &self.inner.devices;
        let classes = &self.inner.allowed.classes;
        match devices.find(id).await {
            Ok(found) => return Ok(found),
            Err(Error::Volume(VolumeError::Engine(EngineError::Missing(_)))) => {}
            Err(error) if classes.is_empty() => return Err(error),
            Err(_) => {}
        }
        for class in classes.keys() {
            if let Some(device) = devices.find_in(id, class).await? {
                return Ok(Some(device));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
