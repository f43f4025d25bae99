//! `kubectl topolvm` for krew: the archive, the same bytes on each build, and the manifest that names it.
//!
//! Rules: <https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/>, and krew's own `internal/index/validation`.

use std::path::Path;

use anyhow::{Context, ensure};

use crate::arch::Arch;
use crate::image::EPOCH;
use crate::layer;
use crate::oci;
use crate::rootfs::{Node, Rootfs, Source};

/// The program, as it is called on the PATH.
const PROGRAM: &str = "kubectl-topolvm";
/// What the plugin is called in krew, and after `kubectl`.
pub const PLUGIN: &str = "topolvm";

const MANIFEST: &str = include_str!("../krew.yaml");
/// What follows is there for each platform.
const PLATFORMS: &str = "  platforms:\n";

/// The archive: the program and the licence.
///
/// # Errors
/// One of them cannot be read.
pub fn archive(programs: &Path, workspace: &Path) -> anyhow::Result<Vec<u8>> {
    let mut root = Rootfs::default();
    for (name, mode, from) in [
        (PROGRAM, 0o755, programs.join(PROGRAM)),
        ("LICENSE", 0o644, workspace.join("LICENSE")),
    ] {
        let from = Source::Path(from);
        root.put(Path::new(name), Node::File { mode, from })?;
    }
    Ok(layer::pack(&root, EPOCH)?.blob)
}

/// An archive, and where it will be.
#[derive(Debug, Clone, Copy)]
pub struct Platform<'a> {
    /// What its program runs on.
    pub arch: Arch,
    /// https://..., ending in .tar.gz.
    pub uri: &'a str,
    /// Its bytes.
    pub archive: &'a [u8],
}

/// The manifest of these archives.
///
/// # Errors
/// An address is none that krew takes.
pub fn manifest(version: &str, platforms: &[Platform]) -> anyhow::Result<String> {
    let (head, platform) = MANIFEST
        .split_once(PLATFORMS)
        .context("the manifest has no platforms")?;
    let mut text = head.replace("VERSION", version) + PLATFORMS;
    for one in platforms {
        checked(one.uri)?;
        let entry = platform
            .replace("ARCH", one.arch.name())
            .replace("URI", one.uri)
            .replace("SHA256", &oci::sha256(one.archive));
        text.push_str(&entry);
    }
    Ok(text)
}

/// Whether krew takes the address.
fn checked(uri: &str) -> anyhow::Result<()> {
    let host = uri
        .strip_prefix("https://")
        .context("the address has to begin with https://")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:%+".contains(&byte);
    ensure!(
        host.bytes().all(plain),
        "{uri} has to be written without spaces and quotes"
    );
    ensure!(uri.ends_with(".tar.gz"), "{uri}: krew unpacks .tar.gz");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use sha2::{Digest, Sha256};
    use std::io::Read;

    const URIS: [(Arch, &str); 2] = [
        (
            Arch::Amd64,
            "https://registry.example/v0.1.0/kubectl-topolvm-linux-amd64.tar.gz",
        ),
        (
            Arch::Arm64,
            "https://registry.example/v0.1.0/kubectl-topolvm-linux-arm64.tar.gz",
        ),
    ];

    fn platforms(archive: &[u8]) -> [Platform<'_>; 2] {
        URIS.map(|(arch, uri)| Platform { arch, uri, archive })
    }

    fn packed() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(PROGRAM), "program").unwrap();
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        archive(dir.path(), workspace).unwrap()
    }

    /// What is in the archive: name, mode, content.
    fn unpacked(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive));
        let entries = tar.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let path = entry.path().unwrap().display().to_string();
            (path, entry.header().mode().unwrap(), bytes)
        });
        entries.collect()
    }

    /// The keys of a map of the manifest, and that there are no others.
    fn keys<'a>(of: &'a Value, all: &[&str]) -> Vec<&'a str> {
        let keys: Vec<&str> = of.as_object().unwrap().keys().map(String::as_str).collect();
        let unknown: Vec<_> = keys.iter().filter(|key| !all.contains(key)).collect();
        assert!(unknown.is_empty(), "krew knows no {unknown:?}");
        keys
    }

    /// Each rule of krew's `ValidatePlugin` and `validatePlatform`, and the lengths that its index asks for.
    #[test]
    fn the_manifest_is_what_krew_takes() {
        let archive = packed();
        let text = manifest("0.1.0", &platforms(&archive)).unwrap();
        let plugin: Value = serde_saphyr::from_str(&text).unwrap();
        keys(&plugin, &["apiVersion", "kind", "metadata", "spec"]);
        assert_eq!(
            plugin["apiVersion"],
            "krew.googlecontainertools.github.com/v1alpha2"
        );
        assert_eq!(plugin["kind"], "Plugin");
        let name = plugin["metadata"]["name"].as_str().unwrap();
        assert_eq!(name, PLUGIN);
        let spec = &plugin["spec"];
        keys(
            spec,
            &[
                "version",
                "shortDescription",
                "description",
                "caveats",
                "homepage",
                "platforms",
            ],
        );
        let version = spec["version"].as_str().unwrap();
        let numbers: Vec<_> = version.strip_prefix('v').unwrap().split('.').collect();
        assert!(
            numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok()),
            "{version}"
        );
        let short = spec["shortDescription"].as_str().unwrap();
        assert!(
            !short.is_empty() && !short.contains('\n') && short.len() <= 50,
            "{short}"
        );
        assert!(!spec["description"].as_str().unwrap().is_empty());
        let platforms = spec["platforms"].as_array().unwrap();
        assert_eq!(platforms.len(), URIS.len(), "what is built: no others");
        for (platform, (arch, uri)) in platforms.iter().zip(URIS) {
            assert_eq!(platform["selector"]["matchLabels"]["arch"], arch.name());
            let there = keys(
                platform,
                &["uri", "sha256", "selector", "files", "bin", "license"],
            );
            for needed in ["uri", "sha256", "selector", "bin"] {
                assert!(there.contains(&needed), "{needed}");
            }
            keys(&platform["selector"], &["matchLabels"]);
            assert_eq!(
                keys(&platform["selector"]["matchLabels"], &["os", "arch"]).len(),
                2
            );
            let sum: String = Sha256::digest(&archive)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(platform["sha256"], sum.as_str());
            assert_eq!(platform["uri"], uri);
            let files = platform["files"].as_array().unwrap();
            let packed = unpacked(&archive);
            for file in files {
                assert_eq!(keys(file, &["from", "to"]).len(), 2);
                assert!(
                    packed
                        .iter()
                        .any(|(name, ..)| file["from"] == name.as_str()),
                    "{file}"
                );
                assert_eq!(file["to"], ".");
            }
            let (_, mode, bytes) = packed
                .iter()
                .find(|(name, ..)| platform["bin"] == name.as_str())
                .unwrap();
            assert_eq!((*mode, bytes.as_slice()), (0o755, &b"program"[..]));
            assert!(
                packed.iter().any(|(name, ..)| name == "LICENSE"),
                "its index asks for it"
            );
        }
    }

    #[test]
    fn two_builds_are_the_same_bytes() {
        assert_eq!(packed(), packed());
    }

    #[test]
    fn an_address_that_krew_does_not_take_is_refused() {
        for bad in [
            "http://a/b.tar.gz",
            "https://a/b.zip",
            "https://a/\"b.tar.gz",
        ] {
            let bad = Platform {
                uri: bad,
                ..platforms(b"")[0]
            };
            assert!(manifest("0.1.0", &[bad]).is_err(), "{bad:?}");
        }
    }
}
