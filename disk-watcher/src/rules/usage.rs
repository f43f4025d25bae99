//! Rules about who uses the disk right now.

use super::{ClaimSeen, Code, Evidence, Opener, Reasons};
use crate::facts::{Family, Mount};

pub(super) fn nobody_uses_it(evidence: &Evidence<'_>, reasons: &mut Reasons) {
    let family = evidence.facts.family();
    // That mounts or swaps are not known is the host's fault and said there.
    if let Ok(mounts) = &evidence.host.mounts {
        for mount in mounts.iter().filter(|mount| is_on(mount, &family)) {
            mounted(mount, reasons);
        }
    }
    if let Ok(swaps) = &evidence.host.swaps {
        for path in swaps.iter().filter(|path| family.paths.contains(*path)) {
            reasons.add(Code::Swap, format!("{path} is swapped to"));
        }
    }
    for holder in &evidence.facts.holders {
        let name = match &holder.dm_name {
            Some(mapped) => format!("{} ({mapped})", holder.name),
            None => holder.name.clone(),
        };
        reasons.add(
            Code::HasHolders,
            format!("{name} is stacked on {}", holder.of),
        );
    }
    for member in &evidence.host.fs_members {
        if family.names.contains(&member.device) {
            reasons.add(
                Code::HasHolders,
                format!("{} has {} in use (/sys/fs)", member.fs, member.device),
            );
        }
    }
    for backing in &evidence.host.backings {
        let name = backing.path.rsplit('/').next().unwrap_or_default();
        // The user may see the node under another path, as a container does.
        if family.paths.contains(&backing.path) || family.names.contains(name) {
            reasons.add(
                Code::BackingLoop,
                format!("{} hands on {}", backing.user, backing.path),
            );
        }
    }
    claim(&evidence.claim, reasons);
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
