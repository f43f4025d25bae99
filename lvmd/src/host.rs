//! What the host is like as far as volumes depend on it, in words for health pages. Nothing is decided by them but whether thin pools
//! can be had.

use std::fs;
use std::io;

use crate::dm::Control;
use crate::lvm::tool::{Nodes, SystemDir, Tool};
use crate::runtime::http::Check;

/// Where the kernel says which it is.
const RELEASE: &str = "/proc/sys/kernel/osrelease";
/// Where the kernel says whether SELinux forbids or only reports (selinux(8)).
const ENFORCE: &str = "/sys/fs/selinux/enforce";

/// Whether the kernel can have thin pools now: device-mapper lists what it knows, built in or loaded.
///
/// # Errors
/// It cannot, or cannot be asked, in words with the way out.
pub fn thin_pools() -> Result<(), String> {
    match Control::open().and_then(|control| control.targets_known()) {
        Ok(targets) if targets.iter().any(|name| name == "thin-pool") => Ok(()),
        Ok(_) => Err(
            "the kernel module dm_thin_pool is not loaded; on Talos add it to machine.kernel.modules"
                .to_owned(),
        ),
        Err(error) => Err(format!("device-mapper cannot be asked: {error}")),
    }
}

/// This program, the kernel and SELinux. `wants_thin`: there is a thin class.
pub fn checks(wants_thin: bool) -> Vec<Check> {
    let release = fs::read_to_string(RELEASE).unwrap_or_else(|error| error.to_string());
    vec![
        Check::ok("version", env!("CARGO_PKG_VERSION")),
        kernel(release.trim(), thin_pools(), wants_thin),
        selinux(fs::read_to_string(ENFORCE)),
    ]
}

fn kernel(release: &str, thin: Result<(), String>, wants_thin: bool) -> Check {
    match thin {
        Ok(()) => Check::ok("kernel", format!("{release}, with thin pools")),
        Err(why) if wants_thin => Check::warns("kernel", format!("{release}: {why}")),
        Err(why) => {
            let text = format!("{release}, without thin pools, and no device class is thin: {why}");
            Check::ok("kernel", text)
        }
    }
}

fn selinux(enforce: io::Result<String>) -> Check {
    let text = match enforce.as_deref().map(str::trim) {
        Ok("0") => "permissive".to_owned(),
        Ok("1") => "enforcing".to_owned(),
        Ok(other) => format!("{ENFORCE} says {other:?}"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            format!("off, or not to be seen here: there is no {ENFORCE}")
        }
        Err(error) => format!("{ENFORCE}: {error}"),
    };
    Check::ok("selinux", text)
}

/// What lvm sees as `/dev` when it changes a group.
pub fn sandbox(tool: &Tool) -> Check {
    let text = match (&tool.nodes, &tool.system_dir) {
        _ if tool.command_prefix.len() > 1 => {
            format!("lvm is called by {}", tool.command_prefix.join(" "))
        }
        (_, SystemDir::User(_)) => "lvm sees all of /dev: its lvm.conf is the user's".to_owned(),
        (Nodes::InDev, _) => {
            "lvm sees all of /dev and makes device nodes there: no udevd is seen".to_owned()
        }
        (Nodes::Apart(_), _) => {
            "lvm sees all of /dev, and is slower by each volume: mount namespaces are not allowed here"
                .to_owned()
        }
        (Nodes::OwnDev(_), _) => {
            "lvm sees the devices of the group alone, in a mount namespace of its own".to_owned()
        }
    };
    Check::ok("sandbox", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::http::Verdict;

    #[test]
    fn a_kernel_without_thin_pools_is_a_matter_only_where_a_class_is_thin() {
        let without = || Err("dm_thin_pool is not loaded".to_owned());
        for (thin, wants_thin, verdict) in [
            (Ok(()), true, Verdict::Ok),
            (without(), true, Verdict::Warns),
            (without(), false, Verdict::Ok),
        ] {
            let is_there = thin.is_ok();
            let check = kernel("6.12.1", thin, wants_thin);
            assert_eq!(check.verdict, verdict, "{check:?}");
            assert!(check.text.starts_with("6.12.1"), "{check:?}");
            assert_eq!(check.text.contains("dm_thin_pool"), !is_there, "{check:?}");
        }
    }

    #[test]
    fn selinux_is_said_and_never_a_problem() {
        let missing = || Err(io::Error::from(io::ErrorKind::NotFound));
        for (enforce, words) in [
            (Ok("1".to_owned()), "enforcing"),
            (Ok("0\n".to_owned()), "permissive"),
            (Ok("?".to_owned()), "says \"?\""),
            (missing(), "not to be seen here"),
        ] {
            let check = selinux(enforce);
            assert!(check.text.contains(words), "{check:?}");
            assert_eq!(check.verdict, Verdict::Ok);
        }
    }

    #[test]
    fn what_lvm_sees_of_dev_is_said() {
        let tool = |nodes: Nodes, prefix: &[&str], system_dir: SystemDir| Tool {
            command_prefix: prefix.iter().map(|word| (*word).to_owned()).collect(),
            system_dir,
            program: "lvmd",
            nodes,
        };
        let generated = || SystemDir::Generated("/run/x".into());
        let own = || Nodes::OwnDev("/dev/.x".into());
        for (tool, words) in [
            (
                tool(own(), &[], generated()),
                "a mount namespace of its own",
            ),
            (tool(own(), &["/sbin/lvm"], generated()), "of its own"),
            (
                tool(Nodes::Apart("/dev/.x".into()), &[], generated()),
                "mount namespaces are not allowed",
            ),
            (tool(Nodes::InDev, &[], generated()), "no udevd is seen"),
            (
                tool(own(), &[], SystemDir::User("/etc/lvm".into())),
                "the user's",
            ),
            (
                tool(own(), &["nsenter", "-t", "1", "lvm"], generated()),
                "by nsenter -t 1 lvm",
            ),
        ] {
            let check = sandbox(&tool);
            assert!(check.text.contains(words), "{words}: {check:?}");
        }
    }
}
