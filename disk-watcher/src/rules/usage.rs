//! Rules about who uses the disk right now.

use super::{ClaimSeen, Code, Evidence, Opener, Reason, Reasons};
use crate::facts::{DiskFacts, Family, HostFacts, Mount, NodeMount};

pub(super) fn nobody_uses_it(evidence: &Evidence<'_>, reasons: &mut Reasons) {
    the_host_does_not(evidence.facts, evidence.host, reasons);
    claim(&evidence.claim, reasons);
}

/// Why the host has a use for this disk, as far as it shows without opening the disk; for a last
/// look before a disk is changed.
pub(crate) fn used_by_the_host(facts: &DiskFacts, host: &HostFacts) -> Option<Reason> {
    let mut reasons = Reasons::default();
    the_host_does_not(facts, host, &mut reasons);
    reasons.0.into_iter().next()
}

fn the_host_does_not(facts: &DiskFacts, host: &HostFacts, reasons: &mut Reasons) {
    let family = facts.family();
    // That mounts or swaps are not known is the host's fault and said there.
    let mounts = host.mounts.as_deref().unwrap_or_default();
    for mount in mounts.iter().filter(|mount| is_on(mount, &family)) {
        mounted(mount, reasons);
    }
    for foreign in host.foreign.iter().filter(|f| is_on(&f.mount, &family)) {
        reasons.add(
            Code::Mounted,
            format!(
                "{} is mounted at {} where pid {} is",
                foreign.mount.source, foreign.mount.mount_point, foreign.pid
            ),
        );
    }
    if let Some(node) = host.nodes.iter().find(|node| is_node_of(node, &family)) {
        let at = match node.pid {
            1 => node.mount_point.clone(),
            pid => format!("{} where pid {pid} is", node.mount_point),
        };
        reasons.add(
            Code::BindMounted,
            format!("its node is mounted at {at}, as a raw block volume is"),
        );
    }
    if let Ok(swaps) = &host.swaps {
        for path in swaps.iter().filter(|path| family.paths.contains(*path)) {
            reasons.add(Code::Swap, format!("{path} is swapped to"));
        }
    }
    for holder in &facts.holders {
        let name = match &holder.dm_name {
            Some(mapped) => format!("{} ({mapped})", holder.name),
            None => holder.name.clone(),
        };
        reasons.add(
            Code::HasHolders,
            format!("{name} is stacked on {}", holder.of),
        );
    }
    for member in &host.fs_members {
        if family.names.contains(&member.device) {
            reasons.add(
                Code::HasHolders,
                format!("{} has {} in use (/sys/fs)", member.fs, member.device),
            );
        }
    }
    for backing in &host.backings {
        let name = backing.path.rsplit('/').next().unwrap_or_default();
        // The user may see the node under another path, as a container does.
        if backing.dev.is_some_and(|dev| family.devs.contains(&dev))
            || family.paths.contains(&backing.path)
            || family.names.contains(name)
        {
            reasons.add(
                Code::BackingLoop,
                format!("{} hands on {}", backing.user, backing.path),
            );
        }
    }
}

/// The number says it where there is one: the node of a disk that was unplugged has the name of
/// the one that came after it.
fn is_node_of(node: &NodeMount, family: &Family) -> bool {
    match (&node.dev, &node.node) {
        (Some(dev), _) => family.devs.contains(dev),
        (None, Some(path)) => family.paths.contains(path),
        (None, None) => false,
    }
}

fn is_on(mount: &Mount, family: &Family) -> bool {
    family.devs.contains(&mount.dev)
        || mount
            .named_devices()
            .any(|path| family.paths.contains(path))
}

fn mounted(mount: &Mount, reasons: &mut Reasons) {
    let Mount {
        root,
        mount_point,
        source,
        fs_type,
        ..
    } = mount;
    reasons.add(
        Code::SystemDisk,
        format!("the host has {source} ({fs_type}) mounted at {mount_point}"),
    );
    if root == "/" {
        reasons.add(
            Code::Mounted,
            format!("{source} is mounted at {mount_point}"),
        );
    } else {
        reasons.add(
            Code::BindMounted,
            format!("{root} of {source} is mounted at {mount_point}"),
        );
    }
}

fn claim(claim: &ClaimSeen, reasons: &mut Reasons) {
    let who = |openers: &[&Opener]| {
        let names: Vec<String> = openers
            .iter()
            .map(|opener| format!("{} (pid {})", opener.name, opener.pid))
            .collect();
        names.join(", ")
    };
    match claim {
        ClaimSeen::Held(others) | ClaimSeen::NotTried(others) => {
            // A guest's disk is opened without O_EXCL: only the open file tells.
            let writers: Vec<&Opener> = others.iter().filter(|opener| opener.writes).collect();
            if !writers.is_empty() {
                reasons.add(Code::Busy, format!("open for writing by {}", who(&writers)));
            }
        }
        ClaimSeen::Refused(openers) if openers.is_empty() => {
            reasons.add(
                Code::Busy,
                "the kernel or another program holds it exclusively",
            );
        }
        ClaimSeen::Refused(openers) => {
            let openers: Vec<&Opener> = openers.iter().collect();
            reasons.add(
                Code::Busy,
                format!("held exclusively; open by {}", who(&openers)),
            );
        }
        ClaimSeen::Unknown(why) => {
            reasons.add(
                Code::Busy,
                format!("whether it is in use is not known: {why}"),
            );
        }
    }
}
