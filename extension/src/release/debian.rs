//! The Debian packages that a root has files of, as the root itself says: `image` puts the copyright file of each into it,
//! beside the list of all packages of the tree.

use std::path::Path;

use anyhow::{Context, bail};

use super::sbom::{Licence, Package};
use crate::image::{COPYRIGHT, PACKAGES};
use crate::oci;
use crate::recipe::SUITE;
use crate::rootfs::{Node, Rootfs, Source};
use crate::thin_tools::{PACKAGE, ThinTools};

/// The packages of the closure that is in `root` at `at`, in order of their names.
///
/// # Errors
/// The root does not say what it is made of.
pub fn packages(root: &Rootfs, at: &Path) -> anyhow::Result<Vec<Package>> {
    let list = match root.get(&at.join(PACKAGES)) {
        Some(Node::File { from, .. }) => text(from)?,
        _ => bail!("/{} is not in the root", at.join(PACKAGES).display()),
    };
    let copyrights = at.join(COPYRIGHT);
    let mut packages = Vec::new();
    for (path, node) in root.iter() {
        let (Ok(name), Node::File { from, .. }) = (path.strip_prefix(&copyrights), node) else {
            continue;
        };
        packages.push(package(&list, &name.display().to_string(), text(from)?)?);
    }
    Ok(packages)
}

/// The package of that name by `list`: lines of name, version, architecture and sha256 (recipe/packages.sh).
fn package(list: &str, name: &str, copyright: String) -> anyhow::Result<Package> {
    let columns = list
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .find(|columns| columns[0] == name);
    let Some([_, version, architecture, sha256]) = columns.as_deref() else {
        bail!("the list of packages has no line for {name}, or not with four columns");
    };
    Ok(Package {
        id: format!("deb-{name}"),
        name: name.to_owned(),
        version: (*version).to_owned(),
        supplier: Some("Organization: Debian"),
        sha256: Some((*sha256).to_owned()),
        licence: Licence::Text(copyright),
        purl: format!(
            "pkg:deb/debian/{}@{}?arch={architecture}&distro={SUITE}",
            escaped(name),
            escaped(version)
        ),
    })
}

/// The source package that the thin tools were built from.
///
/// # Errors
/// The folder in the cache is damaged.
pub fn source_package(tools: &ThinTools) -> anyhow::Result<Package> {
    let version = tools.version()?;
    let copyright = Source::Path(tools.unpacked().join("debian/copyright"));
    let archives = tools.archives()?;
    let description = archives
        .iter()
        .find(|path| path.extension().is_some_and(|x| x == "dsc"));
    let description = Source::Path(description.context("there is no .dsc")?.clone());
    Ok(Package {
        id: format!("deb-src-{PACKAGE}"),
        name: PACKAGE.to_owned(),
        supplier: Some("Organization: Debian"),
        sha256: Some(oci::sha256(text(&description)?.as_bytes())),
        licence: Licence::Text(text(&copyright)?),
        purl: format!(
            "pkg:deb/debian/{PACKAGE}@{}?arch=source&distro={SUITE}",
            escaped(&version)
        ),
        version,
    })
}

/// As a package URL has it: what has a meaning there is written as %XX.
pub(super) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escape = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

fn text(from: &Source) -> anyhow::Result<String> {
    let bytes = from
        .read()
        .with_context(|| format!("cannot read {from:?}"))?;
    // Some copyright files have names in Latin 1.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(list: &str) -> Rootfs {
        let mut root = Rootfs::default();
        for (path, text) in [
            ("x/usr/share/basalt/packages.tsv", list),
            ("x/usr/share/basalt/copyright/libstdc++6", "GPL, with words"),
            ("x/usr/sbin/lvm", "elf"),
        ] {
            let from = Source::Bytes(text.into());
            root.put(Path::new(path), Node::File { mode: 0o644, from })
                .unwrap();
        }
        root
    }

    #[test]
    fn what_the_root_has_files_of_is_listed_and_nothing_else() {
        let list = "bash\t5.2\tamd64\t00\nlibstdc++6\t1:14.2+3\tamd64\tab12\n";
        let all = packages(&root(list), Path::new("x")).unwrap();
        let [one] = all.as_slice() else {
            panic!("{all:?}")
        };
        assert_eq!(
            (one.name.as_str(), one.version.as_str()),
            ("libstdc++6", "1:14.2+3")
        );
        assert_eq!(one.sha256.as_deref(), Some("ab12"));
        assert_eq!(one.licence, Licence::Text("GPL, with words".to_owned()));
        assert_eq!(
            one.purl,
            "pkg:deb/debian/libstdc%2B%2B6@1%3A14.2%2B3?arch=amd64&distro=trixie"
        );
    }

    #[test]
    fn a_package_that_the_list_does_not_have_is_an_error() {
        for list in ["bash\t5.2\tamd64\t00\n", "libstdc++6\t14\n", ""] {
            assert!(packages(&root(list), Path::new("x")).is_err(), "{list}");
        }
        assert!(packages(&root(""), Path::new("elsewhere")).is_err());
    }
}
