//! What an image is made of, as SPDX 2.3 in JSON (<https://spdx.github.io/spdx-spec/v2.3/>).
//!
//! Written here as [`crate::oci`] is: the same bytes each time. The SPDX project's own reader judges it in the tests.

use serde_json::{Value, json};

use crate::image::EPOCH;
use crate::oci::rfc3339;

const UNKNOWN: &str = "NOASSERTION";

/// Under which licence something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Licence {
    /// Nobody says.
    Unknown,
    /// An expression of SPDX.
    Expression(String),
    /// Words of its own, whole.
    Text(String),
}

/// Something that an image has in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Another one for each package of a document; letters, digits, and what becomes a dash.
    pub id: String,
    /// As its makers call it.
    pub name: String,
    /// As its makers write it.
    pub version: String,
    /// `Organization: ...`
    pub supplier: Option<&'static str>,
    /// Of the archive it came in, in hexadecimal.
    pub sha256: Option<String>,
    /// What its makers say.
    pub licence: Licence,
    /// The package URL.
    pub purl: String,
}

/// The image that a document is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// For example `basalt`.
    pub name: &'a str,
    /// The release's.
    pub version: &'a str,
    /// `amd64` or `arm64`.
    pub architecture: &'a str,
    /// `sha256:...` of its manifest.
    pub digest: &'a str,
}

/// The document of an image with these packages.
#[must_use]
pub fn document(subject: Subject<'_>, packages: &[Package]) -> Vec<u8> {
    let Subject {
        name,
        version,
        architecture,
        digest,
    } = subject;
    let hex = digest.trim_start_matches("sha256:");
    let image = json!({
        "SPDXID": "SPDXRef-image",
        "name": name,
        "versionInfo": version,
        "primaryPackagePurpose": "CONTAINER",
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN,
        "checksums": [{"algorithm": "SHA256", "checksumValue": hex}],
        "externalRefs": [purl(&format!("pkg:oci/{name}@sha256%3A{hex}?arch={architecture}"))],
    });
    let contains = |package: &Package| {
        json!({
            "spdxElementId": "SPDXRef-image",
            "relationshipType": "CONTAINS",
            "relatedSpdxElement": reference("SPDXRef", &package.id),
        })
    };
    let describes = json!({
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": "SPDXRef-image",
    });
    let all: Vec<Value> = [image]
        .into_iter()
        .chain(packages.iter().map(entry))
        .collect();
    let relationships: Vec<Value> = [describes]
        .into_iter()
        .chain(packages.iter().map(contains))
        .collect();
    let texts: Vec<Value> = packages.iter().filter_map(own_words).collect();
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{name}-{version}-{architecture}"),
        // A name, not an address: another one for each image.
        "documentNamespace": format!("https://basalt.storage/spdx/{name}-{version}-{architecture}-{hex}"),
        "creationInfo": {
            "created": rfc3339(EPOCH),
            "creators": [format!("Tool: basalt-extension-{}", env!("CARGO_PKG_VERSION"))],
        },
        "packages": all,
        "relationships": relationships,
        "hasExtractedLicensingInfos": texts,
    });
    format!("{document:#}\n").into_bytes()
}

fn entry(package: &Package) -> Value {
    let licence = match &package.licence {
        Licence::Unknown => UNKNOWN.to_owned(),
        Licence::Expression(expression) => expression.clone(),
        Licence::Text(_) => reference("LicenseRef", &package.id),
    };
    let mut entry = json!({
        "SPDXID": reference("SPDXRef", &package.id),
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": licence,
        "copyrightText": UNKNOWN,
        "externalRefs": [purl(&package.purl)],
    });
    if let Some(supplier) = package.supplier {
        entry["supplier"] = json!(supplier);
    }
    if let Some(sha256) = &package.sha256 {
        entry["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": sha256}]);
    }
    entry
}

fn own_words(package: &Package) -> Option<Value> {
    let Licence::Text(text) = &package.licence else {
        return None;
    };
    Some(json!({
        "licenseId": reference("LicenseRef", &package.id),
        "name": format!("the copyright file of {}", package.name),
        "extractedText": text,
    }))
}

fn purl(purl: &str) -> Value {
    json!({
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": purl,
    })
}

/// `SPDXRef-...`: letters, digits, dots and dashes (clause 3.3 of the specification). A plus is written out, so that two
/// names do not become one.
fn reference(kind: &str, id: &str) -> String {
    let id = id.replace('+', ".plus.");
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let id: String = id.chars().map(|c| if plain(c) { c } else { '-' }).collect();
    format!("{kind}-{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn sample(id: &str, licence: Licence) -> Package {
        Package {
            id: id.to_owned(),
            name: id.to_owned(),
            version: "1".to_owned(),
            supplier: None,
            sha256: Some("00".to_owned()),
            licence,
            purl: format!("pkg:generic/{id}"),
        }
    }

    fn read(packages: &[Package]) -> Value {
        let subject = Subject {
            name: "basalt",
            version: "1.2.3",
            architecture: "amd64",
            digest: "sha256:abcd",
        };
        serde_json::from_slice(&document(subject, packages)).unwrap()
    }

    #[test]
    fn every_package_is_in_the_image_and_every_reference_leads_to_one() {
        let packages = [
            sample("deb-libstdc++6", Licence::Text("all the words".to_owned())),
            sample("crate-a_b-1.0.0+x", Licence::Expression("MIT".to_owned())),
            sample("crate-c-1", Licence::Unknown),
        ];
        let document = read(&packages);
        let list = |key: &str, of: &str| -> Vec<String> {
            let all = document[key].as_array().unwrap().iter();
            all.map(|one| one[of].as_str().unwrap().to_owned())
                .collect()
        };
        let ids: BTreeSet<_> = list("packages", "SPDXID").into_iter().collect();
        let related = list("relationships", "relatedSpdxElement");
        assert_eq!(ids.len(), 4);
        assert_eq!(ids, related.into_iter().collect());
        for id in ids {
            let id = id.strip_prefix("SPDXRef-").unwrap();
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
            assert!(id.chars().all(plain), "{id}");
        }
        let licences = list("packages", "licenseDeclared");
        let own = "LicenseRef-deb-libstdc.plus..plus.6";
        assert_eq!(licences[1..], [own, "MIT", "NOASSERTION"]);
        assert_eq!(list("hasExtractedLicensingInfos", "licenseId"), [own]);
        assert_eq!(
            list("hasExtractedLicensingInfos", "extractedText"),
            ["all the words"]
        );
    }

    #[test]
    fn two_documents_are_the_same_bytes_and_another_image_has_another_name() {
        let all = [sample("a", Licence::Unknown)];
        assert_eq!(read(&all), read(&all));
        let name = read(&all)["documentNamespace"].clone();
        assert!(name.as_str().unwrap().ends_with("basalt-1.2.3-amd64-abcd"));
    }
}
