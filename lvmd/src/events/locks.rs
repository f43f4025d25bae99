//! LVM's lock directory.
//!
//! A command on a VG holds `V_<vg>`, and whoever lets go of it last deletes it (lvm2
//! `lib/misc/lvm-flock.c`). `V_<vg>:aux` only keeps the queue fair: readers delete it
//! before they begin, so it tells nothing.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::Heard;

pub(super) fn open(dir: &Path) -> io::Result<Inotify> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    // A writer that others wait for closes the file and leaves it to them.
    let ends = AddWatchFlags::IN_DELETE | AddWatchFlags::IN_CLOSE_WRITE;
    inotify.add_watch(dir, ends | AddWatchFlags::IN_ONLYDIR)?;
    Ok(inotify)
}

pub(super) fn drain(inotify: &Inotify) -> io::Result<Heard> {
    let mut heard = Heard::Nothing;
    loop {
        let events = match inotify.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN) => return Ok(heard),
            Err(error) => return Err(error.into()),
        };
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                return Err(io::Error::other("the directory was removed"));
            }
            // Without a name: the kernel had to drop events.
            if event.name.as_deref().is_none_or(is_lock_of_vg) {
                heard = Heard::News;
            }
        }
    }
}

fn is_lock_of_vg(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b"V_") && !name.ends_with(b":aux")
}
