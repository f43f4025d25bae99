//! Something else than an image in an OCI layout: one blob with a configuration (image-spec 1.1, artifacts).

use serde_json::{Value, json};

use super::{Layout, MANIFEST, blob, bytes, descriptor, digest, names};

impl Layout {
    /// `content` under `reference`; each of the two has its media type before it.
    #[must_use]
    pub fn artifact(reference: &str, config: (&str, Value), content: (&str, Vec<u8>)) -> Self {
        let (config_type, config) = (config.0, bytes(&config.1));
        let manifest = bytes(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(config_type, &config),
            "layers": [descriptor(content.0, &content.1)],
        }));
        let mut entry = descriptor(MANIFEST, &manifest);
        entry["annotations"] = names(reference);
        let digest = digest(&manifest);
        let blobs = [config, manifest, content.1].map(blob);
        Self::of(&[entry], blobs.into(), digest)
    }
}
