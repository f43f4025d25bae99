//! Extensions for systems with systemd and an immutable /usr (systemd-sysext(8)): Flatcar, Fedora CoreOS and their like.
//!
//! An image is a squashfs with `usr/` alone. What it is for stands in a file that is named as the image is: any system,
//! one processor. It is put at `/var/lib/extensions/NAME.raw`, under that name and no other. On some of these systems
//! /usr/local is a link to /var, and others have thin tools of their own in /usr/sbin, so all of ours is below
//! /usr/lib/NAME.

use std::path::Path;

use crate::arch::Arch;
use crate::rootfs::{Node, Rootfs, Source};
use crate::talos::build::LVM_THIN_TOOLS;
use crate::thin_tools::{Places, ThinTools};

/// zstd's level for images that ship: as Talos packs its extensions.
pub const LEVEL: u32 = 18;

/// Where the thin tools are in a system.
pub const THIN_TOOLS: Places = Places {
    programs: "/usr/lib/lvm-thin-tools/bin",
    lvm: "/usr/lib/lvm-thin-tools/lvm",
    texts: "/usr/lib/lvm-thin-tools",
};

/// The thin tools, and what they are for.
///
/// # Errors
/// What the cache has of them is damaged.
pub fn lvm_thin_tools(tools: &ThinTools) -> anyhow::Result<Rootfs> {
    let mut root = Rootfs::default();
    let path = format!("usr/lib/extension-release.d/extension-release.{LVM_THIN_TOOLS}");
    let from = Source::Bytes(release(tools.arch()).into_bytes());
    root.put(Path::new(&path), Node::File { mode: 0o644, from })?;
    tools.put(&mut root, Path::new(""), THIN_TOOLS)?;
    Ok(root)
}

/// Static programs run on any system; ARCHITECTURE is systemd's word for the processor (os-release(5)).
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

    #[test]
    fn nothing_of_it_is_where_a_system_has_something_of_its_own() {
        for place in [THIN_TOOLS.programs, THIN_TOOLS.lvm, THIN_TOOLS.texts] {
            assert!(place.starts_with("/usr/lib/lvm-thin-tools"), "{place}");
        }
    }

    #[test]
    fn the_butane_snippet_names_the_places_of_the_image() {
        let text = include_str!("../sysext/lvm-thin-tools.bu");
        let butane: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        let files = butane["storage"]["files"].as_array().unwrap();
        let of = |path: &str| files.iter().find(|file| file["path"] == path).unwrap();
        let image = format!("/var/lib/extensions/{LVM_THIN_TOOLS}.raw");
        assert!(of(&image)["contents"]["verification"]["hash"].is_string());
        let local = of("/etc/lvm/lvmlocal.conf")["contents"]["inline"].as_str();
        for name in ["thin_check", "thin_dump", "thin_repair", "thin_restore"] {
            let line = format!("{name}_executable = \"{}/{name}\"", THIN_TOOLS.programs);
            assert!(local.unwrap().contains(&line), "{line}");
        }
    }
}
