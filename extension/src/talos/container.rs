//! disk-watcher as a container that Talos 1.14 starts from its machine configuration, without any extension.
//!
//! Talos runs such containers in the CRI's containerd. Where the node isolates its workloads, as new clusters of 1.14 do,
//! that one does not see the node's processes (internal/app/machined/pkg/system/services/cri.go of 1.14.1), and
//! disk-watcher takes nothing there.

use super::build::LVM_DISK_WATCHER;
use super::patches::{self, CONFIG, DOCUMENT, Dialect, indented};
use super::values::Values;

/// The volume that keeps the journal over reboots.
const JOURNAL: &str = "disk-watcher";

/// The documents.
#[must_use]
pub fn render(values: &Values) -> String {
    let class = indented(&values.class, 2);
    let file = CONFIG.trim_start_matches("/etc/");
    let modules = patches::modules(&values.modules, Dialect::Documents);
    let Values { image, metrics, .. } = values;
    format!(
        "# disk-watcher without an extension, for Talos 1.14. Only where SecurityProfileConfig does not isolate workloads: there\n\
         # the container does not see who has a disk open, and takes none. Clusters made by 1.14 isolate; upgraded ones do not.\n\
         {modules}---\n\
         {DOCUMENT}EtcFileConfig\nname: {file}\nmode: 0o644\ncontents: |\n{class}---\n\
         # What disk-watcher has claimed outlives reboots.\n\
         {DOCUMENT}UserVolumeConfig\nname: {JOURNAL}\nvolumeType: directory\n---\n\
         {DOCUMENT}ContainerConfig\nname: {LVM_DISK_WATCHER}\nimage: {image}\nentrypoint: [/usr/bin/disk-watcher]\nargs: [run]\n\
         environment:\n  - PATH=/usr/sbin:/usr/bin\n  - METRICS_BIND_ADDRESS={metrics}\n\
         mounts:\n{mounts}\
         security:\n  profile: privileged\n\
         network:\n  mode: host\n\
         dependsOn:\n  paths: [/dev/mapper/control, /run/udev/control, /run/lock/lvm, /{etc}]\n",
        mounts = mounts(),
        etc = format_args!("etc/{file}"),
    )
}

/// As the extension's service has them, in the words of this document: its options are few, and Talos makes no source.
fn mounts() -> String {
    let mut text = String::new();
    for (path, options) in [
        ("/proc", "[rw]"),
        ("/dev", "[rw]"),
        ("/sys", "[ro]"),
        ("/run/udev", "[ro]"),
        ("/run/lock/lvm", "[rw]"),
        ("/etc/disk-watcher", "[ro]"),
    ] {
        text.push_str(&format!(
            "  - hostPath: {{source: {path}, destination: {path}, options: {options}}}\n"
        ));
    }
    text.push_str(&format!(
        "  - userVolume: {{name: {JOURNAL}, destination: /var/lib/disk-watcher, options: [rw]}}\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::talos::{build, service};

    /// What the extension's service needs of the node, the container has too, but for folders that are only its own.
    #[test]
    fn it_has_the_mounts_of_the_extensions_service() {
        let mut findings = Vec::new();
        let service = service::read("service", build::SERVICE.as_bytes(), &mut findings).unwrap();
        let text = render(&Values::default());
        for mount in service.mounts {
            let destination = format!("destination: {},", mount.destination);
            let own = ["/run/topolvm", "/run/disk-watcher"].contains(&mount.destination.as_str());
            assert_ne!(text.contains(&destination), own, "{destination} in {text}");
        }
    }
}
