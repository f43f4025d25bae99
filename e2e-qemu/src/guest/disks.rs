//! Disks of a running guest: plugged, pulled, waited for.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Guest, lock};
use crate::attached::Attached;
use crate::command::Command;
use crate::error::{GuestError, Result};
use crate::process::Link;
use crate::protocol::ToGuest;
use crate::spec::Disk;

/// How long a disk has to appear or to vanish.
const PROMPT: Duration = Duration::from_secs(30);

impl Guest {
    /// Attaches a disk while the guest runs; returns when its device is there. udev may still be busy with it.
    ///
    /// # Errors
    /// There is no free slot, or the disk does not appear.
    pub fn plug(&self, disk: Disk) -> Result<Attached> {
        let mut disks = lock(&self.disks);
        let slot = disks
            .iter()
            .position(Option::is_none)
            .unwrap_or(disks.len());
        let mut attached = self.ground.attach(&self.scratch, slot, disk)?;
        let link = self.link("plugging a disk")?;
        let named = self
            .ground
            .boots
            .plug(self.scratch.path(), &attached)
            .map_err(disk_error(attached.name()))
            .and_then(|()| self.await_disk(&link, &attached));
        match named {
            Ok(name) => attached.rename(name),
            Err(error) => {
                // Its place must be free for another try.
                let _ = fs::remove_file(attached.image());
                return Err(error);
            }
        }
        if slot == disks.len() {
            disks.push(None);
        }
        disks[slot] = Some(attached.clone());
        Ok(attached)
    }

    /// Takes a disk away while the guest runs; returns when its device is gone. Its image is removed.
    ///
    /// # Errors
    /// The disk is not (or no longer) this guest's, or a user-mode kernel refuses because it is open.
    pub fn pull(&self, disk: &Attached) -> Result<()> {
        let mut disks = lock(&self.disks);
        let found = disks.iter_mut().find_map(|slot| {
            let current = slot.as_ref().filter(|found| found.is(disk)).cloned()?;
            Some((slot, current))
        });
        let Some((slot, disk)) = found else {
            return Err(disk_error(disk.name())(io::Error::other(
                "not a disk of this guest",
            )));
        };
        let link = self.link("pulling a disk")?;
        let scratch = self.scratch.path();
        let boots = &self.ground.boots;
        boots
            .pull(scratch, &disk)
            .or_else(|_| {
                // Open for a moment only, when udev looks at it. Whatever settle says, the second try tells.
                let _ = self.run(Command::new("udevadm").arg("settle"));
                boots.pull(scratch, &disk)
            })
            .map_err(disk_error(disk.name()))?;
        let id = link.connection.id();
        let name = disk.name().to_owned();
        let doing = format!("waiting for {name} to go");
        link.send(&ToGuest::AwaitNoDisk { id, name }, b"", &doing)?;
        link.wait(PROMPT, &doing, |said| said.disks.remove(&id))?;
        let _ = fs::remove_file(disk.image());
        *slot = None;
        Ok(())
    }

    /// Takes a disk out of a guest that is off, to `image`: its image as it is. [`Disk::copy_of`] plugs it in somewhere.
    ///
    /// # Errors
    /// The guest runs, the disk is not its own, or the image cannot be moved.
    pub fn take_out(&self, disk: &Attached, image: &Path) -> Result<()> {
        let error = disk_error(disk.name());
        if lock(&self.running).is_some() {
            return Err(error(io::Error::other("the guest is on")));
        }
        let mut disks = lock(&self.disks);
        let found = disks
            .iter_mut()
            .find(|slot| slot.as_ref().is_some_and(|found| found.is(disk)));
        let Some(slot) = found else {
            return Err(error(io::Error::other("not a disk of this guest")));
        };
        fs::rename(disk.image(), image).map_err(error)?;
        *slot = None;
        Ok(())
    }

    /// Waits for a disk's device and returns its name.
    pub(super) fn await_disk(&self, link: &Link, disk: &Attached) -> Result<String> {
        let id = link.connection.id();
        let key = self.ground.boots.key(disk);
        let doing = format!("waiting for disk {}", disk.name());
        link.send(&ToGuest::AwaitDisk { id, key }, b"", &doing)?;
        link.wait(PROMPT, &doing, |said| said.disks.remove(&id))
    }
}

fn disk_error(name: &str) -> impl FnOnce(io::Error) -> GuestError {
    let disk = name.to_owned();
    move |error| GuestError::Disk {
        disk,
        error: error.to_string(),
    }
}
