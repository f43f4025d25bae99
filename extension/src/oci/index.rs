//! Images of one program for several architectures, under one name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{INDEX, Layout, blob, descriptor, digest, index, names};

impl Layout {
    /// One index over `images`, under `reference`. index.json names the index, which is what a registry gets, and each image
    /// beside it, since Talos' imager looks no deeper.
    #[must_use]
    pub fn join(images: &[Self], reference: &str) -> Self {
        let entries: Vec<Value> = images.iter().flat_map(Self::entries).collect();
        let joined = index(&entries);
        let mut named = descriptor(INDEX, &joined);
        named["annotations"] = names(reference);
        let digest = digest(&joined);
        let blobs = images.iter().flat_map(|image| &image.files);
        let blobs = blobs.filter(|(path, _)| path.starts_with("blobs")).cloned();
        // By path: images of two architectures may share one.
        let blobs: BTreeMap<PathBuf, Vec<u8>> = blobs.chain([blob(joined)]).collect();
        let all: Vec<Value> = [named].into_iter().chain(entries).collect();
        Self::of(&all, blobs.into_iter().collect(), digest)
    }

    /// What index.json says of the images, without the names it gives them.
    fn entries(&self) -> Vec<Value> {
        let of_index = |(path, _): &&(PathBuf, Vec<u8>)| path == Path::new("index.json");
        let index = self.files.iter().find(of_index);
        let index: Value = index
            .and_then(|(_, bytes)| serde_json::from_slice(bytes).ok())
            .unwrap_or_default();
        let mut entries = index["manifests"].as_array().cloned().unwrap_or_default();
        for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
            entry.remove("annotations");
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Layer;
    use crate::oci::ImageSpec;

    fn image(architecture: &'static str) -> Layout {
        let spec = ImageSpec {
            reference: "basalt:1.2.3".to_owned(),
            architecture,
            entrypoint: vec![],
            env: vec![],
            labels: vec![],
            epoch: 0,
        };
        let layer = Layer {
            blob: b"the same for both".to_vec(),
            diff_id: [7; 32],
        };
        Layout::new(&spec, layer)
    }

    #[test]
    fn the_named_index_has_each_image_with_its_platform_and_index_json_has_them_too() {
        let images = [image("amd64"), image("arm64")];
        let joined = Layout::join(&images, "registry.example/basalt:1.2.3");
        let file = |path: &str| -> Value {
            let found = joined
                .files
                .iter()
                .find(|(there, _)| there == Path::new(path));
            serde_json::from_slice(&found.unwrap().1).unwrap()
        };
        let top = file("index.json");
        let named = &top["manifests"][0];
        assert_eq!(named["digest"], joined.digest);
        assert_eq!(
            named["annotations"]["org.opencontainers.image.ref.name"],
            "1.2.3"
        );
        let index = file(&format!(
            "blobs/{}",
            joined.digest.replace("sha256:", "sha256/")
        ));
        for (n, (architecture, image)) in ["amd64", "arm64"].iter().zip(&images).enumerate() {
            let entry = &index["manifests"][n];
            assert_eq!(entry["platform"]["architecture"], *architecture);
            assert_eq!(entry["digest"], image.digest);
            assert_eq!(entry["annotations"], Value::Null);
            assert_eq!(top["manifests"][n + 1], *entry);
        }
        // The layer, two configurations, two manifests, the index.
        let blobs = joined.files.iter().filter(|f| f.0.starts_with("blobs"));
        assert_eq!(blobs.count(), 6);
    }
}
