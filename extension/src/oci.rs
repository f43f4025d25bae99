//! An OCI image layout, as a folder and as an archive.
//!
//! The rules are those of the OCI image specification 1.1 (image-layout.md, manifest.md, config.md). The JSON is
//! written here because it has to be the same bytes each time; the crates for it keep annotations in hash maps.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::layer::{self, Layer, LayerError};
use crate::rootfs::{ClashError, Node, Rootfs, Source};

mod artifact;
mod index;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A layout could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file of the layout.
    #[error("could not write {}", path.display())]
    Write {
        /// On this machine.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The archive.
    #[error(transparent)]
    Pack(#[from] LayerError),
    /// Two blobs under one name.
    #[error(transparent)]
    Clash(#[from] ClashError),
}

/// What the image's configuration says beside its layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSpec {
    /// The name to import it under, for example `registry.example/basalt:0.1.0`.
    pub reference: String,
    /// `amd64` or `arm64`: Go's names, as the specification asks.
    pub architecture: &'static str,
    /// What runs by default.
    pub entrypoint: Vec<String>,
    /// `NAME=value` of the environment.
    pub env: Vec<String>,
    /// `org.opencontainers.image.*` and others, by key.
    pub labels: Vec<(String, String)>,
    /// Seconds since 1970 that all times in the image say.
    pub epoch: u64,
}

/// One image in an OCI layout: its files by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    files: Vec<(PathBuf, Vec<u8>)>,
    /// `sha256:<hex>` of the manifest: what a registry calls the image.
    pub digest: String,
}

impl Layout {
    /// The image with the one `layer`.
    #[must_use]
    pub fn new(spec: &ImageSpec, layer: Layer) -> Self {
        let labels: Value = map(&spec.labels);
        let created = rfc3339(spec.epoch);
        let config = bytes(&json!({
            "created": created,
            "architecture": spec.architecture,
            "os": "linux",
            "config": {"Env": spec.env, "Entrypoint": spec.entrypoint, "Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer.diff_id))]},
            "history": [{"created": created, "created_by": "basalt extension image"}],
        }));
        let manifest = bytes(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": [descriptor(LAYER, &layer.blob)],
            "annotations": labels,
        }));
        let mut entry = descriptor(MANIFEST, &manifest);
        entry["platform"] = json!({"architecture": spec.architecture, "os": "linux"});
        entry["annotations"] = names(&spec.reference);
        let digest = digest(&manifest);
        let blobs = [config, manifest, layer.blob].map(blob);
        Self::of(&[entry], blobs.into(), digest)
    }

    /// A layout with these entries in its index.json, and these blobs.
    fn of(entries: &[Value], blobs: Vec<(PathBuf, Vec<u8>)>, digest: String) -> Self {
        let layout = bytes(&json!({"imageLayoutVersion": "1.0.0"}));
        let mut files = vec![
            (PathBuf::from("oci-layout"), layout),
            (PathBuf::from("index.json"), index(entries)),
        ];
        files.extend(blobs);
        Self { files, digest }
    }

    /// Bytes of all blobs: what a node downloads.
    #[must_use]
    pub fn size(&self) -> usize {
        self.files.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Writes the layout into the folder `dir`, in place of what was there.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write_dir(&self, dir: &Path) -> Result<(), LayoutError> {
        if dir.exists() {
            std::fs::remove_dir_all(dir).map_err(write(dir))?;
        }
        for (path, bytes) in &self.files {
            let path = dir.join(path);
            let folder = path.parent().unwrap_or(dir);
            std::fs::create_dir_all(folder).map_err(write(folder))?;
            std::fs::write(&path, bytes).map_err(write(&path))?;
        }
        Ok(())
    }

    /// Writes the layout as one tar, as `ctr image import` and `podman load` take it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_archive(&self, path: &Path, epoch: u64) -> Result<(), LayoutError> {
        std::fs::write(path, self.archive(epoch)?).map_err(write(path))
    }

    /// The layout as one tar.
    ///
    /// # Errors
    /// Two blobs under one name.
    pub fn archive(&self, epoch: u64) -> Result<Vec<u8>, LayoutError> {
        let mut root = Rootfs::default();
        for (path, bytes) in &self.files {
            let from = Source::Bytes(bytes.clone());
            root.put(path, Node::File { mode: 0o644, from })?;
        }
        let mut tar = Vec::new();
        layer::write_tar(&root, epoch, &mut tar)?;
        Ok(tar)
    }
}

/// The bytes of an index with these entries.
fn index(entries: &[Value]) -> Vec<u8> {
    bytes(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))
}

