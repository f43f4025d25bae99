//! LVM's lock of a VG, taken the way LVM takes it.
//!
//! lvm2 `lib/misc/lvm-flock.c`: the file `V_<vg>` in the lock directory is opened and
//! flocked; whoever drops it last unlinks it, so after locking the name must still be
//! the file that was locked.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::names;

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct VgLock {
    _file: Flock<File>,
}

/// Takes the VG's lock for writing if nobody holds it; `None` when somebody does.
///
/// # Errors
/// When the lock file cannot be made or examined.
pub fn try_exclusive(dir: &Path, vg: &str) -> io::Result<Option<VgLock>> {
    let path = dir.join(format!("V_{vg}"));
    for _ in 0..16 {
        let file = File::options()
            .append(true)
            .read(true)
            .create(true)
            .mode(0o700)
            .open(&path)?;
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, error)) => return Err(error.into()),
        };
        let ours = file.metadata()?;
        match fs::metadata(&path) {
            Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => {
                return Ok(Some(VgLock { _file: file }));
            }
            // Unlinked by the last holder between our open and our lock.
            _ => {}
        }
    }
    Ok(None)
}

/// How often, and how long apart, the lock is tried.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(50);

/// The same of this host's lock directory, waiting three seconds for whoever holds it.
///
/// # Errors
/// When an lvm command holds it longer, or its file cannot be made.
pub async fn exclusive(vg: &str) -> Result<VgLock, String> {
    for _ in 0..TRIES {
        let lock = try_exclusive(Path::new(names::LVM_LOCK_DIR), vg);
        if let Some(lock) = lock.map_err(|e| e.to_string())? {
            return Ok(lock);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err("an lvm command holds the lock of the VG".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_not_taken_and_a_dropped_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let held = try_exclusive(dir.path(), "vg").unwrap().unwrap();
        assert!(try_exclusive(dir.path(), "vg").unwrap().is_none());
        assert!(try_exclusive(dir.path(), "other").unwrap().is_some());
        drop(held);
        assert!(try_exclusive(dir.path(), "vg").unwrap().is_some());
    }
}
