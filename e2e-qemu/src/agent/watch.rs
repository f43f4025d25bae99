//! Waits for what shows in /dev.

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Asks `look` now and after each change in /dev until it has an answer. The watch is set before the first look,
/// so a change in between is not missed. No answer: there is nothing to watch.
pub(super) fn until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let watch = Inotify::init(InitFlags::IN_CLOEXEC).ok()?;
    let changes = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_ATTRIB;
    watch.add_watch("/dev", changes).ok()?;
    loop {
        if let Some(answer) = look() {
            return Some(answer);
        }
        watch.read_events().ok()?;
    }
}
