//! Extensions for systems with systemd and an immutable /usr (systemd-sysext(8)): Flatcar, Fedora CoreOS and their like.
//!
//! An image is a squashfs with `usr/` alone. What it is for stands in a file that is named as the image is: any system,
//! one processor. It is put at `/var/lib/extensions/NAME.raw`, under that name and no other. On some of these systems
//! /usr/local is a link to /var, and others have thin tools of their own in /usr/sbin, so all of ours but units is below
//! /usr/lib/NAME.

use std::path::Path;

use crate::arch::Arch;
use crate::image::ImageError;
use crate::rootfs::{ClashError, Node, Rootfs, Source};
use crate::talos::build::{self, LVM_DISK_WATCHER, LVM_THIN_TOOLS};
use crate::thin_tools::{Places, ThinTools};

/// zstd's level for images that ship: as Talos packs its extensions.
pub const LEVEL: u32 = 18;

/// Where the thin tools are in a system.
pub const THIN_TOOLS: Places = Places {
    programs: "/usr/lib/lvm-thin-tools/bin",
    lvm: "/usr/lib/lvm-thin-tools/lvm",
    texts: "/usr/lib/lvm-thin-tools",
};

/// The root of the watcher's service in a system.
pub const WATCHER_ROOT: &str = "/usr/lib/lvm-disk-watcher/root";

const SERVICE: &str = include_str!("../sysext/lvm-disk-watcher.service");

/// The watcher's units, below systemd's folder in /usr.
const UNITS: &[(&str, &str)] = &[
    ("lvm-disk-watcher.service", SERVICE),
    (
        "lvm-disk-watcher.target",
        include_str!("../sysext/lvm-disk-watcher.target"),
    ),
    (
        "multi-user.target.d/50-lvm-disk-watcher.conf",
        include_str!("../sysext/multi-user.target.conf"),
    ),
];

/// Where the host's /run is seen by the watcher, beside the mounts that it has on Talos.
const HOST_RUN: &str = "host/run";

/// The thin tools, and what they are for.
///
/// # Errors
/// What the cache has of them is damaged.
pub fn lvm_thin_tools(tools: &ThinTools) -> anyhow::Result<Rootfs> {
    let mut root = Rootfs::default();
    let release = release(tools.arch());
    text(&mut root, &release_file(LVM_THIN_TOOLS), &release)?;
    tools.put(&mut root, Path::new(""), THIN_TOOLS)?;
    Ok(root)
}

/// disk-watcher as a service: the root that it has on Talos, and systemd's units for it. From `tree` and from `programs`,
/// the folder with our own binaries, both for `arch`.
///
/// # Errors
/// A program, or something that it needs, is not there.
pub fn lvm_disk_watcher(tree: &Path, programs: &Path, arch: Arch) -> Result<Rootfs, ImageError> {
    let mut root = Rootfs::default();
    // systemd reads its units again once the image is merged (since version 255).
    let release = release(arch) + "EXTENSION_RELOAD_MANAGER=1\n";
    text(&mut root, &release_file(LVM_DISK_WATCHER), &release)?;
    for (name, unit) in UNITS {
        text(&mut root, &format!("usr/lib/systemd/system/{name}"), unit)?;
    }
    let at = Path::new(WATCHER_ROOT.trim_start_matches('/'));
    for (path, node) in build::watcher_root(tree, programs)?.iter() {
        root.put(&at.join(path), node.clone())?;
    }
    root.put(&at.join(HOST_RUN), Node::Dir { mode: 0o755 })?;
    Ok(root)
}

/// The SELinux label of what is in an image, by names that Fedora's policy and the reference policy share. An image says its own:
/// once it is merged its folders stand for those of the system, and a system that enforces a policy must find on /usr and
/// /usr/lib what it has there.
pub fn label(path: &Path, node: &Node) -> &'static str {
    match node {
        _ if path.starts_with("usr/lib/systemd/system") => {
            "system_u:object_r:systemd_unit_file_t:s0"
        }
        Node::File { mode, .. } if mode & 0o111 != 0 && !is_library(path) => {
            "system_u:object_r:bin_t:s0"
        }
        _ if path.starts_with("usr/lib") => "system_u:object_r:lib_t:s0",
        _ => "system_u:object_r:usr_t:s0",
    }
}

/// Whether it is loaded, not called: `libc.so.6`, and the loader, which is both.
fn is_library(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.ends_with(".so") || name.contains(".so."))
}

fn text(root: &mut Rootfs, path: &str, text: &str) -> Result<(), ClashError> {
    let from = Source::Bytes(text.into());
    root.put(Path::new(path), Node::File { mode: 0o644, from })
}

fn release_file(name: &str) -> String {
    format!("usr/lib/extension-release.d/extension-release.{name}")
}

