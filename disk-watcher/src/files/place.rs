//! Where a file may be made.

use std::path::{Component, Path};

/// Folders of others, or of no disk. kubelet counts, moves and deletes what is below its own.
const NOT_BELOW: [&str; 8] = [
    "/dev",
    "/proc",
    "/sys",
    "/run",
    "/boot",
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/var/lib/docker",
];

/// Why no file may be made at this path; `None`: one may.
pub fn refused(path: &Path) -> Option<String> {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let text = path.to_string_lossy();
    if !path.is_absolute() || !path.components().all(plain) || path.file_name().is_none() {
        return Some(format!(
            "{text:?} is no absolute path without . and .. in it"
        ));
    }
    if text.ends_with('/') || text.contains("/./") || text.contains("//") {
        return Some(format!(
            "{text:?}: write it without empty parts, . and a / at the end"
        ));
    }
    let forbidden = NOT_BELOW.iter().find(|dir| path.starts_with(dir));
    forbidden.map(|dir| {
        format!(
            "{text:?} is below {dir}, which is not ours; choose a folder such as /var/lib/basalt"
        )
    })
}
