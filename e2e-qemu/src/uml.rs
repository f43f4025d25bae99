//! The user-mode kernel: how it is started and how its disks come and go.
//!
//! Facts it is built on: the kernel opens disk images, the host folders it mounts and its console socket by path
//! in the root it was started in; it knows 16 disks, `ubda` to `ubdp`, and takes the
//! first for its own (it looks for a file `root_fs`), so guests get the 15 others; its memory is an unlinked file on the
//! first tmpfs it finds, /dev/shm.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::attached::Attached;
use crate::mconsole;
use crate::protocol::{DiskKey, ShareMount};
use crate::spec::{Share, Spec};
use crate::supervise::{Bind, Plan, Root};

/// Where the agent's executable is in the guest.
const AGENT: &str = "/.basalt/agent";

/// Where the library is that makes the kernel run on hosts with a large register state.
const REGISTERS: &str = "/.basalt/registers.so";

/// See `shim/registers.rs`.
const REGISTERS_LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/registers.so"));

/// The agent's line, by its name in /dev.
const LINE: &str = "ttyS0";

/// Disks are called by these letters.
const LETTERS: std::ops::RangeInclusive<char> = 'b'..='p';

/// The name of the disk in a slot, counted from 0, if there is such a slot.
pub(crate) fn disk_name(slot: usize) -> Option<String> {
    LETTERS
        .clone()
        .nth(slot)
        .map(|letter| format!("ubd{letter}"))
}

/// How the host folders are mounted in the guest.
pub(crate) fn share_mounts(shares: &[Share]) -> Vec<ShareMount> {
    shares
        .iter()
        .map(|share| ShareMount {
            fstype: "hostfs".to_owned(),
            source: share.path.display().to_string(),
            target: share.path.clone(),
            writable: share.writable,
        })
        .collect()
}

/// What the supervisor is to start.
///
/// # Errors
/// The library for the kernel could not be written to the guest's folder, or disks are to be recorded.
pub(crate) fn plan(
    spec: &Spec,
    tree: &Path,
    scratch: &Path,
    program: &Path,
    shares: &[Share],
    disks: &[Attached],
) -> io::Result<Plan> {
    if spec.recorded.is_some() {
        let what = "only a virtual machine's disks are recorded";
        return Err(io::Error::new(io::ErrorKind::Unsupported, what));
    }
    let library = scratch.join("registers.so");
    std::fs::write(&library, REGISTERS_LIBRARY)?;
    let bind = |source: &Path, target: &Path, writable| Bind {
        source: source.to_owned(),
        target: target.to_owned(),
        writable,
    };
    let mut binds: Vec<Bind> = shares
        .iter()
        .map(|share| bind(&share.path, &share.path, share.writable))
        .collect();
    binds.push(bind(scratch, scratch, true));
    binds.push(bind(program, Path::new(AGENT), false));
    binds.push(bind(&library, Path::new(REGISTERS), false));
    Ok(Plan {
        scratch: scratch.to_owned(),
        limit: spec.limit,
        root: Some(Root {
            tree: tree.to_owned(),
            // Its own text and data are part of its memory, on top of what was asked for.
            shm_mib: spec.memory_mib + 256,
            binds,
        }),
        argv: argv(spec, scratch, disks),
        env: BTreeMap::from([("LD_PRELOAD".to_owned(), REGISTERS.to_owned())]),
    })
}

fn argv(spec: &Spec, scratch: &Path, disks: &[Attached]) -> Vec<String> {
    let mut argv = vec![
        // With addresses in random places the kernel adds a gap of up to a gigabyte to its memory.
        "/usr/bin/setarch".to_owned(),
        "--addr-no-randomize".to_owned(),
        "/usr/bin/linux.uml".to_owned(),
        format!("uml_dir={}/", scratch.display()),
        "umid=uml".to_owned(),
        format!("mem={}M", spec.memory_mib),
        "root=/dev/root".to_owned(),
        "rootfstype=hostfs".to_owned(),
        "rootflags=/".to_owned(),
        "ro".to_owned(),
        "con=null".to_owned(),
        "con0=null,fd:1".to_owned(),
        "ssl=null".to_owned(),
        // The supervisor's stdin is the agent's line.
        "ssl0=fd:0".to_owned(),
        "panic=-1".to_owned(),
        format!("init={AGENT}"),
    ];
    for disk in disks {
        argv.push(format!("{}={}", disk.name(), disk.image().display()));
    }
    if let Some(tap) = &spec.tap {
        argv.push(format!("vec0:transport=tap,ifname={tap},depth=128,gro=0"));
    }
    // Words that no kernel knows go to its first process. Not after `--`: the kernel appends to the line.
    argv.extend(["agent".to_owned(), LINE.to_owned()]);
    argv
}

/// Attaches an image while the kernel runs.
pub(crate) fn plug(scratch: &Path, disk: &Attached) -> io::Result<()> {
    ask(
        scratch,
        &format!("config {}={}", disk.name(), disk.image().display()),
    )
    .map(drop)
}

/// Detaches a disk while the kernel runs; refused while something in the guest has it open.
pub(crate) fn pull(scratch: &Path, disk: &Attached) -> io::Result<()> {
    ask(scratch, &format!("remove {}", disk.name())).map(drop)
}

/// How the agent knows a disk that was just attached.
pub(crate) fn key(disk: &Attached) -> DiskKey {
    DiskKey::Name(disk.name().to_owned())
}

/// Asks the kernel's console.
pub(crate) fn ask(scratch: &Path, command: &str) -> io::Result<String> {
    mconsole::ask(
        &scratch.join("uml/mconsole"),
        &scratch.join("mconsole-reply"),
        command,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Disk;

    #[test]
    fn fifteen_disks_have_names() {
        assert_eq!(disk_name(0).as_deref(), Some("ubdb"));
        assert_eq!(disk_name(14).as_deref(), Some("ubdp"));
        assert_eq!(disk_name(15), None);
    }

    #[test]
    fn the_kernels_arguments() {
        let spec = Spec::uml().memory_mib(256).tap("tap7");
        let disks = [Attached::new(0, "ubdb", "/s/a.img", Disk::new(1))];
        let argv = argv(&spec, Path::new("/s"), &disks);
        for expected in [
            "uml_dir=/s/",
            "mem=256M",
            "ubdb=/s/a.img",
            "vec0:transport=tap,ifname=tap7,depth=128,gro=0",
        ] {
            assert!(
                argv.iter().any(|arg| arg == expected),
                "{expected} in {argv:?}"
            );
        }
        assert_eq!(argv[argv.len() - 2..], ["agent", "ttyS0"]);
    }
}