/// Static programs, and those with all their libraries, run on any system; ARCHITECTURE is systemd's word for the processor
/// (os-release(5)).
fn release(arch: Arch) -> String {
    let word = match arch {
        Arch::Amd64 => "x86-64",
        Arch::Arm64 => "arm64",
    };
    format!("ID=_any\nARCHITECTURE={word}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::talos::service;

    #[test]
    fn nothing_of_it_is_where_a_system_has_something_of_its_own() {
        for place in [THIN_TOOLS.programs, THIN_TOOLS.lvm, THIN_TOOLS.texts] {
            assert!(place.starts_with("/usr/lib/lvm-thin-tools"), "{place}");
        }
        assert!(WATCHER_ROOT.starts_with("/usr/lib/lvm-disk-watcher/"));
    }

    #[test]
    fn everything_has_the_label_that_a_system_gives_it() {
        let file = |mode| Node::File {
            mode,
            from: Source::Bytes(Vec::new()),
        };
        let dir = Node::Dir { mode: 0o755 };
        for (path, node, kind) in [
            ("usr", &dir, "usr_t"),
            ("usr/lib", &dir, "lib_t"),
            ("usr/lib/systemd", &dir, "lib_t"),
            ("usr/lib/systemd/system", &dir, "systemd_unit_file_t"),
            (
                "usr/lib/systemd/system/a.service",
                &file(0o644),
                "systemd_unit_file_t",
            ),
            ("usr/lib/x/root/usr/sbin/lvm", &file(0o755), "bin_t"),
            ("usr/lib/x/root/lib/libc.so.6", &file(0o755), "lib_t"),
            (
                "usr/lib/x/root/lib64/ld-linux-x86-64.so.2",
                &file(0o755),
                "lib_t",
            ),
            ("usr/lib/x/root/etc/lvm/lvm.conf", &file(0o644), "lib_t"),
        ] {
            let expected = format!("system_u:object_r:{kind}:s0");
            assert_eq!(label(Path::new(path), node), expected, "{path}");
        }
    }

    fn butane(text: &str, path: &str) -> serde_json::Value {
        let butane: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        let files = butane["storage"]["files"].as_array().unwrap();
        let file = files.iter().find(|file| file["path"] == path);
        file.unwrap()["contents"].clone()
    }

    #[test]
    fn the_butane_snippet_names_the_places_of_the_image() {
        let snippet = include_str!("../sysext/lvm-thin-tools.bu");
        let image = format!("/var/lib/extensions/{LVM_THIN_TOOLS}.raw");
        assert!(butane(snippet, &image)["verification"]["hash"].is_string());
        let local = butane(snippet, "/etc/lvm/lvmlocal.conf");
        for name in ["thin_check", "thin_dump", "thin_repair", "thin_restore"] {
            let line = format!("{name}_executable = \"{}/{name}\"", THIN_TOOLS.programs);
            assert!(local["inline"].as_str().unwrap().contains(&line), "{line}");
        }
    }

    #[test]
    fn the_watchers_butane_snippet_has_what_its_service_waits_for() {
        let snippet = include_str!("../sysext/lvm-disk-watcher.bu");
        let image = format!("/var/lib/extensions/{LVM_DISK_WATCHER}.raw");
        assert!(butane(snippet, &image)["verification"]["hash"].is_string());
        let config = values("ConditionPathExists").concat();
        assert!(butane(snippet, &config)["inline"].is_string());
    }

    /// The words of each assignment of `key` in the service.
    fn values(key: &str) -> Vec<&'static str> {
        let lines = SERVICE.lines().filter_map(|line| line.split_once('='));
        let ours = lines.filter(|(name, _)| *name == key);
        ours.flat_map(|(_, value)| value.split(' ')).collect()
    }

    #[test]
    fn the_service_is_that_of_talos() {
        let mut findings = Vec::new();
        let talos = service::read("service", build::SERVICE.as_bytes(), &mut findings).unwrap();
        let command = [&[talos.entrypoint], &talos.args[..]].concat();
        assert_eq!(values("ExecStart"), command);
        assert_eq!(values("Environment"), talos.environment);
        assert_eq!(values("RootDirectory"), [WATCHER_ROOT]);
        assert_eq!(values("MountAPIVFS"), ["yes"]);
        let below = |folder: &'static str, key| {
            let names = values(key).into_iter();
            names.map(move |name| format!("{folder}/{name}"))
        };
        let mut places: Vec<String> = ["/dev", "/proc", "/sys"].map(str::to_owned).into();
        places.extend(below("/run", "RuntimeDirectory"));
        places.extend(below("/var/lib", "StateDirectory"));
        places.extend(
            values("BindReadOnlyPaths")
                .into_iter()
                .map(|path| path.split(':').next_back().unwrap().to_owned()),
        );
        // Talos mounts the configuration's one file, which an ExtensionServiceConfig brings.
        let mut of_talos = vec!["/etc/disk-watcher".to_owned(), format!("/{HOST_RUN}")];
        of_talos.extend(talos.mounts.into_iter().map(|mount| mount.destination));
        of_talos.sort();
        places.sort();
        assert_eq!(places, of_talos);
    }

    #[test]
    fn multi_user_upholds_what_can_be_stopped_without_it() {
        let units: Vec<&str> = UNITS.iter().map(|(name, _)| *name).collect();
        let line = |unit: &str, line: &str| {
            let (_, text) = UNITS.iter().find(|(name, _)| *name == unit).unwrap();
            text.lines().any(|one| one == line)
        };
        assert!(line(units[2], &format!("Upholds={}", units[1])));
        assert!(line(units[1], &format!("Wants={}", units[0])));
    }
}