/// What an entry of index.json is called: `ref.name` is what the specification names, the other what containerd imports by.
fn names(reference: &str) -> Value {
    let tag = reference.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    json!({
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": tag,
    })
}

/// A blob, and where it is in a layout.
fn blob(bytes: Vec<u8>) -> (PathBuf, Vec<u8>) {
    (Path::new("blobs/sha256").join(sha256(&bytes)), bytes)
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
}

fn map(pairs: &[(String, String)]) -> Value {
    let mut pairs = pairs.to_vec();
    pairs.sort();
    pairs
        .into_iter()
        .map(|(key, value)| (key, json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// `sha256:<hex>`, as a registry calls it.
pub(crate) fn digest(blob: &[u8]) -> String {
    format!("sha256:{}", sha256(blob))
}

/// In hexadecimal.
pub(crate) fn sha256(blob: &[u8]) -> String {
    hex(&Sha256::digest(blob))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `1970-01-01T00:00:00Z` and so on (RFC 3339, UTC), by the civil calendar's arithmetic.
pub(crate) fn rfc3339(epoch: u64) -> String {
    let (days, seconds) = (epoch / 86_400, epoch % 86_400);
    let year_days = |year: u64| {
        let leap =
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        if leap { 366 } else { 365 }
    };
    let (mut year, mut day) = (1970, days);
    while day >= year_days(year) {
        day -= year_days(year);
        year += 1;
    }
    let february = if year_days(year) == 366 { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= months[month] {
        day -= months[month];
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "{year:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
        month + 1,
        day + 1
    )
}

fn write(path: &Path) -> impl FnOnce(io::Error) -> LayoutError {
    let path = path.to_owned();
    move |source| LayoutError::Write { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let spec = ImageSpec {
            reference: "registry.example/basalt:1.2.3".to_owned(),
            architecture: "amd64",
            entrypoint: vec!["/hypertopolvm".to_owned()],
            env: vec!["PATH=/usr/sbin".to_owned()],
            labels: vec![
                ("b".to_owned(), "2".to_owned()),
                ("a".to_owned(), "1".to_owned()),
            ],
            epoch: 0,
        };
        let layer = Layer {
            blob: b"layer".to_vec(),
            diff_id: [7; 32],
        };
        Layout::new(&spec, layer)
    }

    fn json_at(dir: &Path, path: &str) -> Value {
        serde_json::from_slice(&std::fs::read(dir.join(path)).unwrap()).unwrap()
    }

    #[test]
    fn every_descriptor_leads_to_a_blob_of_its_size_and_digest() {
        let dir = tempfile::tempdir().unwrap();
        layout().write_dir(dir.path()).unwrap();
        let check = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            let hex = digest.strip_prefix("sha256:").unwrap();
            let blob = std::fs::read(dir.path().join("blobs/sha256").join(hex)).unwrap();
            assert_eq!(sha256(&blob), hex);
            assert_eq!(descriptor["size"], blob.len());
            blob
        };
        let index = json_at(dir.path(), "index.json");
        assert_eq!(index["manifests"][0]["platform"]["architecture"], "amd64");
        let manifest: Value = serde_json::from_slice(&check(&index["manifests"][0])).unwrap();
        check(&manifest["layers"][0]);
        let config: Value = serde_json::from_slice(&check(&manifest["config"])).unwrap();
        let diff_id = format!("sha256:{}", "07".repeat(32));
        assert_eq!(config["rootfs"]["diff_ids"][0], diff_id);
        assert_eq!(
            json_at(dir.path(), "oci-layout")["imageLayoutVersion"],
            "1.0.0"
        );
    }

    #[test]
    fn the_name_to_import_under_and_the_tag_are_there() {
        let dir = tempfile::tempdir().unwrap();
        layout().write_dir(dir.path()).unwrap();
        let names = json_at(dir.path(), "index.json")["manifests"][0]["annotations"].clone();
        assert_eq!(
            names["io.containerd.image.name"],
            "registry.example/basalt:1.2.3"
        );
        assert_eq!(names["org.opencontainers.image.ref.name"], "1.2.3");
    }

    #[test]
    fn what_was_in_the_folder_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("image/blobs/sha256/old");
        std::fs::create_dir_all(old.parent().unwrap()).unwrap();
        std::fs::write(&old, "old").unwrap();
        layout().write_dir(&dir.path().join("image")).unwrap();
        assert!(!old.exists());
    }

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (epoch, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(epoch), text);
        }
    }
}
