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

/// Where the library is that lets the kernel get along with its host.
const SHIM: &str = "/.basalt/shim.so";

/// See `shim/lib.rs`.
const SHIM_LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shim.so"));

/// The agent's line, by its name in /dev.
const LINE: &str = "ttyS0";

/// The kernel's folder in the guest's.
const UMID: &str = "uml";

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
    let only = |what| Err(io::Error::new(io::ErrorKind::Unsupported, what));
    if spec.recorded.is_some() {
        return only("only a virtual machine's disks are recorded");
    }
    if spec.processors > 1 {
        return only("only a virtual machine has more than one processor");
    }
    // Left by a boot whose power was cut, it would have the kernel put its console elsewhere.
    match std::fs::remove_dir_all(scratch.join(UMID)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let library = scratch.join("shim.so");
    std::fs::write(&library, SHIM_LIBRARY)?;
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
    binds.push(bind(&library, Path::new(SHIM), false));
    Ok(Plan {
        scratch: scratch.to_owned(),
        limit: spec.limit,
        root: Some(Root {
            tree: tree.to_owned(),
            // Its own text and data are part of its memory, on top of what was asked for.
            shm_mib: spec.memory_mib + 256,
            binds,
        }),
        one_processor: true,
        argv: argv(spec, scratch, disks),
        env: BTreeMap::from([("LD_PRELOAD".to_owned(), SHIM.to_owned())]),
    })
}

fn argv(spec: &Spec, scratch: &Path, disks: &[Attached]) -> Vec<String> {
    let mut argv = vec![
        // With addresses in random places the kernel adds a gap of up to a gigabyte to its memory.
        "/usr/bin/setarch".to_owned(),
        "--addr-no-randomize".to_owned(),
        "/usr/bin/linux.uml".to_owned(),
        format!("uml_dir={}/", scratch.display()),
        format!("umid={UMID}"),
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
        &scratch.join(UMID).join("mconsole"),
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

    /// See `shim/ticks.rs`.
    #[test]
    #[expect(unsafe_code, reason = "calls the library as the kernel does")]
    fn a_timer_set_for_one_tick_ticks_on() {
        use nix::libc::{self, c_int, c_void, itimerspec, timer_t};
        use std::ffi::CString;
        use std::os::unix::ffi::OsStrExt;

        type SetTime =
            unsafe extern "C" fn(timer_t, c_int, *const itimerspec, *mut itimerspec) -> c_int;
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("shim.so");
        std::fs::write(&library, SHIM_LIBRARY).unwrap();
        let library = CString::new(library.as_os_str().as_bytes()).unwrap();
        // SAFETY: the library's functions have the C library's types; all structures are plain numbers, for which
        // zero is a value, and live until the calls have returned.
        let (once, off) = unsafe {
            let library = libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
            assert!(!library.is_null());
            let set: *mut c_void = libc::dlsym(library, c"timer_settime".as_ptr());
            assert!(!set.is_null());
            let set: SetTime = std::mem::transmute(set);
            let mut event: libc::sigevent = std::mem::zeroed();
            // It never goes off here.
            event.sigev_notify = libc::SIGEV_SIGNAL;
            event.sigev_signo = libc::SIGALRM;
            let mut timer: timer_t = std::ptr::null_mut();
            let made = libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer);
            assert_eq!(made, 0);
            let asked = |seconds| {
                let mut spec: itimerspec = std::mem::zeroed();
                spec.it_value.tv_sec = seconds;
                assert_eq!(set(timer, 0, &raw const spec, std::ptr::null_mut()), 0);
                let mut is: itimerspec = std::mem::zeroed();
                assert_eq!(libc::timer_gettime(timer, &raw mut is), 0);
                is
            };
            (asked(3600), asked(0))
        };
        assert!(once.it_value.tv_sec >= 3590);
        assert_eq!(once.it_interval.tv_nsec, 100_000_000, "it ticks on");
        assert_eq!(off.it_value.tv_sec, 0, "a timer that is stopped is stopped");
        assert_eq!(off.it_interval.tv_nsec, 0);
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
