//! The root that an OCI layout holds for one architecture.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::contents::Contents;
use super::finding::{Finding, Rule};
use crate::oci::digest;

/// An image that is checked.
struct Image<'a> {
    layout: &'a Contents,
    findings: &'a mut Vec<Finding>,
}

/// Unpacks the image for `architecture` of a layout. Every digest and size is checked, which not every imager does.
pub(super) fn unpack(
    layout: &Contents,
    architecture: &str,
    findings: &mut Vec<Finding>,
) -> Option<Contents> {
    let mut image = Image { layout, findings };
    let index = image.json(layout.file("index.json"), "index.json")?;
    // Talos looks at the manifests of index.json alone; one without a platform is passed over.
    let manifests = index["manifests"].as_array().cloned().unwrap_or_default();
    let wanted = manifests.iter().find(|manifest| {
        manifest["platform"]["os"] == "linux"
            && manifest["platform"]["architecture"] == architecture
    });
    let Some(wanted) = wanted else {
        image.note(
            "index.json",
            format!("no manifest for linux/{architecture}"),
        );
        return None;
    };
    let manifest = image.blob(wanted, "the manifest")?;
    let manifest = image.json(Some(&manifest), "the manifest")?;
    let config = image.blob(&manifest["config"], "the configuration")?;
    let config = image.json(Some(&config), "the configuration")?;
    let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
    let [layer] = layers.as_slice() else {
        image.note(
            "the manifest",
            format!("{} layers instead of one", layers.len()),
        );
        return None;
    };
    let blob = image.blob(layer, "the layer")?;
    let mut tar = Vec::new();
    if let Err(error) = flate2::read::GzDecoder::new(blob.as_slice()).read_to_end(&mut tar) {
        image.note("the layer", format!("is not compressed with gzip: {error}"));
        return None;
    }
    if config["architecture"] != architecture || config["os"] != "linux" {
        image.note(
            "the configuration",
            format!("is not for linux/{architecture}"),
        );
    }
    if config["rootfs"]["diff_ids"] != serde_json::json!([digest(&tar)]) {
        image.note(
            "the configuration",
            "its diff_ids are not those of the layer".to_owned(),
        );
    }
    match Contents::of_tar(tar.as_slice(), image.findings) {
        Ok(contents) => Some(contents),
        Err(error) => {
            image.note("the layer", format!("is no tar: {error}"));
            None
        }
    }
}

impl Image<'_> {
    fn note(&mut self, at: &str, what: impl Into<String>) {
        self.findings.push(Finding::new(Rule::Image, at, what));
    }

    fn json(&mut self, bytes: Option<&[u8]>, what: &str) -> Option<Value> {
        let value = bytes.and_then(|bytes| serde_json::from_slice(bytes).ok());
        if value.is_none() {
            self.note(what, "is missing or no JSON");
        }
        value
    }

    /// The blob that a descriptor names, if it is there; that it is not what it should be is noted.
    fn blob(&mut self, descriptor: &Value, what: &str) -> Option<Vec<u8>> {
        let named = descriptor["digest"].as_str().unwrap_or_default().to_owned();
        let path: PathBuf = Path::new("blobs").join(named.replacen(':', "/", 1));
        let Some(bytes) = self.layout.file(&path).map(<[u8]>::to_vec) else {
            self.note(what, format!("there is no blob {named:?}"));
            return None;
        };
        if digest(&bytes) != named {
            self.note(what, format!("is not {named}"));
        }
        if descriptor["size"] != bytes.len() {
            self.note(
                what,
                format!("has {} bytes, not {}", bytes.len(), descriptor["size"]),
            );
        }
        Some(bytes)
    }
}
