//! Debian's source package: fetched by apt, which checks it against the archive's signature, and unpacked by dpkg-source.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::PACKAGE;
use crate::host;
use crate::mirror::Mirror;
use crate::recipe::SUITE;

/// The version that Cargo.toml and Cargo.lock are for, without Debian's revision.
const UPSTREAM: &str = "1.1.0";

/// Downloads the package's files into `archives`; apt's own state is in `work`, and nothing of the host's is changed.
pub(super) fn fetch(work: &Path, archives: &Path) -> anyhow::Result<()> {
    let mirror = Mirror::find(Path::new("/etc/apt"))?;
    let apt = work.join("apt");
    for dir in [
        &apt.join("lists/partial"),
        &apt.join("cache/archives/partial"),
        archives,
    ] {
        std::fs::create_dir_all(dir).with_context(|| format!("no folder {}", dir.display()))?;
    }
    let list = apt.join("sources.list");
    std::fs::write(&list, mirror.sources_line(SUITE) + "\n")
        .with_context(|| format!("could not write {}", list.display()))?;
    for words in [&["update"][..], &["source", "--download-only", PACKAGE]] {
        let mut command = host::command("apt-get");
        command.arg("--quiet").current_dir(archives);
        for (option, value) in [
            ("Dir::State", &apt),
            ("Dir::State::lists", &apt.join("lists")),
            ("Dir::Cache", &apt.join("cache")),
            ("Dir::Etc::SourceList", &list),
            ("Dir::Etc::SourceParts", &apt.join("none")),
        ] {
            command
                .arg("-o")
                .arg(format!("{option}={}", value.display()));
        }
        // Its own user may not write here, and what it fetches is checked in any case.
        command.args(["-o", "APT::Sandbox::User=root"]).args(words);
        host::capture(host::die_with_caller(&mut command))?;
    }
    let version = version(&self::archives(archives)?)?;
    ensure!(
        version.rsplit_once('-').map(|(upstream, _)| upstream) == Some(UPSTREAM),
        "{SUITE} has {PACKAGE} {version}, and extension/thin-tools is for {UPSTREAM}: see what its Cargo.toml asks for, \
         bring ours and Cargo.lock to that, and try the tools (`e2e-qemu test thin_tools --all`)"
    );
    Ok(())
}

/// The files of the package, in order of their names.
pub(super) fn archives(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("no {}", dir.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The version that the name of the package's description (.dsc) says.
pub(super) fn version(archives: &[PathBuf]) -> anyhow::Result<String> {
    let names = archives
        .iter()
        .filter_map(|path| path.file_name()?.to_str());
    let versions = names.filter_map(|name| {
        let name = name.strip_suffix(".dsc")?.strip_prefix(PACKAGE)?;
        name.strip_prefix('_').map(str::to_owned)
    });
    let versions: Vec<String> = versions.collect();
    match versions.as_slice() {
        [one] => Ok(one.clone()),
        _ => anyhow::bail!(
            "not one {PACKAGE}_*.dsc but {} in {archives:?}",
            versions.len()
        ),
    }
}

/// Unpacks the package with Debian's changes into `to`, which must not exist.
pub(super) fn unpack(archives: &Path, to: &Path) -> anyhow::Result<()> {
    let all = self::archives(archives)?;
    let description = all
        .iter()
        .find(|path| path.extension().is_some_and(|x| x == "dsc"));
    let description = description.context("there is no .dsc")?;
    let mut command = host::command("dpkg-source");
    command.arg("--extract").arg(description).arg(to);
    host::capture(host::die_with_caller(&mut command))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_one_description() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let package = [
            "/x/thin-provisioning-tools_1.1.0-4.debian.tar.xz",
            "/x/thin-provisioning-tools_1.1.0-4.dsc",
            "/x/thin-provisioning-tools_1.1.0.orig.tar.xz",
        ];
        assert_eq!(version(&paths(&package)).unwrap(), "1.1.0-4");
        assert!(version(&paths(&package[..1])).is_err());
        let two = [package[1], "/x/thin-provisioning-tools_1.1.0-5.dsc"];
        assert!(version(&paths(&two)).is_err());
    }

    #[test]
    fn cargos_files_are_for_the_version_that_is_asked_of_debian() {
        let manifest = include_str!("../../thin-tools/Cargo.toml");
        assert!(manifest.contains(&format!("\nversion = \"{UPSTREAM}\"\n")));
        let lock = include_str!("../../thin-tools/Cargo.lock");
        assert!(lock.contains(&format!("name = \"thinp\"\nversion = \"{UPSTREAM}\"\n")));
    }
}
