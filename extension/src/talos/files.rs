//! The rules for an extension's files.

use std::path::{Path, PathBuf};

use super::contents::{Contents, Entry, Kind};
use super::finding::{Finding, Rule};
use super::range::Version;
use super::validate::Target;
use super::{CONTAINERS, programs};

/// Where Talos allows files, since 1.12.
const ALLOWED: &[&str] = &[
    "/etc/cri/conf.d",
    "/usr/lib/firmware",
    "/usr/lib/modules",
    "/usr/lib/ld-linux-x86-64.so.2",
    "/usr/lib/ld-linux-aarch64.so.1",
    "/usr/bin/ldconfig",
    "/usr/lib/udev/rules.d",
    "/usr/local",
    "/usr/share/glvnd",
    "/usr/share/egl",
    "/etc/vulkan",
];
/// The same since 1.13.
const ALLOWED_1_13: &[&str] = &[
    "/etc/ld.so.conf",
    "/etc/ld.so.cache",
    "/usr/bin/nvidia-modprobe",
    "/usr/bin/nvidia-pcc",
    "/usr/bin/nvidia-smi",
    "/usr/bin/nvidia-ctk",
    "/usr/bin/nvidia-cdi-hook",
    "/usr/bin/nvme",
];

/// What the kernel or the node puts into a service's root, so that a link may lead there.
const MOUNTED: &[&str] = &["dev", "proc", "run", "sys"];

/// Checks every file below `rootfs`.
pub(super) fn check(contents: &Contents, target: &Target, findings: &mut Vec<Finding>) {
    let rootfs = Path::new("rootfs");
    for (path, entry) in contents.iter() {
        let Ok(inside) = path.strip_prefix(rootfs) else {
            continue;
        };
        let mut note = |rule, what: String| {
            findings.push(Finding::new(
                rule,
                Path::new("/").join(inside).display(),
                what,
            ));
        };
        placed(inside, entry, target.talos, &mut note);
        permitted(entry, &mut note);
        let root = root_of(inside);
        match &entry.kind {
            Kind::Link(target) => {
                if leads_nowhere(contents, &root, inside, target) {
                    note(Rule::DanglingLink, format!("leads to {}", target.display()));
                }
            }
            Kind::File(bytes) => {
                let of = programs::Place {
                    contents,
                    root: &root,
                    path,
                };
                programs::check(&of, bytes, &target.architecture, &mut note);
            }
            Kind::Dir | Kind::Special => {}
        }
    }
}

fn placed(inside: &Path, entry: &Entry, talos: Version, note: &mut impl FnMut(Rule, String)) {
    match entry.kind {
        Kind::Dir => return,
        Kind::Special => note(
            Rule::SpecialFile,
            "is a device, a pipe or a socket".to_owned(),
        ),
        Kind::File(_) | Kind::Link(_) => {}
    }
    let path = Path::new("/").join(inside);
    let newer = if talos >= [1, 13, 0] {
        ALLOWED_1_13
    } else {
        &[]
    };
    let mut everywhere = ALLOWED.iter().chain(newer);
    if everywhere.clone().any(|allowed| path.starts_with(allowed)) {
        return;
    }
    // Talos compares texts, not paths.
    let text = path.to_string_lossy();
    let begins = everywhere.find(|allowed| text.starts_with(**allowed));
    match begins {
        Some(allowed) => note(Rule::PathPrefix, format!("only begins like {allowed}")),
        None => note(
            Rule::Path,
            "is not where extensions may have files".to_owned(),
        ),
    }
}

fn permitted(entry: &Entry, note: &mut impl FnMut(Rule, String)) {
    if matches!(entry.kind, Kind::Link(_)) {
        return;
    }
    let mode = entry.mode;
    if mode & 0o002 != 0 {
        note(Rule::WorldWritable, format!("has mode {mode:04o}"));
    }
    if mode & 0o7000 != 0 {
        note(Rule::SetId, format!("has mode {mode:04o}"));
    }
}

/// The root that a path below rootfs is seen in: its service's, or the node's.
fn root_of(inside: &Path) -> PathBuf {
    let rootfs = Path::new("rootfs");
    let service = inside
        .strip_prefix(CONTAINERS)
        .ok()
        .and_then(|rest| rest.components().next());
    match service {
        Some(name) => rootfs.join(CONTAINERS).join(name),
        None => rootfs.to_owned(),
    }
}

fn leads_nowhere(contents: &Contents, root: &Path, inside: &Path, target: &Path) -> bool {
    let here = Path::new("rootfs").join(inside);
    let Ok(path) = here.strip_prefix(root) else {
        return true;
    };
    // Its first step, to see whether it goes to what is mounted later.
    let mut to: Vec<&std::ffi::OsStr> = Vec::new();
    let from = path.parent().filter(|_| target.is_relative());
    for part in from.into_iter().chain([target]).flat_map(Path::components) {
        match part {
            std::path::Component::Normal(name) => to.push(name),
            std::path::Component::ParentDir => drop(to.pop()),
            _ => {}
        }
    }
    let mounted = to
        .first()
        .is_some_and(|first| MOUNTED.iter().any(|dir| first == dir));
    let of_service = root != Path::new("rootfs");
    !(mounted && of_service) && contents.resolve(root, path).is_none()
}
