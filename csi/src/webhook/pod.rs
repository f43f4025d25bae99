//! What a pod wants, and the patch that says so: upstream's rules.

use std::collections::BTreeMap;
use std::future::Future;

use k8s_openapi::api::core::v1::{
    Container, PersistentVolumeClaim, PersistentVolumeClaimSpec, Pod, Volume,
};
use k8s_openapi::api::storage::v1::StorageClass;
use lvmd::names::{
    CAPACITY_DEFAULT, CAPACITY_PREFIX, DRIVER, PARAM_CLASS, PARAM_SIZE, RESOURCE_CAPACITY,
};
use lvmd::units::{Bytes, GIB};
use serde_json::{Value, json};

use crate::error::Error;
use crate::kubernetes::size::Size;

/// What a claim without a size gets (upstream's DefaultSize).
const DEFAULT_SIZE: u64 = GIB;

/// Bytes by device class, [`CAPACITY_DEFAULT`] for the default one.
pub type Wanted = BTreeMap<String, u64>;

/// Where claims and classes are looked up.
pub trait Objects: Send + Sync {
    /// A claim; `None` when there is none.
    fn claim(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<PersistentVolumeClaim>, Error>> + Send;
    /// A class; `None` when there is none.
    fn class(&self, name: &str)
    -> impl Future<Output = Result<Option<StorageClass>, Error>> + Send;
}

/// What a pod wants of TopoLVM. Empty when that is nothing, or when one of its claims has
/// its volume already: then the node is settled.
///
/// # Errors
/// What could not be looked up; a size that is none.
pub async fn wanted(pod: &Pod, namespace: &str, from: &impl Objects) -> Result<Wanted, Error> {
    let mut wanted = Wanted::new();
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    for volume in volumes {
        if let Some((class, bytes)) = inline(volume)? {
            add_up(&mut wanted, class, bytes);
            continue;
        }
        let (spec, pending) = if let Some(source) = &volume.persistent_volume_claim {
            let claim = from.claim(namespace, &source.claim_name).await?;
            // A pod may come before its claim.
            let Some(PersistentVolumeClaim {
                spec: Some(spec),
                status,
                ..
            }) = claim
            else {
                continue;
            };
            if spec.storage_class_name.as_deref() == Some("") {
                continue;
            }
            let phase = status.and_then(|status| status.phase);
            (spec, phase.as_deref() == Some("Pending"))
        } else if let Some(template) = volume
            .ephemeral
            .as_ref()
            .and_then(|e| e.volume_claim_template.as_ref())
        {
            (template.spec.clone(), true)
        } else {
            continue;
        };
        let Some(name) = &spec.storage_class_name else {
            continue;
        };
        let class = from
            .class(name)
            .await?
            .filter(|class| class.provisioner == DRIVER);
        let Some(class) = class else {
            continue;
        };
        if !pending {
            return Ok(Wanted::new());
        }
        let parameter = class
            .parameters
            .as_ref()
            .and_then(|all| all.get(PARAM_CLASS));
        let class = parameter.map_or(CAPACITY_DEFAULT, String::as_str);
        // Upstream's answer to a class without a name.
        if class.is_empty() {
            continue;
        }
        let bytes = size(&spec)?;
        add_up(&mut wanted, class, bytes);
    }
    Ok(wanted)
}

fn add_up(wanted: &mut Wanted, class: &str, bytes: u64) {
    let sum = wanted.entry(class.to_owned()).or_default();
    *sum = sum.saturating_add(bytes).min(i64::MAX.unsigned_abs());
}

/// The class and the bytes of an inline volume of ours. One without a class is no volume: its node refuses it.
fn inline(volume: &Volume) -> Result<Option<(&str, u64)>, Error> {
    let source = volume.csi.as_ref().filter(|csi| csi.driver == DRIVER);
    let Some(attributes) = source.and_then(|csi| csi.volume_attributes.as_ref()) else {
        return Ok(None);
    };
    let Some(class) = attributes
        .get(PARAM_CLASS)
        .filter(|class| !class.is_empty())
    else {
        return Ok(None);
    };
    let bytes = match attributes.get(PARAM_SIZE) {
        None => Bytes(DEFAULT_SIZE),
        Some(text) => text.parse().map_err(|_| {
            Error::Invalid(format!(
                "volume {}: {PARAM_SIZE} is {text:?}: write a size such as 2Gi",
                volume.name
            ))
        })?,
    };
    Ok(Some((class, bytes.0)))
}

/// The size a claim asks for, in bytes, rounded up.
fn size(spec: &PersistentVolumeClaimSpec) -> Result<u64, Error> {
    let requests = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
    let Some(quantity) = requests.and_then(|all| all.get("storage")) else {
        return Ok(DEFAULT_SIZE);
    };
    let bytes = match thousandths(&quantity.0) {
        Some(bytes) => bytes,
        None => Size::from(quantity.0.clone())
            .bytes()
            .map_err(|error| Error::Invalid(error.to_string()))?,
    };
    Ok(if bytes.0 == 0 { DEFAULT_SIZE } else { bytes.0 })
}

/// `100m`, which Kubernetes takes for a size, and which is mostly a slip for `100M`.
fn thousandths(text: &str) -> Option<Bytes> {
    let digits: u64 = text.strip_suffix('m')?.parse().ok()?;
    Some(Bytes(digits.div_ceil(1000)))
}

/// The JSON patch (RFC 6902) that writes `wanted` into a pod with containers.
pub fn patch(pod: &Pod, wanted: &Wanted) -> Value {
    let mut operations = Vec::new();
    let one = [(RESOURCE_CAPACITY.to_owned(), "1".to_owned())].into();
    let first: Option<&Container> = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let resources = first.and_then(|container| container.resources.as_ref());
    let at = "/spec/containers/0/resources";
    match resources {
        None => operations.push(add(at, &json!({"requests": one, "limits": one}))),
        Some(there) => {
            merge(
                &mut operations,
                &format!("{at}/requests"),
                there.requests.is_some(),
                &one,
            );
            merge(
                &mut operations,
                &format!("{at}/limits"),
                there.limits.is_some(),
                &one,
            );
        }
    }
    let annotations = wanted
        .iter()
        .map(|(class, bytes)| (format!("{CAPACITY_PREFIX}{class}"), bytes.to_string()))
        .collect();
    let there = pod.metadata.annotations.is_some();
    merge(
        &mut operations,
        "/metadata/annotations",
        there,
        &annotations,
    );
    Value::Array(operations)
}

/// Writes entries into a map that may not be there yet.
fn merge(operations: &mut Vec<Value>, at: &str, there: bool, entries: &BTreeMap<String, String>) {
    if !there {
        operations.push(add(at, &json!(entries)));
        return;
    }
    for (key, value) in entries {
        // RFC 6901: what stands for itself in a key.
        let key = key.replace('~', "~0").replace('/', "~1");
        operations.push(add(&format!("{at}/{key}"), &json!(value)));
    }
}

fn add(path: &str, value: &Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

#[cfg(test)]
mod tests;
