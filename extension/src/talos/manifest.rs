//! `manifest.yaml` (`pkg/machinery/extensions` of Talos 1.12 to 1.14).

use super::finding::{Finding, Rule};
use super::range::{self, NoRange, Version};
use super::yaml::{Node, Reader};

/// Checks the manifest for `talos`.
pub(super) fn check(file: &str, bytes: &[u8], talos: Version, findings: &mut Vec<Finding>) {
    let mut reader = Reader::new(file, findings);
    let Some(document) = reader.document(bytes) else {
        return;
    };
    let top = reader.node("", &document, &["version", "metadata"]);
    let version = reader.text(&top, "version");
    if version != "v1alpha1" {
        let what = format!("{version:?} is not v1alpha1");
        reader.note(Rule::ManifestVersion, "version", what);
    }
    let keys = [
        "name",
        "version",
        "author",
        "description",
        "compatibility",
        "extraInfo",
    ];
    let metadata = reader.child(&top, "metadata", &keys);
    for key in &keys[..4] {
        if reader.text(&metadata, key).is_empty() {
            reader.note(Rule::Metadata, &metadata.at(key), "is missing");
        }
    }
    reader.text(&metadata, "extraInfo");
    let name = metadata.get("name").as_str().unwrap_or_default();
    if !name
        .bytes()
        .all(|b| matches!(b, b'-' | b'a'..=b'z' | b'0'..=b'9'))
    {
        let what = format!("{name:?} is not made of -, a-z and 0-9");
        reader.note(Rule::Metadata, "metadata.name", what);
    }
    let version = metadata.get("version").as_str().unwrap_or_default();
    if !version.is_empty() && range::version(version).is_none() {
        let what = format!("{version:?} has no three numbers");
        reader.note(Rule::Metadata, "metadata.version", what);
    }
    compatibility(&mut reader, &metadata, talos);
}

fn compatibility(reader: &mut Reader, metadata: &Node, talos: Version) {
    let compatibility = reader.child(metadata, "compatibility", &["talos"]);
    let node = reader.child(&compatibility, "talos", &["version"]);
    let wanted = reader.text(&node, "version");
    let at = node.at("version");
    if wanted.is_empty() {
        reader.note(Rule::NoConstraint, &at, "is missing");
        return;
    }
    match range::holds(&wanted, talos) {
        Ok(true) => {}
        Ok(false) => {
            let [major, minor, patch] = talos;
            let what = format!("{wanted} does not hold {major}.{minor}.{patch}");
            reader.note(Rule::Incompatible, &at, what);
        }
        Err(NoRange::Malformed) => {
            reader.note(Rule::Constraint, &at, format!("{wanted:?} is no range"));
        }
        Err(NoRange::Wildcard) => {
            let what = format!("{wanted:?}: write three numbers");
            reader.note(Rule::NoConstraint, &at, what);
        }
    }
}
